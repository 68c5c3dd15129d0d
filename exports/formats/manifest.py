"""The manifest of an exported folder: what was asked, what became of the rows, and the hash of each file.

It is written last, so that a folder with a manifest is complete. It holds no time and no path of a machine: the
same query on the same database gives the same manifest.
"""

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stepmark.errors import InputError

from .columns import Kind
from .files import disk_errors

NAME = "manifest.json"
VERSION = 1

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a set."""

    path: str
    """Relative to the folder, with `/`."""
    rows: int
    bytes: int
    sha256: str


@dataclass(slots=True)
class ConfigEntry:
    """One training set of the folder."""

    format: str
    file_format: str
    columns: dict[str, Kind]
    """Name and kind of each column."""
    query: dict[str, Any]
    """The flags that made it."""
    counts: dict[str, Any]
    """`read`, `kept`, `dropped` by reason, and what else was counted."""
    licences: dict[str, int]
    """Rows by the licence of their solutions; `unknown` where none is known."""
    sources: dict[str, int]
    """Rows by source; `run/ID` for what was sampled here."""
    splits: dict[str, list[FileEntry]] = field(default_factory=dict)
    aside: dict[str, list[FileEntry]] = field(default_factory=dict)
    """Files that are no split: `ties`, `dataset_info`."""
    trace: dict[str, list[FileEntry]] = field(default_factory=dict)
    """Of each split, the files that say where its rows come from; empty where none were asked for."""
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    """How often each value stands in each column of labels; of pairs, which text is longer."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Rows by their characters: a key `N` counts up to N and more than N/2."""
    example: dict[str, Any] = field(default_factory=dict)
    """The first row, long texts and lists cut."""
    guidelines: list[str] = field(default_factory=list)
    """Versions of the rules that the labels were made under; empty where that is not known."""
    agreement: dict[str, float] = field(default_factory=dict)
    """How far labellers agree, by measure; empty where it was not measured."""

    @property
    def n_rows(self) -> int:
        """Rows of all splits."""
        return sum(self.rows_by_split.values())

    @property
    def rows_by_split(self) -> dict[str, int]:
        """Rows of each split."""
        return {name: sum(file.rows for file in files) for name, files in self.splits.items()}


@dataclass(slots=True)
class Manifest:
    """All sets of a folder."""

    stepmark_version: str
    configs: dict[str, ConfigEntry] = field(default_factory=dict)

    def as_json(self) -> bytes:
        """The manifest's bytes."""
        document = {"manifest_version": VERSION, **asdict(self)}
        document["configs"] = dict(sorted(document["configs"].items()))
        return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"

    def files(self) -> list[FileEntry]:
        """Every file of every config, in order of their paths."""
        parts = [part for _, entry in self.configs.items() for part in (entry.splits, entry.aside, entry.trace)]
        return sorted((file for part in parts for files in part.values() for file in files), key=lambda one: one.path)


def read_manifest(folder: Path) -> Manifest | None:
    """Reads a folder's manifest; None where there is none.

    Raises:
        InputError: It is damaged, or of a newer version.
    """
    path = folder / NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except NotADirectoryError as err:
        raise InputError(f"{folder} is no folder") from err
    try:
        return parse_manifest(content)
    except ValueError as err:
        raise InputError(f"{path} is no manifest of an exported set ({err}). Export into another folder.") from err


def parse_manifest(content: bytes) -> Manifest:
    """Reads a manifest's bytes.

    Raises:
        ValueError: It is damaged, of a newer version, or names a file outside its folder.
    """
    try:
        document = json.loads(content)
        if document["manifest_version"] != VERSION:
            raise ValueError(f"manifest version {document['manifest_version']}, this stepmark reads {VERSION}")
        manifest = Manifest(
            stepmark_version=document["stepmark_version"],
            configs={name: _config(entry) for name, entry in document["configs"].items()},
        )
    except (KeyError, TypeError, AttributeError) as err:
        raise ValueError(f"{type(err).__name__}: {err}") from err
    for file in manifest.files():
        parts = file.path.split("/")
        if len(parts) < 2 or not all(_PART.fullmatch(part) for part in parts):
            # A manifest may come from elsewhere: what it names is written here when it is pulled.
            raise ValueError(f"{file.path!r} is no path of a set's file")
    return manifest


def _config(entry: dict[str, Any]) -> ConfigEntry:
    for part in ("splits", "aside", "trace"):
        entry[part] = {name: [FileEntry(**file) for file in found] for name, found in entry.get(part, {}).items()}
    return ConfigEntry(**entry)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with disk_errors(path):
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
