"""Rows of a set on the Hub, streamed: `hub:owner/name[@revision][:config[/split]]`.

The library `datasets` comes with the extra `hub` and is imported here alone. What it reads stays in its cache.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stepmark.errors import InputError, SettingsError

from .rows import BadRow, RowError, SourceRow, checked
from .tables import plain_row

PREFIX = "hub:"


@dataclass(frozen=True, slots=True)
class HubSet:
    """A set on the Hub, or a folder of files that is laid out like one."""

    name: str
    """`owner/name`, or the folder."""
    revision: str | None = None
    config: str | None = None
    split: str | None = None
    """None: all splits, one after the other."""

    @classmethod
    def parse(cls, text: str) -> "HubSet":
        """Reads what a user writes.

        Raises:
            SettingsError: It names no set.

        >>> HubSet.parse("hub:openai/gsm8k@main:socratic/test")
        HubSet(name='openai/gsm8k', revision='main', config='socratic', split='test')
        >>> HubSet.parse("hub:./folder:default")
        HubSet(name='./folder', revision=None, config='default', split=None)
        """
        name, _, where = text.removeprefix(PREFIX).partition(":")
        name, _, revision = name.partition("@")
        config, _, split = where.partition("/")
        if not name or "/" not in name:
            raise SettingsError(f"{text!r} names no set; write {PREFIX}owner/name[@revision][:config[/split]]")
        return cls(name, revision or None, config or None, split or None)

    @property
    def part(self) -> str:
        """What stands for the file's name in the name of the source."""
        name = self.name.rstrip("/").rpartition("/")[2]
        return "/".join(part for part in (name, self.config, self.split) if part)

    def __str__(self) -> str:
        where = "/".join(part for part in (self.config, self.split) if part)
        return (
            f"{PREFIX}{self.name}" + (f"@{self.revision}" if self.revision else "") + (f":{where}" if where else "")
        )


def hub_rows(found: HubSet, *, on_rows: Callable[[int], None] | None = None) -> Iterator[SourceRow | BadRow]:
    """Reads a set, row by row; rows count on from split to split.

    Args:
        found: The set.
        on_rows: Told now and then how many rows have been read.

    Raises:
        SettingsError: The library is missing.
        InputError: There is no such set, config or split, or it cannot be read.
    """
    index = 0
    for split in _splits(found):
        rows = iter(split)
        while True:
            try:
                value = next(rows)
            except StopIteration:
                break
            except Exception as err:  # whatever reads the files: Arrow, fsspec, the network
                raise InputError(f"{found}: cannot be read after row {index} ({_first_line(err)})") from err
            try:
                yield SourceRow(index + 1, index, checked(plain_row(value)))
            except RowError as err:
                yield BadRow(index + 1, err.reason, err.message)
            index += 1
            if on_rows is not None and index % 100 == 0:
                on_rows(index)
    if index == 0:
        raise InputError(f"{found} holds no row")


def _splits(found: HubSet) -> list[Iterable[Mapping[str, Any]]]:
    try:
        from datasets import load_dataset
    except ImportError as err:
        raise SettingsError("sets on the Hub need the library datasets: pip install 'stepmark[hub]'") from err
    try:
        loaded = load_dataset(found.name, found.config, split=found.split, revision=found.revision, streaming=True)
    except Exception as err:  # it has no error type of its own
        raise InputError(
            f"{found}: {_first_line(err)}. Check the name, the config and the split, and that you may read it."
        ) from err
    return [loaded] if found.split is not None else list(loaded.values())


def _first_line(err: Exception) -> str:
    return (str(err).strip() or type(err).__name__).partition("\n")[0].rstrip(".")
