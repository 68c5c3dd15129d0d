"""As many rows of each class: what the larger classes have too many is left out, by a lot that texts draw.

A row's lot is a hash of what it says, so that the same rows are left out on every machine, whatever their order.
"""

import hashlib
from array import array
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import orjson

Key = tuple[str, Hashable]
"""Split and class."""


class Balance:
    """Which rows to keep so that no class of a split has more than its smallest one."""

    def __init__(self, rows: Iterable[tuple[str, Hashable, Mapping[str, Any]]]) -> None:
        """Reads all rows once, with their split and class, and holds eight bytes of each."""
        lots: dict[Key, array[int]] = {}
        for split, class_, row in rows:
            if class_ is None:
                continue
            lots.setdefault((split, class_), array("Q")).append(_lot(row))
        self._highest: dict[Key, int] = {}
        for split in {split for split, _ in lots}:
            of_split = {key: np.frombuffer(found, dtype=np.uint64) for key, found in lots.items() if key[0] == split}
            least = min(len(found) for found in of_split.values())
            for key, found in of_split.items():
                self._highest[key] = int(np.partition(found, least - 1)[least - 1])

    def keeps(self, split: str, class_: Hashable, row: Mapping[str, Any]) -> bool:
        """Whether a row stays; one of no class always does."""
        return class_ is None or _lot(row) <= self._highest[split, class_]


def _lot(row: Mapping[str, Any]) -> int:
    return int.from_bytes(hashlib.blake2b(orjson.dumps(row), digest_size=8).digest(), "big")
