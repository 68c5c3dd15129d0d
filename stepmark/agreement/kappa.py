"""Raw agreement, and what corrects it for chance by the labels' shares: Cohen, Fleiss, Gwet.

All but Cohen's take any number of labellers, not the same for each unit. `K` categories, `U` units.
"""

import math
from collections.abc import Sequence

import numpy as np

from .coefficient import NOTHING_SHARED, Coefficient, estimate
from .tables import Floats, Ints, n_shared, nominal_weights

_ALIKE = "all labels are alike, so that chance would agree as well"


def raw_agreement(counts: Ints, *, groups: Ints | None = None, resamples: int = 0, seed: int = 0) -> Coefficient:
    """The share of pairs of labellers of a unit who say the same, averaged over units: p_a, not corrected for chance.

    `p_a = mean over units of sum_k c_k (c_k - 1) / (n (n - 1))` with `c_k` of a unit's `n` labels in category `k`;
    units with fewer than two labels do not count (Fleiss 1971, eq. 3; Gwet 2014, ch. 2 for unequal `n`).

    Args:
        counts: How many labellers gave each category, by unit (`U` x `K`).
        groups: As `estimate` takes them; so are the next two.
        resamples: Draws for the interval.
        seed: Of the draws.
    """
    weights = nominal_weights(counts.shape[1])
    return estimate(
        counts,
        lambda rows: _contributions(rows, weights)[:, :2],
        ratio,
        n_units=n_shared(counts),
        groups=groups,
        resamples=resamples,
        seed=seed,
    )


def fleiss_kappa(counts: Ints, *, groups: Ints | None = None, resamples: int = 0, seed: int = 0) -> Coefficient:
    """Fleiss' kappa: `(p_a - p_e) / (1 - p_e)` with `p_e = sum_k share_k ** 2` of the categories' mean shares.

    Fleiss (1971), Measuring nominal scale agreement among many raters; for unequal numbers of labellers as Gwet
    (2014, ch. 2): `p_a` over the units with two labels or more, the shares over all that have one. Undefined where
    all labels are alike. It falls as one category grows, at the same raw agreement: see `gwet_ac`.
    """
    weights = nominal_weights(counts.shape[1])

    def statistic(sums: Floats) -> Floats:
        return _corrected(ratio(sums), (_shares(sums) ** 2).sum(axis=-1))

    return estimate(
        counts,
        lambda rows: _contributions(rows, weights),
        statistic,
        n_units=n_shared(counts),
        undefined=_ALIKE,
        groups=groups,
        resamples=resamples,
        seed=seed,
    )


def gwet_ac(
    counts: Ints, weights: Floats | None = None, *, groups: Ints | None = None, resamples: int = 0, seed: int = 0
) -> Coefficient:
    """Gwet's AC1 (no weights) and AC2 (with weights such as `ordinal_weights`); labels may be missing.

    `(p_a - p_e) / (1 - p_e)` with `p_a` the weighted agreement of pairs, averaged over the units with two labels or
    more, and `p_e = T / (K (K - 1)) sum_k share_k (1 - share_k)`, `T` the sum of the weights, the shares averaged
    over all units that have a label (Gwet 2008, Computing inter-rater reliability and its variance in the presence
    of high agreement; Handbook 2014, ch. 2 and 3).

    Chance is taken to agree little where labels are mostly of one category, so the figure does not collapse there as
    alpha and kappa do, and on unanimous data it is 1. The categories are the columns of `counts`, also those nobody
    used: leaving out a column changes the figure.

    Args:
        counts: How many labellers gave each category, by unit (`U` x `K`, `K` at least 2).
        weights: `K` x `K`; None: `nominal_weights`.
        groups: As `estimate` takes them; so are the next two.
        resamples: Draws for the interval.
        seed: Of the draws.
    """
    chosen = nominal_weights(counts.shape[1]) if weights is None else weights
    return estimate(
        counts,
        lambda rows: _contributions(rows, chosen),
        lambda sums: _ac(sums, chosen),
        n_units=n_shared(counts),
        groups=groups,
        resamples=resamples,
        seed=seed,
    )


