"""Splitting problems into train, validation and test sets by family, never by row.

All that is about one family (solutions, variants, critiques) lands in one split, on every machine, in every
export, and stays there when more problems arrive.
"""

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate

from .errors import SettingsError

_SUM_TOLERANCE = 1e-6


def split_of(family: str, shares: Mapping[str, float], seed: int) -> str:
    """Tells the split of a family.

    A hash of seed and family gives each family a fixed point between 0 and 1; the shares, in the order of
    their names, cut that range. Nothing but these three arguments matters.

    Args:
        family: The family hash (any text will do).
        shares: Share of the families for each split name; they sum to 1. A share of 0 leaves a split empty.
        seed: Another seed gives another, independent split.

    Raises:
        SettingsError: There are no shares, one is negative or not a number, or they do not sum to 1.

    >>> shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    >>> [split_of(f"family-{number}", shares, seed=0) for number in range(6)]
    ['test', 'train', 'train', 'train', 'train', 'test']
    >>> split_of("family-0", dict(reversed(shares.items())), seed=0)
    'test'
    """
    digest = hashlib.sha256(f"{seed}:{family}".encode("utf-8", "replace")).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64
    ranges = _ranges(tuple(shares.items()))
    # Shares of thirds may sum to a hair below the last point.
    return next((name for end, name in ranges if point < end), ranges[-1][1])


@lru_cache(maxsize=16)
def _ranges(shares: tuple[tuple[str, float], ...]) -> list[tuple[float, str]]:
    """Where the range of each split ends, in order."""
    check_shares(dict(shares))
    having = sorted((name, share) for name, share in shares if share > 0)
    return list(zip(accumulate(share for _, share in having), (name for name, _ in having), strict=True))


def read_shares(text: str, *, name: str = "split") -> dict[str, float]:
    """Reads `train=0.9,test=0.1`.

    Args:
        text: What was typed.
        name: What the field or flag is called, for the message.

    Raises:
        SettingsError: A part is not NAME=SHARE.

    >>> read_shares("train=0.9, test=0.1")
    {'train': 0.9, 'test': 0.1}
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        split, _, share = part.partition("=")
        try:
            shares[split.strip()] = float(share)
        except ValueError as err:
            raise SettingsError(f"{name} {text!r}: {part!r} is not NAME=SHARE; write train=0.9,test=0.1") from err
    return shares


def check_shares(shares: Mapping[str, float]) -> None:
    """Checks that shares can be used by `split_of`.

    Raises:
        SettingsError: There are no shares, one is negative or not a number, or they do not sum to 1.

    >>> check_shares({"train": 0.9, "test": 0.2})
    Traceback (most recent call last):
    stepmark.errors.SettingsError: the shares train=0.9, test=0.2 sum to 1.1; give shares that sum to 1
    """
    if not all(math.isfinite(share) and share >= 0 for share in shares.values()):
        raise SettingsError(f"the shares {_shown(shares)} hold one that is not between 0 and 1")
    total = math.fsum(shares.values())
    if abs(total - 1) > _SUM_TOLERANCE:
        raise SettingsError(f"the shares {_shown(shares)} sum to {total:g}; give shares that sum to 1")


def _shown(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={share}" for name, share in shares.items()) or "(none)"
