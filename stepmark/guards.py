"""The guards of a loop (METHODS.md 8): what is measured each round, which bounds hold, and when the loop must stop.

Pure arithmetic on what a loop has: its samples, the outcomes that a verifier found, labels and scores. `RULES` is the
stop rule. It was fixed before the experiment's loops were run; a loop may be given another one, and its rounds keep
the bounds that were held against them.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any, Literal

from .answers.key import answer_key
from .diversity import operator_sequence

Direction = Literal["min", "max"]


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled solution, as guards see it."""

    problem: Hashable
    answer: str | None
    """None where none could be read."""
    outcome: bool | None
    """None where the verifier does not know; it counts as not right."""
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GuardRule:
    """One guard: what must not fall below its bound, or rise above it."""

    name: str
    direction: Direction
    bound: float
    relative: Literal["absolute", "offset", "share"]
    """The bound as it is; added to the value that the loop started with; or as a share of that value."""
    in_a_row: int
    """Rounds in a row that must trip it before the loop stops."""
    words: str
    """What a trip means."""

    def bound_from(self, start: float | None) -> float | None:
        """The bound in the guard's own unit; None where the starting value that it needs is unknown."""
        if self.relative == "absolute":
            return self.bound
        if start is None:
            return None
        if self.relative == "share" and start <= 0:
            return None
        return start + self.bound if self.relative == "offset" else start * self.bound


VERIFIED = "verified rows"
VERDICTS = "verdict accuracy"
DISTINCT = "distinct answers"
OPERATORS = "operator sequences"
WRONG_ANSWERS = "two wrong answers differ"
WRONG_WAYS = "two wrong ways differ"
PASS_1 = "pass@1"
PASS_K = "pass@k"
GAP = "gap chosen - rejected"
TOLERATED = "right answers with a wrong step"
USABLE = "problems with 0 < pass rate < 1"

RULES: tuple[GuardRule, ...] = (
    GuardRule(VERIFIED, "min", 0.95, "absolute", 1, "rows enter that no verifier found right"),
    GuardRule(USABLE, "min", 0.05, "absolute", 1, "too few problems are solved at times, to learn from"),
    GuardRule(PASS_1, "min", -0.03, "offset", 2, "the model solves fewer problems than the one the loop began with"),
    GuardRule(PASS_K, "min", -0.05, "offset", 2, "k attempts together solve fewer problems than at the start"),
    GuardRule(WRONG_ANSWERS, "min", 0.6, "share", 2, "wrong answers to a problem have become one and the same"),
    GuardRule(WRONG_WAYS, "min", 0.6, "share", 2, "wrong solutions of a problem all go one way"),
    GuardRule(VERDICTS, "min", -0.05, "offset", 2, "the reward model judges the fixed set worse than at first"),
    GuardRule(GAP, "min", 0.5, "share", 2, "the reward model hardly tells right solutions from wrong ones any more"),
    GuardRule(TOLERATED, "max", 0.10, "offset", 2, "more right answers come by a wrong step than at first"),
)
"""The stop rule. pass@1 and pass@k are held against those of the model that the loop began with; whatever else is
relative, against round 0.

Whether answers and ways differ is read off wrong solutions of the problems that are learnt from. Right ones repeat
one answer, so a model that gets better has fewer different ones too; and a loop that learns its own mistakes shows it
there first."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one guard showed in one round."""

    name: str
    value: float | None
    """None where it could not be measured, such as verdicts without a fixed labelled set; it never trips then."""
    bound: float | None
    direction: Direction
    tripped: bool
    words: str

    def as_json(self) -> dict[str, Any]:
        """The reading as the database keeps it."""
        return asdict(self)


def read_guards(
    values: Mapping[str, float | None], start: Mapping[str, float | None], *, rules: Sequence[GuardRule] = RULES
) -> list[Reading]:
    """Holds a round's values against the bounds.

    Args:
        values: Of this round, by guard.
        start: What the loop started with, by guard.
        rules: In the order in which they are read.

    >>> rule = GuardRule("pass@1", "min", -0.03, "offset", 2, "fell")
    >>> [(r.bound, r.tripped) for r in read_guards({"pass@1": 0.5}, {"pass@1": 0.75}, rules=[rule])]
    [(0.72, True)]
    """
    readings = []
    for rule in rules:
        value, bound = values.get(rule.name), rule.bound_from(start.get(rule.name))
        is_beyond = False
        if value is not None and bound is not None:
            is_beyond = value < bound if rule.direction == "min" else value > bound
        readings.append(Reading(rule.name, value, bound, rule.direction, is_beyond, rule.words))
    return readings


def stop_reason(rounds: Sequence[Mapping[str, bool]], *, rules: Sequence[GuardRule] = RULES) -> str | None:
    """Why the loop must stop after these rounds: the guard's name and words; None where it may go on.

    Args:
        rounds: In order, whether each guard tripped, by name.
        rules: The stop rule; of several guards that stop the loop, the first one is named.

    >>> rule = GuardRule("pass@1", "min", -0.03, "offset", 2, "it fell")
    >>> stop_reason([{"pass@1": True}], rules=[rule]), stop_reason([{"pass@1": True}] * 2, rules=[rule])
    (None, 'pass@1: it fell (2 rounds in a row)')
    """
    for rule in rules:
        last = rounds[-rule.in_a_row :]
        if len(last) == rule.in_a_row and all(one.get(rule.name, False) for one in last):
            how_long = "" if rule.in_a_row == 1 else f" ({rule.in_a_row} rounds in a row)"
            return f"{rule.name}: {rule.words}{how_long}"
    return None


