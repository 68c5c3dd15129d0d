"""Bootstrap intervals of any figure that is computed from sums over problems.

Rows of one problem are not independent, so problems are drawn, never rows. A figure is a function of totals (an F1
of counts, a mean of a sum and a count), so a resample needs the weighted totals only, and the same weights serve
every figure and every model: differences come out paired.

Shapes: `G` problems, `B` resamples, `...` whatever a problem's sums are made of.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BLOCK = 4_000_000
"""Weights drawn at a time: 32 MB."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured figure with its interval."""

    value: float | None
    """None where it is not defined, such as an F1 without any wrong step."""
    low: float
    """NaN where there is no value."""
    high: float
    n: int
    """Problems behind it."""

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.value is not None and (self.low > 0 or self.high < 0)

    def as_json(self) -> dict[str, Any]:
        """The estimate as JSON takes it."""
        has_interval = self.value is not None and math.isfinite(self.low) and math.isfinite(self.high)
        return {"value": self.value, "interval": [self.low, self.high] if has_interval else None, "n": self.n}


def resampled_totals(sums: npt.ArrayLike, *, n_boot: int = 2000, seed: int = 0) -> Floats:
    """Returns the totals of `n_boot` resamples of the problems: [B, ...].

    The same number of problems, `n_boot` and `seed` give the same resamples, whatever the sums.

    Args:
        sums: [G, ...] the sums of each problem.
        n_boot: Resamples.
        seed: Of the resampling.
    """
    array = np.asarray(sums, float)
    n_groups = len(array)
    flat = array.reshape(n_groups, -1)
    rng = np.random.default_rng([seed, n_groups, 2])
    size = max(1, _BLOCK // n_groups)
    parts = []
    for start in range(0, n_boot, size):
        n = min(size, n_boot - start)
        drawn = rng.integers(0, n_groups, (n, n_groups)) + np.arange(n)[:, None] * n_groups
        weights = np.bincount(drawn.ravel(), minlength=n * n_groups).reshape(n, n_groups)
        parts.append(weights @ flat)
    return np.concatenate(parts).reshape(n_boot, *array.shape[1:])


def expanded_tail(level: float, n: int) -> float:
    """Returns the share that an interval leaves out on each side, smaller than (1 - level) / 2 for few problems.

    A percentile interval is too narrow for few: they spread by sqrt((n - 1) / n) too little, and a mean of few is no
    normal variable. Hesterberg (2015, 1411.5279, section 3.3) takes wider percentiles instead, those of the normal
    distribution at sqrt(n / (n - 1)) t, with Student's quantile (its Cornish-Fisher expansion here).

    >>> [round(expanded_tail(0.95, n), 4) for n in (10, 40, 1_000_000)]
    [0.0086, 0.0203, 0.025]
    """
    normal = NormalDist()
    if n < 2:
        return (1 - level) / 2
    z, v = normal.inv_cdf((1 + level) / 2), n - 1
    t = z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    return normal.cdf(-math.sqrt(n / (n - 1)) * t)


def estimate(
    value: float, resamples: npt.ArrayLike, n: int, *, level: float = 0.95, centred: bool = False
) -> Estimate:
    """Returns a figure with its expanded percentile interval; resamples in which it is not defined are left out.

    Args:
        value: The figure.
        resamples: [B] the figure of each resample.
        n: Problems behind it.
        level: Of the interval.
        centred: Move the interval so that the mean of the resamples falls on the figure, for one that resampling
            drives in one direction (a calibration error, which noise only adds to).

    >>> estimate(0.5, [0.4, 0.5, 0.6, float("nan")], 1_000_000, level=0.5)
    Estimate(value=0.5, low=0.45, high=0.55, n=1000000)
    """
    if not math.isfinite(value):
        return Estimate(None, math.nan, math.nan, n)
    drawn = np.asarray(resamples, float)
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Estimate(value, math.nan, math.nan, n)
    if centred:
        drawn = drawn + (value - drawn.mean())
    tail = 100 * expanded_tail(level, n)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Estimate(float(value), float(round(low, 6)), float(round(high, 6)), n)


def ratio(over: npt.ArrayLike, under: npt.ArrayLike) -> Floats:
    """Divides, with NaN where nothing is divided by; no warning."""
    above, below = np.asarray(over, float), np.asarray(under, float)
    out = np.full(np.broadcast(above, below).shape, math.nan)
    np.divide(above, below, out=out, where=below != 0)
    return out
