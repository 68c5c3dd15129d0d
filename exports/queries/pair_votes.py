"""From what several labellers said of a pair of solutions to one choice. No database here."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple

PairCombination = Literal["each", "majority", "share"]


class Vote(NamedTuple):
    """One labeller's choice."""

    chosen_id: int | None
    """The better solution; None: neither."""
    strength: int | None
    """1 to 3; None where nobody asked, or there was nothing to ask."""


@dataclass(frozen=True, slots=True)
class Together:
    """What several labellers say of a pair."""

    chosen_id: int | None
    """The better solution; None where there is none."""
    margin: float | None = None
    """How much better; None where that is not known."""
    why: str = ""
    """Why no solution is the better one: `tie`, `no_majority`."""


def together(votes: Collection[Vote], how: PairCombination) -> Together:
    """Makes one choice of the latest votes of all labellers of a pair, of whom there is one at least.

    - `majority`: what more than half of them say, be it that neither is better (`tie`); else there is no choice
      (`no_majority`). The margin is the mean strength of those who chose so and were asked.
    - `share`: the solution that more of them chose. The margin is the share who chose it less the share who chose the
      other, of all, those too who said neither: 1 where all agree, a third where two of three do.

    >>> two_to_one = [Vote(4, 3), Vote(4, None), Vote(6, 1)]
    >>> together(two_to_one, "majority"), round(together(two_to_one, "share").margin, 3)
    (Together(chosen_id=4, margin=3.0, why=''), 0.333)
    >>> [together([Vote(4, None), Vote(6, None)], how).why for how in ("majority", "share")]
    ['no_majority', 'tie']
    """
    counted = Counter(vote.chosen_id for vote in votes)
    if how == "share":
        ranked = Counter({side: n for side, n in counted.items() if side is not None}).most_common(2)
        most, second = (*(n for _, n in ranked), 0, 0)[:2]
        return Together(None, why="tie") if most == second else Together(ranked[0][0], (most - second) / len(votes))
    chosen_id, n = counted.most_common(1)[0]
    if 2 * n <= len(votes):
        return Together(None, why="no_majority")
    if chosen_id is None:
        return Together(None, why="tie")
    asked = [vote.strength for vote in votes if vote.chosen_id == chosen_id and vote.strength is not None]
    return Together(chosen_id, sum(asked) / len(asked) if asked else None)
