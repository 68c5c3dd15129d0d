"""Filters of problems: repeats and contaminated ones are flagged, pass rates and diversity are measured."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import sqlalchemy as sa

from db.flags import (
    count_problems_in_all,
    iterate_pass_counts,
    iterate_solutions_of_problems,
    iterate_statements,
    replace_flags,
    source_names,
)
from db.problems import join_families_of
from stepmark.diversity import Diversity, diversity_of
from stepmark.duplicates import LEAST_THRESHOLD, THRESHOLD, TestSet, find_duplicates
from stepmark.errors import SettingsError
from stepmark.intervals import Share, share
from stepmark.progress import Progress, silent

DUPLICATE, CONTAMINATED = "duplicate", "contaminated"


@dataclass(slots=True)
class FilterReport:
    """What a filter that flags problems found."""

    n_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Problems flagged now or before, by rule."""
    n_new: int = 0
    """Flags that were not there."""
    n_removed: int = 0
    """Flags of earlier calls that no longer hold."""
    n_families_joined: int = 0
    """Of the duplicate filter: families that became part of another one."""
    n_in_test_sets: int = 0
    """Of the contamination filter: problems of the test sets themselves; they are never flagged."""
    n_in_both: int = 0
    """Of these, problems that another source holds too."""

    @property
    def n_kept(self) -> int:
        """Problems that are not flagged."""
        return self.n_read - self.dropped.total()


def flag_duplicates(engine: sa.Engine, *, threshold: float = THRESHOLD, progress: Progress = silent) -> FilterReport:
    """Flags every problem that repeats an earlier one; `stepmark.duplicates` says what that means.

    A duplicate's family becomes part of that of the problem it repeats, so that no split parts them; it stays so when
    the flag goes.

    Raises:
        SettingsError: The threshold is so low that MinHash would miss pairs, or above 1.
    """
    if not LEAST_THRESHOLD <= threshold <= 1:
        raise SettingsError(f"the threshold is between {LEAST_THRESHOLD} and 1, not {threshold}")
    report, total = FilterReport(), count_problems_in_all(engine)

    def statements() -> Iterator[tuple[int, str]]:
        for chunk in iterate_statements(engine):
            yield from ((one.problem_id, one.statement) for one in chunk)
            report.n_read += len(chunk)
            progress(report.n_read, total)

    rows, pairs = [], []
    for found in find_duplicates(statements(), threshold=threshold):
        pairs.append((found.problem_id, found.kept_id))
        report.dropped[found.rule] += 1
        extra = {"similarity": round(found.similarity, 4)}
        rows.append(
            {"problem_id": found.problem_id, "against": str(found.kept_id), "rule": found.rule, "extra": extra}
        )
    report.n_new, report.n_removed = replace_flags(engine, DUPLICATE, rows)
    report.n_families_joined = join_families_of(engine, pairs)
    return report


def flag_contaminated(engine: sa.Engine, against: Sequence[str], *, progress: Progress = silent) -> FilterReport:
    """Flags every problem that repeats a problem of a test set and is none of a test set itself.

    Args:
        engine: The database.
        against: Names of the test sets' sources, or patterns with `*`.
        progress: Told now and then.

    Raises:
        InputError: A pattern matches no source.
    """
    names = source_names(engine, against)
    sets = {name: TestSet() for name in names}
    report, total = FilterReport(), 2 * count_problems_in_all(engine)
    for chunk in iterate_statements(engine):
        for one in chunk:
            for name in one.sources.intersection(names):
                sets[name].add(one.problem_id, one.family, one.statement)
        report.n_read += len(chunk)
        progress(report.n_read, total)
    n_first, report.n_read = report.n_read, 0
    rows: list[dict[str, Any]] = []
    for chunk in iterate_statements(engine):
        for one in chunk:
            if one.sources.intersection(names):
                report.n_in_test_sets += 1
                report.n_in_both += not one.sources.issubset(names)
                continue
            report.n_read += 1
            rules = []
            for name, test_set in sets.items():
                found = test_set.overlap(one.family, one.statement)
                if found is not None:
                    rules.append(found.rule)
                    extra = {"problem_id": found.test_problem_id, "n_13_grams": found.n_grams}
                    rows.append({"problem_id": one.problem_id, "against": name, "rule": found.rule, "extra": extra})
            if rules:
                report.dropped[min(rules, key=("exact", "family", "13-gram").index)] += 1
        progress(n_first + report.n_read + report.n_in_test_sets, total)
    report.n_new, report.n_removed = replace_flags(engine, CONTAMINATED, rows, against=names)
    return report


