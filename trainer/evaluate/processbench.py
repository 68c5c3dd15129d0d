"""ProcessBench (Zheng et al. 2024, 2412.06559): does a process reward model find the first wrong step.

A row is right where the prediction equals its label: the index of the first wrong step, or -1 for a solution without
one. F1 is the harmonic mean of two accuracies, that on erroneous solutions and that on correct ones; it is no F1 of
precision and recall. The overall figure is the plain mean of the subsets' F1, as the authors report it.

A PRM predicts the first step whose P(right) is below the threshold, or -1. The threshold is fixed, or chosen on a
named subset to give the highest F1 there; rows of that subset, and rows anywhere of the same problem, are then in no
figure. A solution without a score (too long for the model) counts as not found, and is counted by reason.

Shapes: as in `comparison`; K = 4: right and all of the erroneous, right and all of the correct.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from stepmark.errors import InputError, SettingsError
from stepmark.problems import statement_hash
from stepmark.steps import bare_step, render_segments

from .bootstrap import Floats, ratio
from .comparison import Benchmark, Scorer, Tally, compare
from .files import checked_rows

THRESHOLD = 0.5
"""Of a fixed rule, unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A solution in steps with its first wrong one."""

    problem: str
    steps: tuple[str, ...]
    """As the benchmark has them, or bare."""
    label: int
    """0-based; -1: every step is right."""


def parse_row(raw: Mapping[str, Any]) -> ProcessRow:
    """Checks a row of the published files: `problem`, `steps`, `label`.

    Raises:
        ValueError: Something is missing or does not fit.
    """
    problem, steps, label = raw.get("problem"), raw.get("steps"), raw.get("label")
    if not isinstance(problem, str) or not isinstance(steps, list) or not steps:
        raise ValueError(f"a row needs problem, steps and label; the columns are {sorted(raw)}")
    if not all(isinstance(step, str) for step in steps):
        raise ValueError("each of steps must be a text")
    if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label < len(steps):
        raise ValueError(f"label must be -1 or the index of one of the {len(steps)} steps, not {label!r}")
    return ProcessRow(problem, tuple(steps), label)


def parse_rows(raws: Iterable[Mapping[str, Any]], where: str) -> list[ProcessRow]:
    """Checks the rows of one subset.

    Raises:
        InputError: A row cannot be used; the message names `where` and the row.
    """
    return checked_rows(raws, parse_row, where)


def predict(step_scores: Sequence[float], threshold: float) -> int:
    """Returns the first step below the threshold, -1 where none is.

    >>> predict([0.9, 0.4, 0.1], 0.5), predict([0.9, 0.5], 0.5)
    (1, -1)
    """
    return next((index for index, score in enumerate(step_scores) if score < threshold), -1)


def f1(totals: Floats) -> Floats:
    """Returns the harmonic mean of the two accuracies; NaN where a subset has solutions of one kind only.

    3 of 4 erroneous ones found and 1 of 2 correct ones passed: 2 (3/4) (1/2) / (3/4 + 1/2) = 0.6.

    >>> f1(np.array([3.0, 4.0, 1.0, 2.0]))
    array(0.6)
    """
    erroneous, correct = accuracy_erroneous(totals), accuracy_correct(totals)
    both = erroneous + correct
    return np.where(both == 0, 0.0, ratio(2 * erroneous * correct, both))


def accuracy_erroneous(totals: Floats) -> Floats:
    """Returns the share of erroneous solutions whose first wrong step was named."""
    return ratio(totals[..., 0], totals[..., 1])


def accuracy_correct(totals: Floats) -> Floats:
    """Returns the share of correct solutions in which no step was called wrong."""
    return ratio(totals[..., 2], totals[..., 3])


def mean_f1(totals: Floats) -> Floats:
    """Returns the mean of the subsets' F1."""
    return np.asarray(f1(totals).mean(axis=-1))


@dataclass(frozen=True, slots=True)
class _Scored:
    step_scores: list[tuple[float, ...] | None]
    """None where there is no score."""
    reasons: Counter[str]