def cohen_kappa(table: Ints, weights: Floats | None = None) -> Coefficient:
    """Cohen's kappa of two labellers, each with shares of its own: `p_e = sum_kl w_kl row_k column_l`.

    Cohen (1960), A coefficient of agreement for nominal scales; with weights (1 on the diagonal) Cohen (1968).
    Undefined where both put every unit into one and the same category.

    Args:
        table: Units by the category of the one and of the other (`K` x `K`).
        weights: `K` x `K`; None: `nominal_weights`.

    >>> round(cohen_kappa(np.array([[20, 5], [10, 15]])).value, 3)  # p_a = 35/50, p_e = 1/2 * 3/5 + 1/2 * 2/5
    0.4
    """
    n = int(table.sum())
    if n == 0:
        return Coefficient(None, 0, because=NOTHING_SHARED)
    chosen = nominal_weights(len(table)) if weights is None else weights
    shares = table / n
    by_chance = float((chosen * np.outer(shares.sum(axis=1), shares.sum(axis=0))).sum())
    value = float(_corrected(np.asarray((chosen * shares).sum()), np.asarray(by_chance)))
    if math.isnan(value):
        return Coefficient(None, n, because=_ALIKE)
    return Coefficient(value, n)


def cohen_kappa_of_labels(
    first: Sequence[int],
    second: Sequence[int],
    n_categories: int,
    *,
    groups: Sequence[int] | None = None,
    resamples: int = 0,
    seed: int = 0,
) -> Coefficient:
    """Cohen's kappa (see `cohen_kappa`) of the labels themselves, with a bootstrap interval.

    Args:
        first: The one's category of each unit, from 0.
        second: The other's, in the same order.
        n_categories: `K`.
        groups: What each unit belongs to, by any numbers; whole groups are drawn. None: every unit by itself.
        resamples: Draws for the interval.
        seed: Of the draws.

    >>> cohen_kappa_of_labels([0, 0, 1, 1], [0, 1, 1, 1], 2).value  # p_a = 3/4, p_e = 1/2 * 1/4 + 1/2 * 3/4
    0.5
    """
    cells = np.zeros((len(first), n_categories**2), dtype=np.int64)
    cells[np.arange(len(first)), np.asarray(first, dtype=np.int64) * n_categories + np.asarray(second, np.int64)] = 1
    numbered = None if groups is None else np.unique(np.asarray(groups, np.int64), return_inverse=True)[1]

    def statistic(sums: Floats) -> Floats:
        n = sums.sum(axis=-1)
        shares = sums.reshape(*sums.shape[:-1], n_categories, n_categories) / np.maximum(n, 1)[..., None, None]
        observed = np.trace(shares, axis1=-2, axis2=-1)
        return _corrected(observed, (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1))

    return estimate(
        cells,
        lambda rows: rows,
        statistic,
        n_units=len(first),
        undefined=_ALIKE,
        groups=numbered,
        resamples=resamples,
        seed=seed,
    )


def ac_of_tables(tables: Ints, weights: Floats) -> Floats:
    """`gwet_ac` of two labellers over the units of both, for many tables (... x `K` x `K`); NaN of nothing."""
    n = tables.sum(axis=(-2, -1), dtype=np.float64)
    agreed = (tables * weights).sum(axis=(-2, -1))
    shares = (tables.sum(axis=-1) + tables.sum(axis=-2)) / 2
    return _ac(np.concatenate([agreed[..., None], n[..., None], n[..., None], shares], axis=-1), weights)


# Of every unit, the sums hold: agreement, whether it has two labels, whether it has one, shares of the categories.


def _contributions(rows: Floats, weights: Floats) -> Floats:
    n = rows.sum(axis=1)
    has_two, has_one = n > 1, n > 0
    agreed = (rows * (rows @ weights - np.diag(weights))).sum(axis=1) / np.where(has_two, n * (n - 1), 1)
    shares = rows / np.maximum(n, 1)[:, None]
    return np.column_stack([agreed * has_two, has_two, has_one, shares])


def ratio(sums: Floats) -> Floats:
    """The first sum over the second one; NaN where that is 0."""
    found: Floats = np.divide(
        sums[..., 0], sums[..., 1], out=np.full(sums.shape[:-1], np.nan), where=sums[..., 1] > 0
    )
    return found


def _shares(sums: Floats) -> Floats:
    found: Floats = sums[..., 3:] / np.maximum(sums[..., 2:3], 1)
    return found


def _ac(sums: Floats, weights: Floats) -> Floats:
    shares, k = _shares(sums), len(weights)
    return _corrected(ratio(sums), weights.sum() / (k * (k - 1)) * (shares * (1 - shares)).sum(axis=-1))


def _corrected(observed: Floats, by_chance: Floats) -> Floats:
    """Agreement beyond chance; NaN where chance leaves nothing."""
    left = 1 - by_chance
    found: Floats = np.divide(observed - by_chance, left, out=np.full(np.shape(left), np.nan), where=left > 1e-12)
    return found
