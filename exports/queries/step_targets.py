"""From what labellers said of a solution's steps to a target for each of its segments. No database here.

A target is the probability that the step is right: 0 or 1 from one label, a share or a posterior from several.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from .labels import LabelFilter

Combination = Literal["each", "majority", "share", "dawid-skene"]


@dataclass(frozen=True, slots=True)
class PrmOptions(LabelFilter):
    """The choices on which tools disagree, beside whose labels count."""

    neutral: Literal["positive", "negative", "drop"] = "positive"
    """What a step labelled 0 becomes; `drop` leaves it without a target."""
    after_first_error: Literal["stop", "all"] = "stop"
    """End the row at its first wrong step, or go on as far as there are labels."""
    labellers: Combination = "each"
    """A row for each labeller; or one for each solution by the majority of those who judged a step, by the share of
    them, or by the posterior of Dawid and Skene's model of all labels."""
    target: Literal["hard", "soft"] = "hard"
    """Labels that are true or false, or probabilities."""
    unjudged: Literal["end", "mask"] = "end"
    """A step without a target ends the row before it, or has null for a label."""
    repaired: Literal["wrong", "go-on", "neutral", "right"] = "wrong"
    """What a wrong step is that a later one mends: wrong; wrong, but not the end of the row; neutral; or right."""
    without_unsure: bool = False
    """No labels of which the labeller was unsure."""
    rollouts_run: int | None = None
    """Take the values that this run of rollouts found, in the place of labels."""
    answer_segment: bool = True
    """End a solution whose steps are all right in its answer section, where its outcome is known."""


class Said(NamedTuple):
    """One labeller's judgement of a step."""

    label: int
    is_unsure: bool
    is_repaired: bool


class Target(NamedTuple):
    """What is known of a step."""

    value: float | None
    """Probability that it is right; None where there is none."""
    why: str = ""
    """Why there is none: `neutral`, `tied`, ..."""
    goes_on: bool = False
    """Whether the row goes on after it though it is wrong."""


Labels = Mapping[int, Said]
"""A labeller's judgements by step; the index after the last step is the answer's."""
Targets = Mapping[int, Target]
Pattern = tuple[tuple[int, int], ...]
"""Who said what of one step: pairs of labeller and label, in order."""
Posterior = Callable[[Pattern], Sequence[float]]
"""Probabilities of -1, 0 and 1."""


