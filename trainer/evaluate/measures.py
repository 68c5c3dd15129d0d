"""Ranking measures of scores against right and wrong: AUC, pooled and within problems.

Pooled AUC alone misleads: a model that has only learnt which problems are hard reached .82 pooled and .50
within problems. Whoever chooses among solutions of one problem needs the second.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepmark.errors import InputError


def auc(scores: Sequence[float] | npt.NDArray[np.floating], right: Sequence[bool] | npt.NDArray[np.bool_]) -> float:
    """Returns the chance that a right one scores above a wrong one, ties counted half; NaN if one kind is
    absent.

    Of the four pairs of {3, 1} right and {2, 1} wrong, two are won and one is tied: 2.5 / 4.

    >>> auc([3.0, 1.0, 2.0, 1.0], [True, True, False, False])
    0.625
    """
    values, mask = np.asarray(scores, float), np.asarray(right, bool)
    wrong = np.sort(values[~mask])
    wins = values[mask]
    if not len(wrong) or not len(wins):
        return math.nan
    below = np.searchsorted(wrong, wins, side="left") + np.searchsorted(wrong, wins, side="right")
    return float(below.sum() / (2 * len(wins) * len(wrong)))


def within_problem_auc(
    problems: Sequence[int] | npt.NDArray[np.int64],
    scores: Sequence[float] | npt.NDArray[np.floating],
    right: Sequence[bool] | npt.NDArray[np.bool_],
) -> tuple[float, int]:
    """Returns the mean AUC over the problems that have right and wrong ones, and how many those are.

    Every such problem weighs the same. NaN and 0 where no problem has both.

    >>> within_problem_auc([7, 7, 8, 8, 9], [2.0, 1.0, 0.1, 0.9, 0.5], [True, False, True, False, True])
    (0.5, 2)
    """
    usable = auc_by_problem(problems, scores, right)
    return (float(np.mean(usable)), len(usable)) if len(usable) else (math.nan, 0)


def auc_by_problem(
    problems: Sequence[int] | npt.NDArray[np.int64],
    scores: Sequence[float] | npt.NDArray[np.floating],
    right: Sequence[bool] | npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Returns the AUC of each problem that has right and wrong ones, by its number.

    >>> auc_by_problem([7, 8, 7, 8, 9], [2.0, 0.1, 1.0, 0.9, 0.5], [True, True, False, False, True])
    array([1., 0.])
    """
    groups, values, mask = np.asarray(problems), np.asarray(scores, float), np.asarray(right, bool)
    order = np.argsort(groups, kind="stable")
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    each = (auc(values[part], mask[part]) for part in np.split(order, cuts))
    return np.array([value for value in each if not math.isnan(value)])


def best_of_n_rate(
    scores: Sequence[float] | npt.NDArray[np.floating], right: Sequence[bool] | npt.NDArray[np.bool_], n: int
) -> float:
    """Returns the chance that the highest-scored of `n` samples, drawn without putting back, is right; exactly.

    Of equal scores each is chosen as often as any other; what scores -inf (no answer) counts as wrong.

    Of three samples two are drawn: the one scored 3 stands in two of three draws, the one scored 2 wins the third.

    >>> round(best_of_n_rate([3.0, 2.0, 1.0], [True, False, True], 2), 4)
    0.6667
    """
    values, mask = np.asarray(scores, float), np.asarray(right, bool)
    m = len(values)
    if not 1 <= n <= m:
        raise InputError(f"of {m} samples the best of {n} cannot be taken.")
    total, rate = math.comb(m, n), 0.0
    for value in np.unique(values):
        same, below = int((values == value).sum()), int((values < value).sum())
        highest = (math.comb(below + same, n) - math.comb(below, n)) / total
        if value > -math.inf:
            rate += highest * float(mask[values == value].mean())
    return rate