def clear_flags(engine: sa.Engine, kind: str, against: Sequence[str] | None = None) -> int:
    """Removes the flags of a kind, or only those against test sets named so; returns how many there were."""
    names = None if against is None else source_names(engine, against)
    return replace_flags(engine, kind, (), against=names)[1]


# ------------------------------------------------------------ difficulty


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How often a problem was solved."""

    problem_id: int
    n_solutions: int
    pass_rate: Share
    """Over the solutions of known outcome."""


@dataclass(slots=True)
class DifficultyReport:
    """Pass rates of all problems that have solutions."""

    problems: list[Difficulty] = field(default_factory=list)
    """Those whose rate is in the range that was asked for."""
    dropped: Counter[str] = field(default_factory=Counter)
    histogram: dict[str, int] = field(default_factory=dict)
    """Problems by pass rate, whatever range was asked for."""

    @property
    def n_read(self) -> int:
        """Problems that have solutions."""
        return len(self.problems) + self.dropped.total()


_NEVER, _ALWAYS = "never solved", "always solved"


def measure_difficulty(
    engine: sa.Engine,
    *,
    source: str | None = None,
    generator: str | None = None,
    min_pass: float = 0.0,
    max_pass: float = 1.0,
) -> DifficultyReport:
    """Measures each problem's pass rate; a solution of unknown outcome counts neither as right nor as wrong."""
    bins = [_NEVER, *(f"{tenth / 10:.1f}-{(tenth + 1) / 10:.1f}" for tenth in range(10)), _ALWAYS]
    report = DifficultyReport(histogram=dict.fromkeys(bins, 0))
    for found in iterate_pass_counts(engine, source, generator):
        if found.n_known == 0:
            report.dropped["outcomes unknown"] += 1
            continue
        rate = share(found.n_right, found.n_known)
        assert rate.value is not None
        n = found.n_right
        name = _NEVER if n == 0 else _ALWAYS if n == found.n_known else bins[1 + 10 * n // found.n_known]
        report.histogram[name] += 1
        if not min_pass <= rate.value <= max_pass:
            report.dropped["too hard" if rate.value < min_pass else "too easy"] += 1
            continue
        report.problems.append(Difficulty(found.problem_id, found.n_solutions, rate))
    return report


# ------------------------------------------------------------ diversity


@dataclass(slots=True)
class DiversityReport:
    """How much the solutions of each problem differ."""

    problems: dict[int, Diversity] = field(default_factory=dict)
    """By problem, where there are at least two solutions."""
    dropped: Counter[str] = field(default_factory=Counter)
    means: dict[str, float | None] = field(default_factory=dict)
    """Over problems: distinct texts, answers and operator sequences for each solution, and distinct 4-grams."""

    @property
    def n_read(self) -> int:
        """Problems that have solutions."""
        return len(self.problems) + self.dropped.total()


def measure_diversity(
    engine: sa.Engine, *, source: str | None = None, generator: str | None = None
) -> DiversityReport:
    """Measures what differs among the solutions of each problem that has at least two."""
    report = DiversityReport()
    for problem_id, solutions in iterate_solutions_of_problems(engine, source, generator):
        if len(solutions) < 2:
            report.dropped["one solution"] += 1
        else:
            report.problems[problem_id] = diversity_of(solutions)
    every = list(report.problems.values())
    shares: dict[str, list[float]] = {
        "texts": [one.n_texts / one.n for one in every],
        "answers": [one.n_answers / one.n for one in every],
        "operator sequences": [one.n_operator_sequences / one.n for one in every],
        "distinct 4-grams": [one.distinct_4 for one in every if one.distinct_4 is not None],
    }
    report.means = {name: fmean(values) if values else None for name, values in shares.items()}
    return report
