"""Figures with intervals, as the experiments compute and write them: problems are drawn, never rows."""

from collections.abc import Hashable, Iterable

import numpy as np
import numpy.typing as npt

from trainer.evaluate.bootstrap import Estimate, estimate, ratio, resampled_totals


def share_of(rows: Iterable[tuple[Hashable, bool]], *, n_boot: int = 2000) -> Estimate:
    """The share of rows that are true, each with its problem; without a value where there are none.

    >>> share_of([(1, True), (1, True), (2, False), (2, True)]).value
    0.75
    """
    sums: dict[Hashable, list[float]] = {}
    for problem, is_so in rows:
        total = sums.setdefault(problem, [0.0, 0.0])
        total[0] += is_so
        total[1] += 1
    if not sums:
        return Estimate(None, float("nan"), float("nan"), 0)
    table = np.array(list(sums.values()))
    totals = resampled_totals(table, n_boot=n_boot)
    value = float(table[:, 0].sum() / table[:, 1].sum())
    return estimate(value, ratio(totals[:, 0], totals[:, 1]), len(table))


def mean_of(values: npt.ArrayLike, *, n_boot: int = 2000) -> Estimate:
    """The mean over problems: [G] one value each.

    >>> mean_of([1.0, 0.0, 0.5]).value
    0.5
    """
    array = np.asarray(values, float)
    return estimate(float(array.mean()), resampled_totals(array, n_boot=n_boot) / len(array), len(array))


def in_words(found: Estimate, *, sign: bool = False) -> str:
    """A figure with its interval; with its sign where it is a difference.

    >>> in_words(Estimate(0.5, 0.25, 0.75, 9)), in_words(Estimate(0.5, 0.25, 0.75, 9), sign=True)
    ('0.500 [0.250, 0.750]', '+0.500 [+0.250, +0.750]')
    """
    if found.value is None:
        return "–"
    form = "+.3f" if sign else ".3f"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"