@lru_cache(maxsize=1 << 16)
def read_codes(codes: str | None) -> Labels:
    """Reads the labels of one annotation from the text that `prm_rows` asks of the database.

    A label is one number: twelve times the step's index, plus 4 (label + 1), plus 2 if unsure, plus 1 if repaired.

    >>> read_codes("8,13")
    {0: Said(label=1, is_unsure=False, is_repaired=False), 1: Said(label=-1, is_unsure=False, is_repaired=True)}
    """
    found = sorted(int(code) for code in codes.split(",")) if codes else []
    return {code // 12: Said(code % 12 // 4 - 1, bool(code & 2), bool(code & 1)) for code in found}


def targets_of_one(said: Labels, options: PrmOptions) -> dict[int, Target]:
    """The targets of a single labeller's labels."""
    return {index: _target(one, options) for index, one in said.items() if not _is_left_out(one, options)}


def _is_left_out(said: Said, options: PrmOptions) -> bool:
    return said.is_unsure and options.without_unsure


def _target(said: Said, options: PrmOptions) -> Target:
    label, goes_on = said.label, False
    if label < 0 and said.is_repaired:
        label = {"wrong": -1, "go-on": -1, "neutral": 0, "right": 1}[options.repaired]
        goes_on = options.repaired == "go-on"
    if label == 0 and options.neutral == "drop":
        return Target(None, "neutral")
    return Target(float(label > 0 or (label == 0 and options.neutral == "positive")), "", goes_on)


def votes_on_steps(labellers: Iterable[tuple[int, Labels]], options: PrmOptions) -> dict[int, dict[int, Said]]:
    """What each labeller said, by step and labeller."""
    votes: dict[int, dict[int, Said]] = {}
    for labeller, labels in labellers:
        for index, said in labels.items():
            if not _is_left_out(said, options):
                votes.setdefault(index, {})[labeller] = said
    return votes


def unsupported(votes: Mapping[int, Mapping[int, Said]], options: LabelFilter) -> dict[int, Target]:
    """The steps on which too few labellers, or too few of them alike, have said something."""
    found = {}
    for index, by_labeller in votes.items():
        counted = Counter(said.label for said in by_labeller.values())
        if counted.total() < options.min_labellers:
            found[index] = Target(None, "by_too_few")
        elif max(counted.values()) < options.min_agreement * counted.total():
            found[index] = Target(None, "disputed")
    return found


def combined(
    votes: Mapping[int, Mapping[int, Said]], options: PrmOptions, posterior: Posterior | None
) -> dict[int, Target]:
    """One target for each step from all who judged it."""
    return {index: _combined(by_labeller, options, posterior) for index, by_labeller in votes.items()}


def _combined(by_labeller: Mapping[int, Said], options: PrmOptions, posterior: Posterior | None) -> Target:
    said = list(by_labeller.values())
    n_repaired = sum(one.is_repaired for one in said if one.label < 0)
    is_repaired = 2 * n_repaired > sum(one.label < 0 for one in said)
    if options.labellers == "majority":
        label, n = Counter(one.label for one in said).most_common(1)[0]
        return _target(Said(label, False, is_repaired), options) if 2 * n > len(said) else Target(None, "tied")
    each = {label: _target(Said(label, False, is_repaired), options) for label in (-1, 0, 1)}
    if options.labellers == "share":
        weights = {label: float(sum(one.label == label for one in said)) for label in each}
    else:
        assert posterior is not None
        weights = dict(zip(each, posterior(pattern_of(by_labeller)), strict=True))
    total = sum(weights[label] for label, target in each.items() if target.value is not None)
    if total <= 0:
        return Target(None, "neutral")
    value = sum(weights[label] * target.value for label, target in each.items() if target.value is not None) / total
    if options.target == "hard" and value == 0.5:
        return Target(None, "tied")
    return Target(value, "", is_repaired and options.repaired == "go-on")


def pattern_of(by_labeller: Mapping[int, Said]) -> Pattern:
    """Who said what of a step."""
    return tuple(sorted((labeller, said.label) for labeller, said in by_labeller.items()))


def decided_targets(decided: Mapping[int, int], options: PrmOptions) -> dict[int, Target]:
    """The targets of steps that a reviewer decided."""
    return {index: _target(Said(label, False, False), options) for index, label in decided.items()}


class Marks(NamedTuple):
    """The labels of a row: one for each of its first steps, and one for the answer where it has one."""

    labels: tuple[float | bool | None, ...]
    n_steps: int
    has_answer: bool


def marks_of(
    targets: Targets, n_steps: int, options: PrmOptions, *, has_answer: bool, outcome: bool | None
) -> Marks | str:
    """The labels of a solution's segments, or the reason why there are none.

    Args:
        targets: By step; at `n_steps`, of the answer.
        n_steps: Steps of the solution.
        options: Where a row ends, and what stands for a step without a target.
        has_answer: Whether the solution has an answer section that may be labelled.
        outcome: Whether the answer is right; None where that is unknown, or the labeller gave up.
    """
    values: list[float | None] = []
    is_blocked = False
    for index in range(n_steps):
        target = targets.get(index)
        if target is None or target.value is None:
            if options.unjudged == "end":
                break
            values.append(None)
            continue
        values.append(target.value)
        if _is_wrong(target.value, options) and not target.goes_on:
            is_blocked = True
            if options.after_first_error == "stop":
                break
    if all(value is None for value in values):
        return _reason(n_steps, targets.get(0))
    answer: float | None = None
    if options.answer_segment and has_answer and len(values) == n_steps:
        answer = None if is_blocked or outcome is None else float(outcome)
        said = targets.get(n_steps)
        if said is not None and said.value is not None and (not is_blocked or options.after_first_error == "all"):
            answer = said.value
    if answer is not None:
        values.append(answer)
    while values[-1] is None:
        values.pop()
    steps = len(values) - (answer is not None)
    if options.target == "hard":
        return Marks(
            tuple(None if value is None else not _is_wrong(value, options) for value in values),
            steps,
            answer is not None,
        )
    return Marks(tuple(values), steps, answer is not None)


def _is_wrong(value: float, options: PrmOptions) -> bool:
    """Of rollouts, a step is right where any of them is (Math-Shepherd, arXiv 2312.08935, hard estimation)."""
    return value <= 0 if options.rollouts_run is not None else value < 0.5


def _reason(n_steps: int, first: Target | None) -> str:
    if not n_steps:
        return "no_steps"
    return "first_step_unjudged" if first is None else f"first_step_{first.why}"
