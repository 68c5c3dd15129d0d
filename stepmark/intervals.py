"""Intervals around measured shares and correlations, so that no figure stands without its uncertainty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_Z = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of things counted, with its 95 % interval."""

    n_yes: int
    n: int
    value: float | None
    """None of nothing."""
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Correlation:
    """A correlation with its 95 % interval."""

    n: int
    value: float | None
    """None where one of the two never varies."""
    low: float
    high: float


def share(n_yes: int, n: int) -> Share:
    """A share with Wilson's score interval (Wilson 1927), which holds for small numbers and near 0 and 1.

    >>> found = share(8, 10)
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.8, 0.49, 0.943)
    >>> share(0, 0)
    Share(n_yes=0, n=0, value=None, low=0.0, high=1.0)
    """
    if n == 0:
        return Share(0, 0, None, 0.0, 1.0)
    p, z2 = n_yes / n, _Z * _Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At 0 and 1 the interval ends there exactly; floating point would stop just short of it.
    low = 0.0 if n_yes == 0 else middle - half
    high = 1.0 if n_yes == n else middle + half
    return Share(n_yes, n, p, low, high)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two shares with its 95 % interval."""

    value: float | None
    """None where one of the two is a share of nothing."""
    low: float
    high: float


def difference(first: Share, second: Share) -> Difference:
    """`first - second`, of independent things, with Newcombe's hybrid score interval (1998, method 10).

    >>> found = difference(share(56, 70), share(48, 80))
    >>> round(found.value, 3), round(found.low, 4), round(found.high, 4)
    (0.2, 0.0524, 0.3339)
    >>> difference(share(1, 1), share(0, 0)).value is None
    True
    """
    if first.value is None or second.value is None:
        return Difference(None, -1.0, 1.0)
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Difference(value, value - below, value + above)


def spearman(left: Sequence[float], right: Sequence[float]) -> Correlation:
    """Spearman's rank correlation; equal values share their mean rank.

    The interval is Fisher's, with the standard error of Fieller, Hartley and Pearson (1957), which holds where few
    values are equal; with three values in `left` it is somewhat too wide.

    >>> spearman([1, 2, 3, 4], [10, 20, 40, 30]).value
    0.8
    >>> spearman([1, 1, 1], [1, 2, 3]).value is None
    True
    """
    n = len(left)
    ranks = [_ranks(np.asarray(values, dtype=float)) for values in (left, right)]
    if n < 2 or any(np.ptp(one) == 0 for one in ranks):
        return Correlation(n, None, -1.0, 1.0)
    value = round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 12)
    if n <= 3 or abs(value) == 1:
        return Correlation(n, value, -1.0 if n <= 3 else value, 1.0 if n <= 3 else value)
    middle, half = math.atanh(value), _Z * 1.03 / math.sqrt(n - 3)
    return Correlation(n, value, math.tanh(middle - half), math.tanh(middle + half))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks: np.ndarray = np.cumsum(counts) - (counts - 1) / 2
    return mean_ranks[place]
