"""What a measured agreement is: a value with its interval, or the reason why there is none.

Every coefficient is a function of sums over units (`statistic(sums)`). So the interval needs no second look at the
labels: the sums are taken again over units drawn with replacement.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .tables import Floats, Ints

RESAMPLES = 1000
"""Draws for an interval, where one is wanted."""
NOTHING_SHARED = "no unit has two labels"
_MOST_UNDEFINED = 0.05
_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A coefficient of agreement; 1 is full agreement, 0 what chance gives (but for raw agreement)."""

    value: float | None
    """None where it is undefined."""
    n_units: int
    """Units with at least two labels, from which it comes."""
    low: float | None = None
    """Lower end of the 95 % interval; None where none was asked for, or none can be had."""
    high: float | None = None
    because: str | None = None
    """Why there is no value, or no interval though one was asked for."""


def estimate(
    rows: Ints,
    contributions: Callable[[Floats], Floats],
    statistic: Callable[[Floats], Floats],
    *,
    n_units: int,
    undefined: str = NOTHING_SHARED,
    groups: Ints | None = None,
    resamples: int = 0,
    seed: int = 0,
) -> Coefficient:
    """A coefficient with a bootstrap interval over units, or over groups of them.

    The interval is Efron's percentile interval (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13):
    the 2.5 and 97.5 % quantiles over `resamples` draws, with replacement, of as many units. Units that belong
    together, as the steps of a solution do, are not independent: give their groups, and whole groups are drawn.
    Units and groups that add nothing to any sum are not drawn. Draws for which the coefficient is undefined count for
    nothing; where they are more than 5 %, there is no interval.

    Args:
        rows: Counts of each unit, whole numbers from 0.
        contributions: What each of such rows adds to the sums (rows x sums).
        statistic: The coefficient of sums, along their last axis; NaN where it is undefined.
        n_units: Units with at least two labels.
        undefined: The reason to give where the coefficient is undefined though there are such units.
        groups: Of each unit, counted from 0; None: every unit by itself.
        resamples: Draws; 0: no interval.
        seed: Of the draws.
    """
    if n_units == 0:
        return Coefficient(None, 0, because=NOTHING_SHARED)
    distinct, of_unit, times = _distinct(rows)
    each = contributions(distinct.astype(np.float64))
    value = float(statistic(times @ each))
    if np.isnan(value):
        return Coefficient(None, n_units, because=undefined)
    if not resamples:
        return Coefficient(value, n_units)
    if groups is not None:
        # Groups of equal sums are drawn as one row, as units of equal counts are.
        sums = np.stack([np.bincount(groups, weights=column[of_unit]) for column in each.T], axis=1)
        each, times = np.unique(sums, axis=0, return_counts=True)
    adds = each.any(axis=1)
    values = _resampled(each[adds], times[adds], statistic, resamples=resamples, seed=seed)
    defined = values[~np.isnan(values)]
    if len(defined) < (1 - _MOST_UNDEFINED) * resamples:
        share = 1 - len(defined) / resamples
        return Coefficient(value, n_units, because=f"no interval: in {share:.0%} of the resamples {undefined}")
    low, high = np.quantile(defined, [0.025, 0.975])
    return Coefficient(value, n_units, float(low), float(high))


def _distinct(rows: Ints) -> tuple[Ints, Ints, Ints]:
    """The distinct rows, the place of each row among them, and how often each occurs."""
    base = int(rows.max()) + 1
    if base ** rows.shape[1] < 2**62:  # a row as one number: much faster than sorting rows
        code = rows @ (base ** np.arange(rows.shape[1], dtype=np.int64))
        _, first, of_unit, times = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
        return rows[first], of_unit, times
    distinct, of_unit, times = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return distinct, of_unit.reshape(-1), times


def _resampled(
    each: Floats, times: Ints, statistic: Callable[[Floats], Floats], *, resamples: int, seed: int
) -> Floats:
    """The statistic over draws of as many rows as there are, row `i` being there `times[i]` times."""
    rng = np.random.default_rng(seed)
    n, shares = int(times.sum()), times / times.sum()
    at_once = max(1, _CELLS // len(times))
    found = [
        statistic(rng.multinomial(n, shares, size=min(at_once, resamples - start)) @ each)
        for start in range(0, resamples, at_once)
    ]
    return np.concatenate(found)
