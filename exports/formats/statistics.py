"""What can be said of a set while its rows go by: balance of the labels, lengths, and one row to look at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from .columns import Column

EXAMPLE_TEXT = 400
"""Characters of a text that an example keeps."""
EXAMPLE_ITEMS = 8
"""Items of a list that an example keeps."""

_MOST_VALUES = 20


class RowStatistics:
    """Counts over the rows of one config; the same rows in the same order give the same counts."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        kinds = {column.name: column.kind for column in columns}
        self._names = tuple(kinds)
        self._text = tuple(name for name, kind in kinds.items() if kind == "text")
        self._texts = tuple(name for name, kind in kinds.items() if kind == "texts")
        self._one = tuple(name for name, kind in kinds.items() if kind in ("bool", "int"))
        self._lists = tuple(name for name, kind in kinds.items() if kind in ("bools", "ints"))
        self._shares = tuple(name for name, kind in kinds.items() if kind in ("float", "floats"))
        known = ("text", "texts", "bool", "bools", "int", "ints", "float", "floats")
        self._other = tuple(name for name, kind in kinds.items() if kind not in known)
        self._pairs = {"chosen", "rejected"} <= set(kinds)
        counted = (*self._one, *self._lists, *self._shares)
        self._values: dict[str, Counter[Any]] = {name: Counter() for name in counted}
        self._bits: Counter[int] = Counter()
        self._longer: Counter[str] = Counter()
        self._first: dict[str, dict[str, Any]] = {}

    def add(self, split: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Counts rows."""
        sizes = [[len(row[name]) for row in rows] for name in self._text]
        sizes += [[sum(map(len, row[name])) for row in rows] for name in self._texts]
        sizes += [[characters(row[name]) for row in rows] for name in self._other]
        self._bits.update((size - 1).bit_length() if size else 0 for size in map(sum, zip(*sizes, strict=True)))
        for name in self._one:
            self._values[name].update([row[name] for row in rows])
        for name in self._lists:
            self._values[name].update(chain.from_iterable([row[name] for row in rows]))
        for name in self._shares:
            for value in (row[name] for row in rows):
                for one in value if isinstance(value, list) else (value,):
                    self._values[name][None if one is None else round(one, 1)] += 1
        if self._pairs:
            for row in rows:
                chosen, rejected = characters(row["chosen"]), characters(row["rejected"])
                self._longer["chosen" if chosen > rejected else "rejected" if rejected > chosen else "equal"] += 1
        if split not in self._first:
            self._first[split] = {name: shortened(rows[0][name]) for name in self._names}

    def labels(self) -> dict[str, dict[str, int]]:
        """How often each value stands in each column of labels, and in pairs which text is longer.

        Floats are rounded to one decimal; what is not judged counts as null. A column with more than twenty values is
        none of labels.
        """
        found = {
            name: {
                "null" if value is None else str(value).lower(): counts[value]
                for value in sorted(counts, key=lambda value: (value is not None, value))
            }
            for name, counts in self._values.items()
            if 0 < len(counts) <= _MOST_VALUES
        }
        return found | ({"longer text": dict(sorted(self._longer.items()))} if self._longer else {})

    def lengths(self) -> dict[str, int]:
        """Rows by the characters of all their texts together; a key `N` counts up to N and more than N/2."""
        if not self._bits:
            return {}
        return {str(1 << bits): self._bits[bits] for bits in range(min(self._bits), max(self._bits) + 1)}

    def example(self, splits: list[str]) -> dict[str, Any]:
        """The first row of the first of these splits, long texts and lists cut."""
        return next((self._first[split] for split in splits if split in self._first), {})


def characters(value: Any) -> int:
    """Characters of all texts in a value.

    >>> characters({"prompt": "1 + 1?", "completions": ["2", "so 2"], "labels": [True, True]})
    11
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(characters, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(characters, value))
    return 0


def shortened(value: Any) -> Any:
    """A value as an example shows it.

    >>> shortened({"labels": [True] * 9})["labels"] == [True] * 8
    True
    """
    if isinstance(value, str):
        return value if len(value) <= EXAMPLE_TEXT else value[:EXAMPLE_TEXT] + "…"
    if isinstance(value, Mapping):
        return {key: shortened(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [shortened(one) for one in value[:EXAMPLE_ITEMS]]
    return value
