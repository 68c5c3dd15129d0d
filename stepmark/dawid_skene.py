"""Dawid and Skene's model: the true label of each item, and how each labeller errs, from the labels alone.

`I` items, `A` labellers, `K` categories, `L` labels, all counted from 0. Any number of labellers may have labelled an
item. What comes out are soft labels: a distribution over the categories for each item.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import InputError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_RIGHT = 0.9
"""Share of right ones among the imagined labels of the smoothing."""


@dataclass(frozen=True, slots=True)
class DawidSkene:
    """What the labels say of items and labellers."""

    posteriors: Floats
    """Probability of each category, by item (`I` x `K`)."""
    prior: Floats
    """Share of each category (`K`)."""
    confusions: Floats
    """`confusions[a, j, k]`: how often labeller `a` says `k` where `j` is true (`A` x `K` x `K`)."""
    log_likelihoods: tuple[float, ...]
    """After each round, with the logarithm of the smoothing's prior, which is 0 without smoothing; never falling."""
    is_converged: bool
    """False: the rounds ran out while the likelihood was still rising; the posteriors are those of the last round."""

    @property
    def n_rounds(self) -> int:
        """Rounds of the fit."""
        return len(self.log_likelihoods)


def dawid_skene(
    item: Ints,
    labeller: Ints,
    category: Ints,
    n_categories: int,
    *,
    times: Ints | None = None,
    smoothing: float = 1.0,
    tolerance: float = 1e-9,
    max_rounds: int = 1000,
) -> DawidSkene:
    """Fits the model by expectation and maximisation (Dawid & Skene 1979, Applied Statistics 28, section 3).

    It begins with the shares of each item's labels (their section 3.2), and repeats

        confusions[a, j, k] = share of k among a's labels, each weighted by its item's posterior_j
        prior[j]            = mean over items of posterior_j
        posterior_j         ~ prior[j] * product over the item's labels of confusions[labeller, j, label]

    They count labels only. Here each labeller begins with `smoothing` imagined labels of each category, 90 % of them
    right, the rest spread evenly (a Dirichlet prior on the rows of its matrix), so that a few labels make nobody
    infallible, and 0 leaves the paper's own fit. It has converged when a round adds less than `tolerance` for each
    label to the logarithm of the likelihood (times that prior). The likelihood never falls, as in any such fit; what
    it reaches may be a local optimum.

    What the data cannot tell, the model cannot know either:

    - One labeller an item: nothing contradicts anybody, and a rare category cannot be told from slips. With smoothing
      its labels may be taken for slips, round by round, until it is gone; without, each label is certain. Neither
      tells more than the labels: ask for such posteriors only where some items have two labellers.
    - A labeller with one label: its matrix is nearly the imagined one. Without smoothing it is what it happened to
      say, and flat where it said nothing.
    - Unanimous data: the labels given, with posteriors near 1; a category that nobody used has prior 0.
    - Labellers who err together, on the same hard items, are taken to be independent: posteriors are then too sure.

    Args:
        item: Of each label.
        labeller: Of each label.
        category: The label.
        n_categories: `K`.
        times: How often each item occurs (`I`), for items that stand for many alike; once, where not given.
        smoothing: Imagined labels of each category, 0 or more.
        tolerance: More than 0.
        max_rounds: At least 1.

    Raises:
        InputError: There is no label, an item has none, a category is out of range, or a setting is.
    """
    _check(item, labeller, category, n_categories)
    if smoothing < 0 or tolerance <= 0 or max_rounds < 1:
        raise InputError(
            f"smoothing {smoothing}, tolerance {tolerance}, max_rounds {max_rounds}: "
            "they must be at least 0, above 0, and at least 1"
        )
    n_labellers = int(labeller.max()) + 1
    patterns = _Patterns(item, labeller * n_categories + category, times)
    n_labels = len(item) if times is None else int(times[item].sum())
    n_cells = n_labellers * n_categories
    imagined = smoothing * np.where(np.eye(n_categories), _RIGHT, (1 - _RIGHT) / (n_categories - 1))
    posteriors = patterns.shares(n_categories)
    found: list[float] = []
    is_converged = False
    while not is_converged and len(found) < max_rounds:
        weighted = posteriors * patterns.times[:, None]
        prior = weighted.sum(axis=0) / weighted.sum()
        said = np.stack(
            [
                np.bincount(patterns.cell, weights=column[patterns.of_label], minlength=n_cells)
                for column in weighted.T
            ]
        )
        counts = said.reshape(n_categories, n_labellers, n_categories).transpose(1, 0, 2) + imagined
        seen = counts.sum(axis=2, keepdims=True)
        confusions = np.divide(counts, seen, out=np.full_like(counts, 1 / n_categories), where=seen > 0)

        with np.errstate(divide="ignore"):  # log 0 is what never happens
            log_prior, log_confusions = np.log(prior), np.log(confusions)
        joint = log_prior + patterns.sum(log_confusions.transpose(0, 2, 1).reshape(n_cells, n_categories))
        evidence = np.logaddexp.reduce(joint, axis=1)
        posteriors = np.exp(joint - evidence[:, None])
        likelihood = float(evidence @ patterns.times)
        if smoothing:
            likelihood += float((imagined * log_confusions).sum())
        is_converged = bool(found) and likelihood - found[-1] < tolerance * n_labels
        found.append(likelihood)
    return DawidSkene(posteriors[patterns.of_item], prior, confusions, tuple(found), is_converged)


