"""From labels to tables of counts, which are all that the coefficients look at.

Labels come as parallel arrays, one entry for each label: its unit, its labeller, its category; all counted from 0.
Shapes: `L` labels, `U` units, `A` labellers, `K` categories.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def count_labels(unit: Ints, category: Ints, n_categories: int) -> Ints:
    """How many labellers gave each category, for each unit (`U` x `K`); units without a label are rows of zeros.

    >>> count_labels(np.array([0, 0, 1]), np.array([2, 2, 0]), 3).tolist()
    [[0, 0, 2], [1, 0, 0]]
    """
    n_units = int(unit.max()) + 1 if len(unit) else 0
    counts = np.bincount(unit * n_categories + category, minlength=n_units * n_categories)
    return counts.astype(np.int64).reshape(n_units, n_categories)


def n_shared(counts: Ints) -> int:
    """How many units have at least two labels."""
    return int((counts.sum(axis=1) > 1).sum())


def pairs_in_units(unit: Ints) -> tuple[Ints, Ints]:
    """Every pair of labels of one unit, once, as two arrays of places; the smaller place is in the first.

    Args:
        unit: In ascending order.

    >>> [places.tolist() for places in pairs_in_units(np.array([0, 0, 0, 1, 2, 2]))]
    [[0, 1, 4, 0], [1, 2, 5, 2]]
    """
    lefts, rights = [], []
    distance = 1
    while True:
        left = np.flatnonzero(unit[distance:] == unit[:-distance])
        if not len(left):
            break
        lefts.append(left)
        rights.append(left + distance)
        distance += 1
    empty = np.zeros(0, dtype=np.int64)
    return np.concatenate([empty, *lefts]), np.concatenate([empty, *rights])


def pair_tables(unit: Ints, labeller: Ints, category: Ints, *, n_labellers: int, n_categories: int) -> Ints:
    """What two labellers said of the units that both labelled, for every two of them (`A` x `A` x `K` x `K`).

    `tables[a, b, i, j]` counts the units that `a` put into category `i` and `b` into `j`; `tables[b, a]` is its
    transpose, and a labeller's table with itself is empty.

    Args:
        unit: In ascending order; no labeller stands twice in one.
        labeller: Of each label.
        category: Of each label.
        n_labellers: `A`.
        n_categories: `K`.
    """
    left, right = pairs_in_units(unit)
    pair = labeller[left] * n_labellers + labeller[right]
    cell = (pair * n_categories + category[left]) * n_categories + category[right]
    shape = (n_labellers, n_labellers, n_categories, n_categories)
    tables = np.bincount(cell, minlength=n_labellers**2 * n_categories**2).astype(np.int64).reshape(shape)
    return tables + tables.transpose(1, 0, 3, 2)


def nominal_weights(n_categories: int) -> Floats:
    """Weights by which two labels agree wholly or not at all (`K` x `K`)."""
    return np.eye(n_categories)


def ordinal_weights(n_categories: int) -> Floats:
    """Gwet's ordinal weights: 1 where labels are equal, less the further apart they are (`K` x `K`).

    `1 - C(d + 1, 2) / C(K, 2)` for labels `d` categories apart: the number of pairs of categories between them, over
    that of all categories (Gwet, Handbook of Inter-Rater Reliability, 4th ed. 2014, ch. 3).

    >>> ordinal_weights(3).round(3).tolist()
    [[1.0, 0.667, 0.0], [0.667, 1.0, 0.667], [0.0, 0.667, 1.0]]
    """
    place = np.arange(n_categories)
    apart = np.abs(place[:, None] - place[None, :])
    weights: Floats = 1.0 - apart * (apart + 1) / max(n_categories * (n_categories - 1), 1)
    return weights
