"""Calibration: when a reward model says 80 %, is it right in 80 %.

Measured on one split after being fitted on another: of P(right) of steps (a PRM), of whole solutions (a PRM or an
ORM), or of the chance that the chosen answer of a pair is preferred (Bradley-Terry; sigmoid of the difference). Each
pair counts once with target 1 and once, turned around, with target 0, so that a base rate of one half is built in.

ECE is the expected calibration error over 15 bins of equal width (Guo et al. 2017): the mean distance between the
mean score and the share of right ones of a bin, weighted by rows. It is biased upwards where bins hold few rows.
Brier is the mean squared distance, NLL the mean negative log-likelihood; both also reward telling right from wrong.

Shapes: as in `comparison`; K = 3 sums of each bin (rows, scores, targets), then Brier, NLL and rows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepmark.errors import InputError, SettingsError
from stepmark.intervals import share
from trainer.calibration import Fit, Method, Target, fit_calibration, logit, sigmoid
from trainer.rows import COMPARING, Prompt

from .bootstrap import Floats, ratio
from .comparison import Benchmark, Scorer, Tally, compare
from .items import Item, unique

N_BINS = 15
VARIANTS: tuple[str, ...] = ("raw", "temperature", "platt")
"""Before, and after each method."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of one model with what is true, flat."""

    target: Target
    problems: Sequence[str]
    """[n] the problem of each."""
    scores: Floats
    """[n] probabilities; of pairs the difference of the rewards, chosen - rejected."""
    targets: Floats
    """[n] in [0, 1]; of pairs all 1."""
    unscored: Mapping[str, int]
    """Solutions without a score, by reason."""

    def turned(self) -> "Judged":
        """Pairs, each also turned around; anything else as it is."""
        if self.target != "pairs":
            return self
        return Judged(
            self.target,
            [*self.problems, *self.problems],
            np.concatenate([self.scores, -self.scores]),
            np.concatenate([self.targets, 1 - self.targets]),
            self.unscored,
        )

    def logits(self) -> Floats:
        """[n] logits of the raw scores."""
        return self.scores if self.target == "pairs" else logit(self.scores)


Pair = tuple[str, Prompt, Sequence[str], Sequence[str]]
"""Problem, prompt, segments of the chosen and of the rejected answer."""


def judge_items(model: Scorer, items: Iterable[Item], target: Target, *, how: str = "product") -> Judged:
    """Scores what can be judged: labelled steps, or solutions of known outcome; texts of a problem once each.

    Raises:
        SettingsError: The model has no such scores.
    """
    if target == "pairs" or model.kind in COMPARING or (target == "steps" and model.kind != "prm"):
        raise SettingsError(f"a model of kind {model.kind!r} has no calibration of {target}.")
    given = unique(item for item in items if _is_judged(item, target))
    problems: list[str] = []
    scores: list[float] = []
    targets: list[float] = []
    unscored: Counter[str] = Counter()
    found = model.score(((i, item.prompt, item.segments) for i, item in enumerate(given)), how=how)
    for item, scored in zip(given, found, strict=True):
        if scored.score is None:
            unscored[scored.reason or "unknown"] += 1
        elif target == "solutions":
            problems.append(item.problem)
            scores.append(scored.score)
            targets.append(float(bool(item.is_correct)))
        else:
            for score, label in zip(scored.step_scores, item.labels, strict=False):
                if label is not None:
                    problems.append(item.problem)
                    scores.append(score)
                    targets.append(label)
    return Judged(target, problems, np.array(scores), np.array(targets), dict(unscored))


def _is_judged(item: Item, target: Target) -> bool:
    if target == "steps":
        return any(label is not None for label in item.labels)
    return item.is_correct is not None


def judge_pairs(model: Scorer, pairs: Iterable[Pair]) -> Judged:
    """Scores both answers of pairs; a pair with an answer without a score is left out and counted."""
    given = list(pairs)
    items = (
        ((number, side), prompt, segments)
        for number, (_, prompt, *sides) in enumerate(given)
        for side, segments in enumerate(sides)
    )
    found: dict[int, list[Any]] = defaultdict(list)
    for scored in model.score(items):
        found[scored.key[0]].append(scored)
    problems: list[str] = []
    leads: list[float] = []
    unscored: Counter[str] = Counter()
    for number, (chosen, rejected) in found.items():
        if chosen.score is None or rejected.score is None:
            unscored[chosen.reason or rejected.reason or "unknown"] += 1
            continue
        problems.append(given[number][0])
        leads.append(chosen.score - rejected.score)
    return Judged("pairs", problems, np.array(leads), np.ones(len(leads)), dict(unscored))


def pairs_of(items: Iterable[Item]) -> list[Pair]:
    """Pairs of a right and a wrong solution of one problem, each solution in one pair at most."""
    sides: dict[str, tuple[list[Item], list[Item]]] = defaultdict(lambda: ([], []))
    for item in unique(items):
        if item.is_correct is not None:
            sides[item.problem][not item.is_correct].append(item)
    return [
        (problem, a.prompt, a.segments, b.segments)
        for problem, (right, wrong) in sides.items()
        for a, b in zip(right, wrong, strict=False)
    ]


def fit(judged: Judged, method: Method, *, how: str | None = None, where: str = "the rows") -> Fit:
    """Fits a calibration; of pairs only a temperature, for turning a pair around must turn its chance around.

    Raises:
        InputError: The rows do not allow one; see `fit_calibration`.
    """
    if judged.target == "pairs":
        method = "temperature"
    both = judged.turned()
    slope, intercept = fit_calibration(both.logits(), both.targets, method, where=where)
    return Fit(judged.target, method, slope, intercept, len(judged.scores), len(set(judged.problems)), how)


