"""What differs between two exported sets: rows added, rows gone, rows whose labels changed. No database.

Rows are told apart by what a model reads of them (prompts and completions), and compared by the rest. Of each row 24
bytes are held; its texts are read again only to be shown. Files of other kinds and other shards are no difference,
nor is another order or split.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from stepmark.errors import InputError
from stepmark.progress import Progress, silent

from .manifest import ConfigEntry, read_manifest
from .sets import read_rows

_TEXTS = frozenset(("text", "texts"))
Rows = npt.NDArray[np.uint64]
"""One row each: two halves of the key, and the hash of what is compared."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row that both sets have, with other labels."""

    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(slots=True)
class Differences:
    """What differs in one config."""

    config: str
    n_before: int
    n_after: int
    n_same: int
    n_added: int
    n_removed: int
    n_changed: int
    added: list[dict[str, Any]] = field(default_factory=list)
    """The first of them; so are the next two."""
    removed: list[dict[str, Any]] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    flags: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """Choices of the export that differ."""


def compare_sets(
    before: Path, after: Path, *, config: str | None = None, most: int = 5, progress: Progress = silent
) -> list[Differences]:
    """Compares two exported folders, config by config.

    Args:
        before: One folder.
        after: The other.
        config: Only this one; None: all that either has.
        most: Rows to show of each kind.
        progress: Told how many rows were read.

    Raises:
        InputError: A folder is no exported set, or none has the config.
    """
    ones, others = _configs(before), _configs(after)
    names = sorted(ones.keys() | others.keys()) if config is None else [config]
    if missing := [name for name in names if name not in ones and name not in others]:
        raise InputError(f"neither folder holds {missing[0]!r}; they have {', '.join(sorted(ones | others))}")
    return [_compare(name, (before, ones.get(name)), (after, others.get(name)), most, progress) for name in names]


def _configs(folder: Path) -> dict[str, ConfigEntry]:
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"{folder} holds no manifest.json: it is no exported set, or its export was interrupted")
    return manifest.configs


_Side = tuple[Path, ConfigEntry | None]


def _compare(config: str, before: _Side, after: _Side, most: int, progress: Progress) -> Differences:
    split_key = _key_of(before[1], after[1])
    ones, others = (_hashes(config, side, split_key, progress) for side in (before, after))
    gone, new = _leftovers(ones, others)
    # A row that went and one that came with the same texts are one row with other labels.
    changed_gone, changed_new = _paired(ones[gone], others[new])
    n_changed = len(changed_gone)
    lost, won = np.delete(gone, changed_gone), np.delete(new, changed_new)
    pairs = list(zip(gone[changed_gone].tolist(), new[changed_new].tolist(), strict=True))
    pairs = sorted(pairs)[:most]
    removed = _rows_at(config, before, [*np.sort(lost)[:most].tolist(), *(one for one, _ in pairs)])
    added = _rows_at(config, after, [*np.sort(won)[:most].tolist(), *(other for _, other in pairs)])
    return Differences(
        config=config,
        n_before=len(ones),
        n_after=len(others),
        n_same=len(ones) - len(gone),
        n_added=len(won),
        n_removed=len(lost),
        n_changed=n_changed,
        added=[added[place] for place in np.sort(won)[:most].tolist()],
        removed=[removed[place] for place in np.sort(lost)[:most].tolist()],
        changed=[Change(removed[one], added[other]) for one, other in pairs],
        flags=_flags(before[1], after[1]),
    )


SplitKey = Callable[[Mapping[str, Any]], tuple[Any, Any]]


def _key_of(*entries: ConfigEntry | None) -> SplitKey:
    """What of a row is its key, and what is compared: texts, and everything else."""
    columns = {name: kind for entry in entries if entry is not None for name, kind in entry.columns.items()}
    nested = [name for name, kind in columns.items() if isinstance(kind, str) and kind in _TEXTS]
    keys = [name for name in columns if name in nested or not isinstance(columns[name], str)]

    def split(row: Mapping[str, Any]) -> tuple[Any, Any]:
        rest = {name: _number(one) for name, one in row.items() if name not in keys}
        return {name: row.get(name) for name in keys}, rest

    return split


def _number(value: Any) -> Any:
    """A label as a number, so that true is 1.0 where the other set is soft."""
    if isinstance(value, list):
        return [_number(one) for one in value]
    return float(value) if isinstance(value, bool | int) else value


def _each(config: str, side: _Side) -> Iterator[dict[str, Any]]:
    folder, entry = side
    splits = () if entry is None else entry.splits
    return chain.from_iterable(read_rows(folder, config, split) for split in splits)


def _hashes(config: str, side: _Side, split_key: SplitKey, progress: Progress) -> Rows:
    found, option = array("Q"), orjson.OPT_SORT_KEYS
    for n, row in enumerate(_each(config, side), start=1):
        key, rest = split_key(row)
        digest = hashlib.blake2b(orjson.dumps(key, option=option), digest_size=16).digest()
        digest += hashlib.blake2b(orjson.dumps(rest, option=option), digest_size=8).digest()
        found.frombytes(digest)
        if n % 10_000 == 0:
            progress(n, None, f"{config} of {side[0].name}")
    return np.frombuffer(found, dtype=np.uint64).reshape(-1, 3)


def _leftovers(ones: Rows, others: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Places of the rows that have no equal on the other side; of equal rows each takes one."""
    return _unmatched(ones, others), _unmatched(others, ones)


def _unmatched(ones: Rows, others: Rows) -> npt.NDArray[np.int64]:
    ranked, them = _ranked(ones), _ranked(others)
    return np.flatnonzero(~np.isin(_as_items(ranked), _as_items(them)))


def _ranked(rows: Rows) -> Rows:
    """The rows with a fourth number: how many equal ones stand before, so that no two are equal."""
    if not len(rows):
        return np.zeros((0, rows.shape[1] + 1), dtype=np.uint64)
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    is_new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    starts = np.flatnonzero(is_new)
    rank = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    ranks = np.zeros(len(rows), dtype=np.uint64)
    ranks[order] = rank
    return np.column_stack([rows, ranks])


def _as_items(rows: Rows) -> Any:
    """Rows as single values that can be looked for."""
    return np.ascontiguousarray(rows).view([("", rows.dtype)] * rows.shape[1]).reshape(-1)


def _paired(gone: Rows, new: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Places of rows on both sides that have a key in common, pair by pair."""
    ones, others = _as_items(_ranked(gone[:, :2])), _as_items(_ranked(new[:, :2]))
    _, left, right = np.intersect1d(ones, others, assume_unique=True, return_indices=True)
    return left, right


def _rows_at(config: str, side: _Side, places: list[int]) -> dict[int, dict[str, Any]]:
    wanted = Counter(places)
    found: dict[int, dict[str, Any]] = {}
    for place, row in enumerate(_each(config, side)):
        if len(found) == len(wanted):
            break
        if place in wanted:
            found[place] = row
    return found


def _flags(before: ConfigEntry | None, after: ConfigEntry | None) -> dict[str, tuple[Any, Any]]:
    if before is None or after is None:
        return {}
    names = sorted(before.query.keys() | after.query.keys())
    pairs = {name: (before.query.get(name), after.query.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
