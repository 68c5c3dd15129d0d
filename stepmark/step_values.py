"""What rollouts say of the steps of a solution: values, labels, the first error; and its consensus with a judge.

Pure arithmetic on counts. A value belongs to a prefix and is named by the index of the prefix's last step; the
problem itself, before any step, has the index `START`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from .intervals import share

START = -1
"""The index of the empty prefix: its value is how often the problem is solved at all."""

RELATIVE_PROGRESS = 0.8
"""Least share of its predecessor's value that a right step keeps (GenPRM)."""

FirstErrorRule = Literal["hard", "relative"]
"""How values become labels: `hard`, a step is right where any rollout from it is (Math-Shepherd); `relative`, where
it keeps `RELATIVE_PROGRESS` of the value before it (GenPRM)."""


@dataclass(frozen=True, slots=True)
class StepValue:
    """How many rollouts from a prefix reached the right answer."""

    n_right: int
    n_rollouts: int
    """Samples that came, at least one; those that failed do not count."""
    n_unreadable: int = 0
    """Of the rollouts, those without an answer that could be compared; they are not right."""

    def __post_init__(self) -> None:
        """Refuses counts that cannot be."""
        if self.n_rollouts < 1 or min(self.n_right, self.n_unreadable) < 0:
            raise ValueError(f"no value follows from these counts: {self}")
        if self.n_right + self.n_unreadable > self.n_rollouts:
            raise ValueError(f"more rollouts are right or unreadable than there are: {self}")

    @property
    def hard(self) -> bool:
        """Whether any rollout is right (Math-Shepherd, arXiv 2312.08935, hard estimation)."""
        return self.n_right > 0

    @property
    def soft(self) -> float:
        """The share of rollouts that are right (the same paper, soft estimation).

        >>> StepValue(3, 8).soft
        0.375
        """
        return self.n_right / self.n_rollouts

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies with 95 % confidence (Wilson).

        >>> [round(bound, 3) for bound in StepValue(0, 8).interval]
        [0.0, 0.324]
        """
        found = share(self.n_right, self.n_rollouts)
        return found.low, found.high


@dataclass(frozen=True, slots=True)
class Decision:
    """Where one labeller sees the first error of a solution."""

    first_error: int | None
    """0-based; None where no step is wrong, and where `undecided` says that this is not known."""
    undecided: str | None = None
    """Why nothing can be said: short and stable, it is counted by."""

    def labels(self, n_steps: int) -> tuple[int | None, ...]:
        """The step labels: +1 up to the first error, -1 there, None after it.

        >>> Decision(1).labels(4), Decision(None).labels(2)
        ((1, -1, None, None), (1, 1))
        """
        if self.first_error is None:
            return (1,) * n_steps
        return (*(1,) * self.first_error, -1, *(None,) * (n_steps - self.first_error - 1))


def first_error(
    values: Mapping[int, StepValue],
    n_steps: int,
    *,
    rule: FirstErrorRule = "hard",
    least_progress: float = RELATIVE_PROGRESS,
) -> Decision:
    """Reads the first error off the values of a solution's prefixes.

    Unlike in the papers the value of the problem itself is needed too: where the model never solves the problem,
    a value of 0 says nothing of a step, and the decision is `unsolved`.

    Args:
        values: By step index, with that of `START`. The rule `hard` needs only those about the first error, as a
            binary search finds them.
        n_steps: Of the solution.
        rule: See `FirstErrorRule`.
        least_progress: Of the rule `relative`.

    >>> values = {START: StepValue(6, 8), 0: StepValue(5, 8), 1: StepValue(1, 8), 2: StepValue(0, 8)}
    >>> first_error(values, 3), first_error(values, 3, rule="relative")
    (Decision(first_error=2, undecided=None), Decision(first_error=1, undecided=None))
    """
    if rule == "hard":
        hopeless = [index for index, value in values.items() if index > START and not value.hard]
        found = min(hopeless, default=None)
        before = values.get(n_steps - 1 if found is None else found - 1)
        if START in values and not values[START].hard and found in (None, 0):
            return Decision(None, "unsolved")
        return Decision(None, "values missing") if before is None else Decision(found)
    for index in range(n_steps):
        before, value = values.get(index - 1), values.get(index)
        if before is None or value is None:
            return Decision(None, "values missing")
        if not before.hard:
            return Decision(None, "unsolved")
        if value.soft / before.soft < least_progress:
            return Decision(index)
    return Decision(None)


def majority(votes: Iterable[Decision]) -> Decision:
    """The decision that most votes name; undecided votes do not count, and a tie decides nothing.

    >>> majority([Decision(1), Decision(None), Decision(1)]), majority([Decision(1), Decision(None)])
    (Decision(first_error=1, undecided=None), Decision(first_error=None, undecided='tied'))
    """
    counted = Counter(vote.first_error for vote in votes if vote.undecided is None).most_common(2)
    if not counted:
        return Decision(None, "no readable verdict")
    if len(counted) == 2 and counted[0][1] == counted[1][1]:
        return Decision(None, "tied")
    return Decision(counted[0][0])


def consensus(rollouts: Decision, judge: Decision) -> Decision:
    """What both labellers say; where they differ nothing is decided (Qwen, arXiv 2501.07301).

    >>> consensus(Decision(2), Decision(2)), consensus(Decision(2), Decision(None)).undecided
    (Decision(first_error=2, undecided=None), 'only rollouts see an error')
    """
    if rollouts.undecided is not None:
        return Decision(None, f"rollouts: {rollouts.undecided}")
    if judge.undecided is not None:
        return Decision(None, f"judge: {judge.undecided}")
    if rollouts.first_error == judge.first_error:
        return rollouts
    if judge.first_error is None:
        return Decision(None, "only rollouts see an error")
    if rollouts.first_error is None:
        return Decision(None, "only the judge sees an error")
    return Decision(None, "another step")


def rollouts_by_difficulty(k: int, start: StepValue) -> int:
    """How many rollouts to draw from each step prefix: the rarer the problem is solved, the more.

    Four times `k` where fewer than a third of the attempts solve the problem, twice where fewer than two thirds do,
    else `k`: with `k` 32 the 128, 64 and 32 of GenPRM (arXiv 2504.00891); the thirds are ours.

    >>> [rollouts_by_difficulty(8, StepValue(n, 8)) for n in (0, 2, 3, 5, 6, 8)]
    [32, 32, 16, 16, 8, 8]
    """
    return k * (4 if start.soft < 1 / 3 else 2 if start.soft < 2 / 3 else 1)
