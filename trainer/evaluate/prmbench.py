"""PRMBench (Song et al. 2025, 2501.03124): does a process reward model see errors of nine kinds, step by step.

A step is called right where its P(right) is at least the threshold. F1 has right steps as its positive class, the
negative F1 has wrong ones; PRMScore = 0.5 F1 + 0.5 negative F1, of each kind of error, and of all steps together.
A kind without wrong steps (`multi_solutions`) has no negative F1 and so no PRMScore: its F1 stands alone.

`error_steps` are 1-based; the published file has some behind the last step. They are reported and, as in the authors'
program, change nothing else: only steps that are there are compared. A kind's name is spelled as in the file
(`redundency`). A solution without a score is in no figure, as there, and is counted by reason.

Shapes: as in `comparison`; K = 4: TP, FP, FN, TN, right steps being positive.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepmark.errors import InputError, SettingsError
from stepmark.problems import statement_hash
from stepmark.steps import bare_step, render_segments

from .bootstrap import Floats, ratio
from .comparison import Benchmark, Scorer, Tally, compare
from .files import checked_rows


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """A solution in steps, with all of its wrong ones."""

    problem: str
    steps: tuple[str, ...]
    wrong: frozenset[int]
    """0-based, each the index of a step."""
    kind: str
    n_out_of_range: int
    """Wrong steps that the row names and does not have."""


def parse_row(raw: Mapping[str, Any]) -> ErrorRow:
    """Checks a row of the published file: `modified_question`, `modified_process`, `error_steps`, `classification`.

    Raises:
        ValueError: Something is missing or does not fit.
    """
    problem, steps = raw.get("modified_question"), raw.get("modified_process")
    wrong, kind = raw.get("error_steps"), raw.get("classification")
    if not isinstance(problem, str) or not isinstance(kind, str):
        raise ValueError(f"a row needs modified_question and classification; the columns are {sorted(raw)}")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) for step in steps):
        raise ValueError("modified_process must be a list of texts")
    if not isinstance(wrong, list) or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in wrong):
        raise ValueError(f"error_steps must be step numbers from 1, not {wrong!r}")
    there = frozenset(n - 1 for n in wrong if n <= len(steps))
    return ErrorRow(problem, tuple(steps), there, kind, len(set(wrong)) - len(there))


def parse_rows(raws: Iterable[Mapping[str, Any]], where: str) -> list[ErrorRow]:
    """Checks the rows of a file.

    Raises:
        InputError: A row cannot be used; the message names `where` and the row.
    """
    return checked_rows(raws, parse_row, where)


def positive_f1(totals: Floats) -> Floats:
    """Returns F1 with right steps as the positive class: 2 TP / (2 TP + FP + FN)."""
    return ratio(2 * totals[..., 0], 2 * totals[..., 0] + totals[..., 1] + totals[..., 2])


def negative_f1(totals: Floats) -> Floats:
    """Returns F1 with wrong steps as the positive class: 2 TN / (2 TN + FN + FP); NaN without wrong steps."""
    has_wrong = totals[..., 1] + totals[..., 3] > 0
    return np.where(
        has_wrong, ratio(2 * totals[..., 3], 2 * totals[..., 3] + totals[..., 1] + totals[..., 2]), np.nan
    )


def prm_score(totals: Floats) -> Floats:
    """Returns 0.5 F1 + 0.5 negative F1.

    With TP 6, FP 1, FN 2, TN 1: F1 = 12 / 15 = 0.8, negative F1 = 2 / 5 = 0.4.

    >>> prm_score(np.array([6.0, 1.0, 2.0, 1.0])).round(12)
    np.float64(0.6)
    """
    return np.asarray(0.5 * positive_f1(totals) + 0.5 * negative_f1(totals))


def evaluate_prmbench(
    models: Mapping[str, Scorer],
    rows: Iterable[ErrorRow],
    *,
    threshold: float = 0.5,
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures process reward models; returns the report of `comparison.compare`.

    Args:
        models: By name; each must be a PRM.
        rows: Of all kinds.
        threshold: From which a step is called right.
        n_boot: Bootstrap samples of the problems.
        seed: Of the bootstrap.

    Raises:
        InputError: There is no row.
        SettingsError: A model is no PRM.
    """
    rows = list(rows)
    for name, model in models.items():
        if model.kind != "prm":
            raise SettingsError(f"{name} is of kind {model.kind!r}; PRMBench needs scores of steps, so a prm.")
    if not rows:
        raise InputError("there is no row to measure.")
    kinds = sorted({row.kind for row in rows})
    n_out = sum(row.n_out_of_range for row in rows)
    benchmark = Benchmark(
        name="prmbench",
        title="PRMBench: right and wrong steps by kind of error",
        subsets=kinds,
        measures={"prm_score": prm_score, "f1": positive_f1, "negative_f1": negative_f1},
        overall=lambda totals: prm_score(totals.sum(axis=-2)),
        notes=(
            "PRMScore = 0.5 F1 of right steps + 0.5 F1 of wrong steps; all counts the steps of every kind together.",
            f"A step is called right from P(right) = {threshold:g} on.",
            f"{n_out} wrong steps in {sum(row.n_out_of_range > 0 for row in rows)} of {len(rows)} rows lie behind "
            "the last step and were passed over, as in the authors' program.",
            "Solutions without a score are in no figure, as there; mind how many those are.",
            "Calling every step right reaches an F1 near 1 and a negative F1 of 0: a PRMScore near 0.5 is no skill.",
        ),
        settings={"threshold": threshold, "error_steps_out_of_range": n_out},
    )
    tallies = {name: _tally(model, rows, kinds, threshold) for name, model in models.items()}
    return compare(benchmark, tallies, n_boot=n_boot, seed=seed)


def _tally(model: Scorer, rows: list[ErrorRow], kinds: list[str], threshold: float) -> Tally:
    groups: dict[str, int] = {}
    for row in rows:
        groups.setdefault(statement_hash(row.problem), len(groups))
    sums = np.zeros((len(groups), len(kinds), 4))
    reasons: Counter[str] = Counter()
    n_scored = 0
    items = (
        (index, row.problem, render_segments([bare_step(step) or step for step in row.steps], None))
        for index, row in enumerate(rows)
    )
    for row, scored in zip(rows, model.score(items), strict=True):
        if scored.score is None:
            reasons[scored.reason or "unknown"] += 1
            continue
        n_scored += 1
        cell = sums[groups[statement_hash(row.problem)], kinds.index(row.kind)]
        for index, score in enumerate(scored.step_scores):
            called_right, is_right = score >= threshold, index not in row.wrong
            cell[(0 if is_right else 1) if called_right else (2 if is_right else 3)] += 1
    return Tally(sums, len(rows), n_scored, dict(reasons))