def _check(item: Ints, labeller: Ints, category: Ints, n_categories: int) -> None:
    if not len(item) == len(labeller) == len(category):
        raise InputError(
            f"{len(item)} items, {len(labeller)} labellers and {len(category)} labels do not go together"
        )
    if not len(item):
        raise InputError("there is no label to learn from")
    if min(item.min(), labeller.min()) < 0:
        raise InputError("items and labellers are counted from 0; one is negative")
    if n_categories < 2 or category.min() < 0 or category.max() >= n_categories:
        raise InputError(
            f"categories run from 0 to {n_categories - 1}; labels from {category.min()} to {category.max()}"
        )
    n_items = int(item.max()) + 1
    if len(missing := np.setdiff1d(np.arange(n_items), item)):
        raise InputError(f"{len(missing)} of {n_items} items have no label, the first of them item {missing[0]}")


class _Patterns:
    """Items with the same labels by the same labellers are one pattern: the fit works on patterns, not on items."""

    def __init__(self, item: Ints, cell: Ints, item_times: Ints | None = None) -> None:
        order = np.lexsort([cell, item])
        item, cell = item[order], cell[order]
        starts = np.flatnonzero(np.append(True, item[1:] != item[:-1]))
        sizes = np.diff(np.append(starts, len(item)))
        self.of_item = np.zeros(len(sizes), dtype=np.int64)
        weights = np.ones(len(sizes), dtype=np.int64) if item_times is None else item_times
        cells, times, lengths, n = [], [], [], 0
        for size in np.unique(sizes):
            chosen = np.flatnonzero(sizes == size)
            rows = cell[starts[chosen][:, None] + np.arange(size)]
            distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
            place = inverse.reshape(-1)
            self.of_item[chosen] = n + place
            n += len(distinct)
            cells.append(distinct.reshape(-1))
            times.append(np.bincount(place, weights=weights[chosen], minlength=len(distinct)))
            lengths.append(np.full(len(distinct), size))
        self.cell = np.concatenate(cells)
        """Labeller and category of each label of the patterns, pattern by pattern."""
        self.times = np.concatenate(times).astype(np.float64)
        """Items of each pattern."""
        lengths_ = np.concatenate(lengths)
        self.of_label = np.repeat(np.arange(n), lengths_)
        """The pattern of each label."""
        self._starts = np.cumsum(lengths_) - lengths_

    def sum(self, of_cells: Floats) -> Floats:
        """Sums rows that belong to labels over each pattern."""
        summed: Floats = np.add.reduceat(of_cells[self.cell], self._starts, axis=0)
        return summed

    def shares(self, n_categories: int) -> Floats:
        """The share of each category among a pattern's labels."""
        counts = np.bincount(
            self.of_label * n_categories + self.cell % n_categories, minlength=len(self.times) * n_categories
        )
        table = counts.reshape(-1, n_categories)
        shares: Floats = table / table.sum(axis=1, keepdims=True)
        return shares