def evaluate_processbench(
    models: Mapping[str, Scorer],
    subsets: Mapping[str, Sequence[ProcessRow]],
    *,
    threshold: float = THRESHOLD,
    choose_on: str | None = None,
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures process reward models; returns the report of `comparison.compare`.

    Args:
        models: By name; each must be a PRM.
        subsets: Rows by subset.
        threshold: Of the fixed rule.
        choose_on: The subset on which each model's threshold is chosen instead; it is in no figure then.
        n_boot: Bootstrap samples of the problems.
        seed: Of the bootstrap.

    Raises:
        InputError: Nothing is left to measure, or `choose_on` is no subset.
        SettingsError: A model is no PRM.
    """
    for name, model in models.items():
        if model.kind != "prm":
            raise SettingsError(f"{name} is of kind {model.kind!r}; ProcessBench needs scores of steps, so a prm.")
    if choose_on is not None and choose_on not in subsets:
        raise InputError(
            f"there is no subset {choose_on!r} to choose a threshold on; there are {', '.join(subsets)}."
        )
    chosen_rows = list(subsets[choose_on]) if choose_on is not None else []
    seen = {statement_hash(row.problem) for row in chosen_rows}
    tested = {
        name: [row for row in rows if statement_hash(row.problem) not in seen]
        for name, rows in subsets.items()
        if name != choose_on
    }
    n_overlap = sum(len(rows) for name, rows in subsets.items() if name != choose_on) - sum(map(len, tested.values()))
    tested = {name: rows for name, rows in tested.items() if rows}
    if not tested:
        raise InputError("no row is left to measure: the threshold must be chosen on other problems than the test's.")
    thresholds: dict[str, float] = {}
    tallies: dict[str, Tally] = {}
    for name, model in models.items():
        thresholds[name] = threshold
        if chosen_rows:
            found = _score(model, chosen_rows)
            thresholds[name] = choose_threshold(found.step_scores, [row.label for row in chosen_rows])
        tallies[name] = _tally(model, tested, thresholds[name])
    rule = (
        f"A step is called wrong where its P(right) is below {threshold:g}, fixed beforehand."
        if choose_on is None
        else f"A step is called wrong below the threshold with the highest F1 on {choose_on} ("
        + ", ".join(f"{name}: {value:.4g}" for name, value in thresholds.items())
        + f"), which is in no figure; {n_overlap} rows of its problems were left out elsewhere."
    )
    benchmark = Benchmark(
        name="processbench",
        title="ProcessBench: the first wrong step",
        subsets=tuple(tested),
        measures={"f1": f1, "accuracy_erroneous": accuracy_erroneous, "accuracy_correct": accuracy_correct},
        overall=mean_f1,
        notes=(
            "F1 is the harmonic mean of the accuracy on erroneous solutions (the first wrong step is named) and on "
            "correct ones (no step is called wrong); all is the mean over the subsets.",
            rule,
            "A model that calls no step wrong has F1 0, however many solutions are right.",
            "Solutions without a score count as not found.",
        ),
        settings={
            "threshold": thresholds,
            "threshold_rule": "fixed" if choose_on is None else f"highest F1 on {choose_on}",
            "rows_left_out_with_chosen_problems": n_overlap,
        },
    )
    return compare(benchmark, tallies, n_boot=n_boot, seed=seed)


def choose_threshold(step_scores: Sequence[Sequence[float] | None], labels: Sequence[int]) -> float:
    """Returns the threshold with the highest F1 on these solutions, the middle of its range.

    Only between two neighbouring scores can a prediction change; at most 999 of these places, evenly among the
    scores, are tried. Of equally good ones the first in a row of them decides.

    >>> choose_threshold([[0.9, 0.7, 0.2], [0.8, 0.6]], [2, -1])
    0.4
    """
    lowest = sorted({score for scores in step_scores if scores is not None for score in scores})
    if not lowest:
        return THRESHOLD
    cuts = [0.0, *((a + b) / 2 for a, b in pairwise(lowest)), 1.0]
    if len(cuts) > 999:
        cuts = [cuts[round(i * (len(cuts) - 1) / 998)] for i in range(999)]
    running = [None if s is None else np.minimum.accumulate(np.asarray(s, float)) for s in step_scores]
    right = np.zeros((2, len(cuts)))
    n = np.zeros(2)
    for minima, label in zip(running, labels, strict=True):
        kind = 0 if label >= 0 else 1
        n[kind] += 1
        if minima is None:
            continue
        # The first step below a cut is where the running minimum first falls below it.
        first = (minima[None, :] >= np.asarray(cuts)[:, None]).sum(axis=1)
        right[kind] += first == (label if label >= 0 else len(minima))
    values = f1(np.stack([right[0], np.full(len(cuts), n[0]), right[1], np.full(len(cuts), n[1])], axis=-1))
    if not np.isfinite(values).any():
        raise InputError("a threshold needs erroneous and correct solutions to be chosen on; there is one kind only.")
    return float(cuts[int(np.nanargmax(values))])


def _score(model: Scorer, rows: Sequence[ProcessRow]) -> _Scored:
    items = (
        (index, row.problem, render_segments([bare_step(step) or step for step in row.steps], None))
        for index, row in enumerate(rows)
    )
    found: list[tuple[float, ...] | None] = []
    reasons: Counter[str] = Counter()
    for scored in model.score(items):
        if scored.score is None:
            reasons[scored.reason or "unknown"] += 1
            found.append(None)
        else:
            found.append(tuple(scored.step_scores))
    return _Scored(found, reasons)


def _tally(model: Scorer, subsets: Mapping[str, Sequence[ProcessRow]], threshold: float) -> Tally:
    groups: dict[str, int] = {}
    for rows in subsets.values():
        for row in rows:
            groups.setdefault(statement_hash(row.problem), len(groups))
    sums = np.zeros((len(groups), len(subsets), 4))
    reasons: Counter[str] = Counter()
    n_read = n_scored = 0
    for s, rows in enumerate(subsets.values()):
        found = _score(model, rows)
        reasons += found.reasons
        n_read += len(rows)
        for row, scores in zip(rows, found.step_scores, strict=True):
            at = sums[groups[statement_hash(row.problem)], s, :2] if row.label >= 0 else None
            cell = at if at is not None else sums[groups[statement_hash(row.problem)], s, 2:]
            cell[1] += 1
            if scores is not None:
                n_scored += 1
                cell[0] += predict(scores, threshold) == row.label
    assert not math.isnan(sums.sum())
    return Tally(sums, n_read, n_scored, dict(reasons))
