"""Krippendorff's alpha, for any number of labellers, missing labels, and nominal, ordinal or interval categories."""

from typing import Literal

import numpy as np

from .coefficient import Coefficient, estimate
from .tables import Floats, Ints, n_shared

Level = Literal["nominal", "ordinal", "interval"]
"""Which disagreement counts how much: all the same, by rank, or by the square of the distance."""


def krippendorff_alpha(
    counts: Ints, level: Level = "ordinal", *, groups: Ints | None = None, resamples: int = 0, seed: int = 0
) -> Coefficient:
    """Krippendorff's alpha: `1 - D_o / D_e`, observed disagreement over what labels dealt out at random would show.

    With the coincidences `o_kl = sum over units of (pairs k, l of its labels) / (n_u - 1)`, their margins `n_k` and
    total `n`: `D_o = sum_kl o_kl d_kl / n` and `D_e = sum_kl n_k n_l d_kl / (n (n - 1))`. The difference `d` is 1 of
    any two categories (nominal), `(k - l) ** 2` (interval), or the square of the number of labels between them, both
    ends counted half (ordinal). Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, sections C and D;
    Content Analysis, 3rd ed. 2013, ch. 12.

    Units with one label do not count at all. Where all labels of the others are alike, both disagreements are 0 and
    alpha is undefined, not 1: nothing shows that the labellers would have told two categories apart. Where one
    category has nearly all labels, D_e is small, and a few disagreements make alpha low at high raw agreement.

    The interval comes from drawing units, not from Krippendorff's own algorithm, which draws single pairs of labels
    and keeps D_e fixed.

    Args:
        counts: How many labellers gave each category, by unit (`U` x `K`); the columns in the categories' order.
        level: What the categories are.
        groups: As `stepmark.agreement.coefficient.estimate` takes them; so are the next two.
        resamples: Draws for the interval.
        seed: Of the draws.
    """
    n_categories = counts.shape[1]
    if level == "nominal":
        contributions, statistic = _matches, _alpha_of_matches
    else:
        contributions = _coincidences

        def statistic(sums: Floats) -> Floats:
            return _alpha_of_coincidences(sums.reshape(*sums.shape[:-1], n_categories, n_categories), level)

    return estimate(
        counts,
        contributions,
        statistic,
        n_units=n_shared(counts),
        undefined="all labels are alike, so that no disagreement can be expected",
        groups=groups,
        resamples=resamples,
        seed=seed,
    )


def _paired(rows: Floats) -> tuple[Floats, Floats]:
    """Rows without those that have one label, and the number of labels less one, at least 1, as a column."""
    n = rows.sum(axis=1, keepdims=True)
    return rows * (n > 1), np.maximum(n - 1, 1)


def _matches(rows: Floats) -> Floats:
    """The diagonal of the coincidences, and their margins: all that the nominal alpha needs (rows x 2 `K`)."""
    rows, others = _paired(rows)
    return np.column_stack([rows * (rows - 1) / others, rows])


def _alpha_of_matches(sums: Floats) -> Floats:
    matches, margins = np.split(sums, 2, axis=-1)
    n = margins.sum(axis=-1)
    return _alpha(n - matches.sum(axis=-1), n**2 - (margins**2).sum(axis=-1), n)


def _coincidences(rows: Floats) -> Floats:
    """Coincidences of each row (rows x `K` * `K`)."""
    rows, others = _paired(rows)
    pairs = rows[:, :, None] * rows[:, None, :] - rows[:, :, None] * np.eye(rows.shape[1])
    return (pairs / others[:, :, None]).reshape(len(rows), -1)


def _alpha_of_coincidences(coincidences: Floats, level: Level) -> Floats:
    margins = coincidences.sum(axis=-1)
    n = margins.sum(axis=-1)
    if level == "ordinal":  # the labels between two categories are the difference of their mean ranks
        place = np.cumsum(margins, axis=-1) - margins / 2
    else:
        place = np.broadcast_to(np.arange(margins.shape[-1], dtype=np.float64), margins.shape)
    difference = (place[..., :, None] - place[..., None, :]) ** 2
    observed = (coincidences * difference).sum(axis=(-2, -1))
    expected = (margins[..., :, None] * margins[..., None, :] * difference).sum(axis=(-2, -1))
    return _alpha(observed, expected, n)


def _alpha(observed: Floats, expected: Floats, n: Floats) -> Floats:
    """Alpha of disagreements that are not yet divided by `n` and `n (n - 1)`."""
    ratio = np.divide(observed, expected, out=np.full(np.shape(n), np.nan), where=expected > 0)
    found: Floats = 1 - (n - 1) * ratio
    return found