def pass_at_k(n: int, n_right: int, k: int) -> float:
    """The chance that k of n samples hold a right one (Chen et al. 2021, section 2.1, unbiased).

    >>> pass_at_k(4, 1, 1), pass_at_k(4, 1, 2), pass_at_k(4, 3, 2)
    (0.25, 0.5, 1.0)
    """
    return 1.0 - comb(n - n_right, k) / comb(n, k)


@dataclass(frozen=True, slots=True)
class ProblemMeasures:
    """What the samples of one problem show; means over problems are what guards read."""

    pass_1: float
    pass_k: float
    majority: float
    """1 where the answer given most often is right; of several, the share of them that are."""
    n_answers: int
    n_operator_sequences: int


def measure_problem(samples: Sequence[Sampled], k: int) -> ProblemMeasures:
    """Measures one problem's samples; `k` is at most their number.

    >>> two = [Sampled(1, "7", True, ("3 + 4 = 7",)), Sampled(1, "12", False, ("3 * 4 = 12",))]
    >>> measure_problem(two, 2)
    ProblemMeasures(pass_1=0.5, pass_k=1.0, majority=0.5, n_answers=2, n_operator_sequences=2)
    """
    n_right = sum(sample.outcome is True for sample in samples)
    keys = [None if sample.answer is None else answer_key(sample.answer) for sample in samples]
    counted = Counter(key for key in keys if key is not None)
    most = max(counted.values(), default=0)
    tied = {key for key, n in counted.items() if n == most}
    right = {key for key, sample in zip(keys, samples, strict=True) if sample.outcome is True}
    return ProblemMeasures(
        pass_1=n_right / len(samples),
        pass_k=pass_at_k(len(samples), n_right, min(k, len(samples))),
        majority=len(tied & right) / len(tied) if tied else 0.0,
        n_answers=len(counted),
        n_operator_sequences=len({operator_sequence(sample.steps) for sample in samples}),
    )


def by_problem(samples: Iterable[Sampled]) -> dict[Hashable, list[Sampled]]:
    """The samples of each problem, problems in the order in which they first come."""
    found: dict[Hashable, list[Sampled]] = {}
    for sample in samples:
        found.setdefault(sample.problem, []).append(sample)
    return found


def share_usable(samples: Iterable[Sampled]) -> float:
    """The share of problems that the difficulty filter keeps: solved at times, and not always.

    >>> share_usable([Sampled(1, "7", True), Sampled(1, "8", False), Sampled(2, "7", True), Sampled(2, "7", True)])
    0.5
    """
    groups = by_problem(samples).values()
    kept = [0 < sum(one.outcome is True for one in group) < len(group) for group in groups]
    return sum(kept) / len(kept)


def gap_within(items: Iterable[tuple[Hashable, bool, float]]) -> float | None:
    """How far right solutions score above wrong ones of the same problem: the mean over problems that have both.

    >>> gap_within([(1, True, 0.75), (1, False, 0.25), (2, True, 0.5)])
    0.5
    """
    groups: dict[Hashable, tuple[list[float], list[float]]] = {}
    for problem, is_right, score in items:
        groups.setdefault(problem, ([], []))[is_right].append(score)
    gaps = [sum(high) / len(high) - sum(low) / len(low) for low, high in groups.values() if low and high]
    return sum(gaps) / len(gaps) if gaps else None


FEWEST_PROBLEMS = 20
"""Problems with two wrong solutions, below which their spread is not measured: a few problems say little."""


def wrong_that_differ(samples: Sequence[Sampled]) -> tuple[float, float] | None:
    """Of the pairs of wrong solutions of one problem, the shares with different answers, and with different ways.

    None where there are no two wrong solutions with an answer that could be read.

    >>> wrong = [Sampled(1, "8", False, ("1 + 7 = 8",)), Sampled(1, "8", False, ("2 * 4 = 8",))]
    >>> wrong_that_differ([*wrong, Sampled(1, "7", True)]), wrong_that_differ(wrong[:1])
    ((0.0, 1.0), None)
    """
    wrong = [(answer_key(s.answer), operator_sequence(s.steps)) for s in samples if s.outcome is False and s.answer]
    n = comb(len(wrong), 2)
    if n == 0:
        return None
    answers, ways = Counter(answer for answer, _ in wrong), Counter(way for _, way in wrong)
    return 1 - sum(comb(m, 2) for m in answers.values()) / n, 1 - sum(comb(m, 2) for m in ways.values()) / n


def spread_of_wrong(samples: Iterable[Sampled]) -> dict[str, float | None]:
    """How often two wrong solutions of a problem differ: means over problems; None of too few (`FEWEST_PROBLEMS`)."""
    found = [one for group in by_problem(samples).values() if (one := wrong_that_differ(group)) is not None]
    if len(found) < FEWEST_PROBLEMS:
        return {WRONG_ANSWERS: None, WRONG_WAYS: None}
    return {
        WRONG_ANSWERS: sum(answers for answers, _ in found) / len(found),
        WRONG_WAYS: sum(ways for _, ways in found) / len(found),
    }


def share_of(values: Iterable[bool]) -> float | None:
    """The share of true ones; None of nothing.

    >>> share_of([True, False]), share_of([])
    (0.5, None)
    """
    listed = list(values)
    return sum(listed) / len(listed) if listed else None
