"""Calibration of a reward model: fitted on held-out rows, kept beside the weights, applied to scores on wish.

A score p becomes sigmoid(slope * logit(p) + intercept): with a free intercept that is Platt's method (Platt 1999),
without one temperature scaling (Guo et al. 2017, 1706.04599), slope = 1 / temperature. A Bradley-Terry reward is only
multiplied, so that sigmoid of a difference is the chance of a preference. Nothing here changes a ranking within one
kind of score, for a slope is above zero; but a product of calibrated steps can rank otherwise than one of raw steps.

Shapes: `n` scores with a target each.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stepmark.errors import InputError, SettingsError

from .rows import COMPARING

Floats = npt.NDArray[np.float64]
Method = Literal["temperature", "platt"]
Target = Literal["steps", "solutions", "pairs"]
"""What a calibration is of: P(right) of steps, that of whole solutions, differences of rewards."""

CALIBRATION = "calibration.json"
"""Stands beside a model's weights."""

_EDGE = 1e-7
"""Probabilities nearer to 0 or 1 are taken for this near: float32 rounds a sigmoid to 1."""


@dataclass(frozen=True, slots=True)
class Fit:
    """One fitted calibration."""

    target: Target
    method: Method
    slope: float
    intercept: float
    n: int
    """Scores it was fitted on."""
    n_problems: int
    how: str | None = None
    """Of a PRM's solutions: how its steps made the score."""

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return 1 / self.slope

    def apply(self, scores: npt.ArrayLike) -> Floats:
        """Calibrates probabilities, or, of `pairs`, rewards: [n] to [n].

        >>> Fit("solutions", "temperature", 0.5, 0.0, 100, 10).apply([0.5, 0.8]).round(4).tolist()
        [0.5, 0.6667]
        """
        values = np.asarray(scores, float)
        if self.target == "pairs":
            return self.slope * values
        return sigmoid(self.slope * logit(values) + self.intercept)


def logit(probabilities: npt.ArrayLike) -> Floats:
    """Returns log(p / (1 - p)), of p kept off 0 and 1."""
    p = np.clip(np.asarray(probabilities, float), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(p) - np.log1p(-p))


def sigmoid(x: npt.ArrayLike) -> Floats:
    """Returns 1 / (1 + exp(-x)) without overflow."""
    z = np.asarray(x, float)
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)))


def fit_calibration(
    logits: npt.ArrayLike, targets: npt.ArrayLike, method: Method, *, where: str = "the rows"
) -> tuple[float, float]:
    """Returns (slope, intercept) of the highest likelihood, by Newton's method on a concave function.

    Platt's targets are drawn in by one imagined row of each kind, which keeps the fit finite where scores separate
    right from wrong without a mistake.

    Args:
        logits: [n] of the raw scores.
        targets: [n] in [0, 1].
        method: `temperature` keeps the intercept at 0.
        where: Names the rows in messages.

    Raises:
        InputError: The targets are all of one kind, the scores are all equal, or better scores go with wrong rows.
    """
    x, y = np.asarray(logits, float), np.asarray(targets, float)
    if not len(x) or y.min() == y.max():
        raise InputError(f"a calibration needs right and wrong ones; {where} have {len(x)} of one kind.")
    if x.min() == x.max():
        raise InputError(f"a calibration needs different scores; {where} all have the same.")
    n_right = float(y.sum())
    n_wrong = len(y) - n_right
    y = (1 - y) / (n_wrong + 2) + y * (n_right + 1) / (n_right + 2)
    columns = np.stack([x, np.ones_like(x)], axis=1) if method == "platt" else x[:, None]
    beta = np.zeros(columns.shape[1])
    loss = _loss(columns, y, beta)
    for _ in range(200):
        p = sigmoid(columns @ beta)
        gradient = columns.T @ (p - y)
        if np.abs(gradient).max() < 1e-9 * len(x):
            break
        hessian = (columns * np.maximum(p * (1 - p), 1e-12)[:, None]).T @ columns
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while _loss(columns, y, beta - size * step) > loss and size > 1e-9:
            size /= 2
        beta = beta - size * step
        loss = _loss(columns, y, beta)
    slope, intercept = float(beta[0]), float(beta[1]) if method == "platt" else 0.0
    if not math.isfinite(slope) or slope <= 0:
        raise InputError(
            f"the calibration's slope is {slope:.4g}: on {where} higher scores do not go with right ones, and no "
            "calibration mends that."
        )
    return slope, intercept


def _loss(columns: Floats, y: Floats, beta: Floats) -> float:
    z = columns @ beta
    return float(np.logaddexp(0, z).sum() - y @ z)


def write_calibration(folder: Path, fits: Sequence[Fit], *, fitted_on: str) -> dict[str, Any]:
    """Writes `calibration.json` into a model's folder; returns what stands there.

    Fits of other targets that stand there stay. `logit_mean` and `logit_sigma` are what vLLM's pooler takes for a
    sequence classifier with a sigmoid: (x - mean) / sigma = slope * x + intercept.
    """
    path = folder / CALIBRATION
    there: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for fit in fits:
        there[fit.target] = {
            **asdict(fit),
            "temperature": fit.temperature,
            "logit_mean": -fit.intercept / fit.slope,
            "logit_sigma": 1 / fit.slope,
            "fitted_on": fitted_on,
        }
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(there, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
    return there


def read_calibration(folder: Path) -> Mapping[str, Fit]:
    """Reads a model's calibrations by target.

    Raises:
        SettingsError: There is none, or it cannot be read.
    """
    path = folder / CALIBRATION
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        names = Fit.__slots__
        return {target: Fit(**{name: found[name] for name in names}) for target, found in raw.items()}
    except FileNotFoundError as err:
        raise SettingsError(
            f"{folder} has no {CALIBRATION}; fit one: stepmark evaluate calibration --model {folder} --save"
        ) from err
    except (ValueError, KeyError, AttributeError, TypeError) as err:
        raise SettingsError(f"{path} cannot be read ({err!r}); fit it again.") from err


def calibrated(
    fits: Mapping[str, Fit], kind: str, score: float, step_scores: Sequence[float], *, how: str
) -> tuple[float, tuple[float, ...]]:
    """Returns a solution's score and step scores after calibration.

    A PRM's steps are calibrated where there is a fit of steps. Its solution score is the raw one calibrated where
    there is a fit of solutions with this `how`, else made of the calibrated steps by the caller (`score` comes back
    as NaN).

    Raises:
        SettingsError: The model's calibration is of something else.
    """
    if kind in COMPARING:
        return float(_needed(fits, "pairs").apply(score)), ()
    if kind == "orm":
        return float(_needed(fits, "solutions").apply(score)), ()
    steps = tuple(fits["steps"].apply(step_scores).tolist()) if "steps" in fits else tuple(step_scores)
    whole = fits.get("solutions")
    if whole is not None and whole.how == how:
        return float(whole.apply(score)), steps
    if "steps" not in fits:
        raise SettingsError(
            f"the calibration is of solutions scored by {whole.how if whole else None}, not by {how}; say --how "
            f"{whole.how if whole else 'product'}, or fit one of steps."
        )
    return math.nan, steps


def _needed(fits: Mapping[str, Fit], target: Target) -> Fit:
    if target not in fits:
        raise SettingsError(f"the calibration is of {', '.join(fits)}, not of {target}; fit one of {target}.")
    return fits[target]
