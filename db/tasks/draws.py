"""Draws that come out the same each time: who sees which order, and where known and repeated tasks fall.

Nothing is stored: a draw is a hash of what it is about, so that a reloaded page, another process and a test agree.
"""

import hashlib
import math
from typing import Literal


def lot(*about: object) -> float:
    """A number in [0, 1) that depends on nothing but its arguments.

    >>> lot("order", 1, 2) == lot("order", 1, 2), 0 <= lot("order", 1, 2) < 1
    (True, True)
    """
    digest = hashlib.sha256(":".join(map(str, about)).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def screen_order(annotator_id: int, task_id: int) -> Literal["ab", "ba"]:
    """Which solution of a pair stands first on this annotator's screen."""
    return "ab" if lot("order", annotator_id, task_id) < 0.5 else "ba"


def stratum_of(index: int, share: float, *seed: object) -> int | None:
    """Whether the task at `index` is one of a share of all; its number among those, or None.

    The tasks are cut into runs of about 1 / share, and one is drawn in each: of the first n tasks, the number drawn
    is within one of n * share, for whatever n, and yet nobody can tell which is next.

    >>> [index for index in range(40) if stratum_of(index, 0.1, "seed") is not None]
    [2, 13, 29, 33]
    >>> stratum_of(3, 0.0), [stratum_of(index, 1.0) for index in range(3)]
    (None, [0, 1, 2])
    """
    if share <= 0:
        return None
    share = min(share, 1.0)

    def start(number: int) -> int:
        return math.ceil(number / share)

    number = int(index * share)
    while start(number + 1) <= index:
        number += 1
    while start(number) > index:
        number -= 1
    width = start(number + 1) - start(number)
    return number if index == start(number) + int(lot("stratum", *seed, number) * width) else None


def special_kind(
    index: int, gold_share: float, repeat_share: float, *seed: object
) -> Literal["gold", "repeat"] | None:
    """What the task at `index` of one annotator in one project should be; None: an ordinary one."""
    number = stratum_of(index, gold_share + repeat_share, "special", *seed)
    if number is None:
        return None
    gold = stratum_of(number, gold_share / (gold_share + repeat_share), "gold", *seed)
    return "repeat" if gold is None else "gold"