def ece(totals: Floats) -> Floats:
    """Returns the expected calibration error.

    Two bins: 3 rows scored .8 of which 2 are right, and 1 scored .1 that is right: (3 |.8 - 2/3| + .9) / 4.

    >>> sums = np.zeros(3 * N_BINS + 3)
    >>> sums[0:3], sums[3:6], sums[-1] = (3, 2.4, 2), (1, 0.1, 1), 4
    >>> ece(sums).round(6)
    np.float64(0.325)
    """
    bins = totals[..., : 3 * N_BINS].reshape(*totals.shape[:-1], N_BINS, 3)
    gaps = np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1)
    return ratio(gaps, totals[..., -1])


def brier(totals: Floats) -> Floats:
    """Returns the mean squared distance of score and target."""
    return ratio(totals[..., -3], totals[..., -1])


def nll(totals: Floats) -> Floats:
    """Returns the mean negative log-likelihood in nats."""
    return ratio(totals[..., -2], totals[..., -1])


def evaluate_calibration(
    tested: Mapping[str, Judged],
    fits: Mapping[str, Mapping[Method, Fit]],
    *,
    fitted_on: str,
    measured_on: str,
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures calibration before and after each fit; returns the report of `comparison.compare`.

    Args:
        tested: By model, all of one target.
        fits: By model and method, made on other problems.
        fitted_on: Names the rows of the fits.
        measured_on: Names the rows tested.
        n_boot: Bootstrap samples of the problems.
        seed: Of the bootstrap.

    Raises:
        InputError: There are no scores, or models of different targets.
    """
    targets = {judged.target for judged in tested.values()}
    if len(targets) > 1:
        raise InputError(f"models on one page must be judged alike; these are of {', '.join(sorted(targets))}.")
    for name, judged in tested.items():
        if not len(judged.scores):
            raise InputError(f"{name} has no score with a label on {measured_on}: {dict(judged.unscored)}.")
    groups: dict[str, int] = {}
    for judged in tested.values():
        for problem in judged.problems:
            groups.setdefault(problem, len(groups))
    variants = [one for one in VARIANTS if one == "raw" or any(one in by_method for by_method in fits.values())]
    tallies: dict[str, Tally] = {}
    reliability: dict[str, dict[str, Any]] = {}
    for name, judged in tested.items():
        both = judged.turned()
        at = np.array([groups[problem] for problem in both.problems])
        sums = np.zeros((len(groups), len(variants), 3 * N_BINS + 3))
        reliability[name] = {}
        for v, variant in enumerate(variants):
            found = fits[name].get(variant)  # type: ignore[call-overload]
            raw = sigmoid(both.scores) if judged.target == "pairs" else both.scores
            scores = raw if found is None else sigmoid(found.slope * both.logits() + found.intercept)
            if variant == "raw" or found is not None:
                _add(sums[:, v], at, scores, both.targets)
                reliability[name][variant] = _reliability(sums[:, v].sum(axis=0))
        n_unscored = sum(judged.unscored.values())
        tallies[name] = Tally(sums, len(judged.scores) + n_unscored, len(judged.scores), judged.unscored)
    what = {
        "steps": "P(right) of steps",
        "solutions": "P(right) of solutions",
        "pairs": "the chance that the chosen answer is preferred",
    }[next(iter(targets))]
    benchmark = Benchmark(
        name="calibration",
        title=f"Calibration of {what}",
        subsets=variants,
        measures={"ece": ece, "brier": brier, "nll": nll},
        overall=None,
        centred=("ece",),
        notes=(
            f"Fitted on {fitted_on}, measured on {measured_on}; no problem is in both.",
            f"ECE over {N_BINS} bins of equal width, too large where bins hold few rows. Lower is better.",
            *(
                f"{name}: temperature {f['temperature'].temperature:.3f}"
                + (
                    f"; Platt slope {f['platt'].slope:.3f}, intercept {f['platt'].intercept:+.3f}"
                    if "platt" in f
                    else ""
                )
                for name, f in fits.items()
                if "temperature" in f
            ),
        ),
        settings={"fitted_on": fitted_on, "measured_on": measured_on, "target": next(iter(targets))},
    )
    report = compare(benchmark, tallies, n_boot=n_boot, seed=seed)
    report["reliability"] = reliability
    report["fits"] = {
        name: {method: {"slope": f.slope, "intercept": f.intercept, "n": f.n} for method, f in by_method.items()}
        for name, by_method in fits.items()
    }
    return report


def _add(sums: Floats, at: Any, scores: Floats, targets: Floats) -> None:
    """Adds each row to the sums of its problem: [G, K]."""
    bins = np.minimum((scores * N_BINS).astype(int), N_BINS - 1)
    p = np.clip(scores, 1e-7, 1 - 1e-7)
    for column, values in ((0, np.ones_like(scores)), (1, scores), (2, targets)):
        np.add.at(sums, (at, 3 * bins + column), values)
    np.add.at(sums, (at, -3), (scores - targets) ** 2)
    np.add.at(sums, (at, -2), -(targets * np.log(p) + (1 - targets) * np.log1p(-p)))
    np.add.at(sums, (at, -1), 1.0)


def _reliability(totals: Floats) -> list[dict[str, float]]:
    """The bins with rows: mean score, share right with Wilson's interval, rows."""
    out = []
    for n, scores, right in totals[: 3 * N_BINS].reshape(N_BINS, 3):
        if n:
            interval = share(round(right), round(n))
            out.append({"score": scores / n, "right": right / n, "low": interval.low, "high": interval.high, "n": n})
    return out
