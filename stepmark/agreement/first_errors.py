"""Where labellers see the first wrong step of a solution: the figure for labels that end at the first error.

Step by step, labellers who stop at the first error agree more the longer a solution is: they share its good steps,
and are never asked about the same step after they differ. So the position itself is compared, solution by solution.
"""

from dataclasses import dataclass

import numpy as np

from .alpha import krippendorff_alpha
from .coefficient import Coefficient, estimate
from .kappa import ratio, raw_agreement
from .tables import Ints, count_labels, n_shared, pairs_in_units

NO_ERROR = -1
"""The position that a labeller gives who finds no wrong step."""


@dataclass(frozen=True, slots=True)
class FirstErrorAgreement:
    """Agreement on the first wrong step, over solutions with at least two labellers."""

    n_solutions: int
    n_single: int
    """Solutions left out because one labeller alone has judged them."""
    exact: Coefficient
    """Pairs of labellers who name the same step, or both none; averaged over solutions."""
    within_one: Coefficient
    """Pairs whose steps are at most one apart, or who both name none; no error is not near any step."""
    alpha: Coefficient
    """Krippendorff's nominal alpha of the positions, `none` being one of them.

    No correction for chance is standard here. This one asks whether labellers agree more than if their positions had
    been dealt out over all solutions, whatever their lengths; much of that chance is agreeing on `none`.
    """


def first_error_agreement(
    solution: Ints, position: Ints, *, resamples: int = 0, seed: int = 0
) -> FirstErrorAgreement:
    """Compares the first errors that the labellers of each solution found.

    Args:
        solution: Of each labeller's answer, counted from 0 without gaps, in ascending order; a labeller has one
            answer on each.
        position: 0-based step of the first error, or `NO_ERROR`.
        resamples: Draws of solutions for the intervals.
        seed: Of the draws.

    >>> found = first_error_agreement(np.array([0, 0, 1, 1, 2, 2]), np.array([3, 3, 3, 4, 0, NO_ERROR]))
    >>> round(found.exact.value, 3), round(found.within_one.value, 3)
    (0.333, 0.667)
    """
    values, category = np.unique(position, return_inverse=True)
    counts = count_labels(solution, category, len(values))
    left, right = pairs_in_units(solution)
    apart = np.abs(position[left] - position[right])
    is_near = (apart == 0) | ((apart == 1) & (position[left] != NO_ERROR) & (position[right] != NO_ERROR))
    n_pairs = np.bincount(solution[left], minlength=len(counts))
    n_near = np.bincount(solution[left[is_near]], minlength=len(counts))
    return FirstErrorAgreement(
        n_solutions=n_shared(counts),
        n_single=len(counts) - n_shared(counts),
        exact=raw_agreement(counts, resamples=resamples, seed=seed),
        within_one=estimate(
            np.column_stack([n_near, n_pairs]),
            lambda rows: np.column_stack([rows[:, 0] / np.maximum(rows[:, 1], 1), rows[:, 1] > 0]),
            ratio,
            n_units=n_shared(counts),
            resamples=resamples,
            seed=seed,
        ),
        alpha=krippendorff_alpha(counts, "nominal", resamples=resamples, seed=seed),
    )
