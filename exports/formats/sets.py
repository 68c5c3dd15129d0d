"""A training set on disk: `FOLDER/CONFIG/SPLIT-00000-of-0000N.jsonl`, the dataset card, and the manifest.

Several sets (configs) share a folder. Rows go to `.partial` files first; the set that was there stays whole until
the new one is complete. Where asked for, `FOLDER/trace/CONFIG/` holds a file for each of a split's, whose rows say
where the split's rows come from; loaders do not see them.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stepmark.errors import InputError, JobError, SettingsError

from .card import MARK, card, kept_values
from .columns import CONFIGS, TRACE, Column
from .files import AT_ONCE, FileFormat, ShardWriter, disk_errors, open_shard, read_shard, sha256_of
from .manifest import NAME, ConfigEntry, FileEntry, Manifest, read_manifest, write_whole
from .statistics import RowStatistics

ROWS_PER_SHARD = 100_000

TRACE_FOLDER = "trace"

DESCRIPTION = "dataset_info.json"
"""A description of a config for its reader, which some layouts have."""

_OURS = re.compile(r"\w+-\d{5}-of-\d{5}\.(jsonl|parquet)|\w+-\d{5}\.partial|dataset_info\.json")
_SPLIT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(slots=True)
class _Part:
    """The shards of a split, of its trace, or of a file that stands aside."""

    name: str
    folder: Path
    columns: tuple[Column, ...]
    done: list[tuple[Path, int, Future[str]]] = field(default_factory=list)
    """Each with its rows and its SHA-256."""
    current: ShardWriter | None = None
    current_path: Path | None = None
    waiting: list[Mapping[str, Any]] = field(default_factory=list)
    """Rows that go into a shard together."""
    n_wanted: int = 0
    """How many of them."""


class SetWriter:
    """Writes one config of a folder; `finish` makes it a set, leaving without it leaves the folder as it was."""

    def __init__(
        self,
        folder: Path,
        config: str,
        *,
        columns: tuple[Column, ...] | None = None,
        file_format: FileFormat = "jsonl",
        rows_per_shard: int = ROWS_PER_SHARD,
        overwrite: bool = False,
    ) -> None:
        """Checks that the folder can take the set.

        Raises:
            SettingsError: The folder holds this config already (without `overwrite`), or files that are not ours.
        """
        if rows_per_shard < 1:
            raise SettingsError(f"a shard of {rows_per_shard} rows cannot be; give at least 1")
        self.folder = folder
        self.config = config
        self.columns = columns or CONFIGS[config]
        self.file_format = file_format
        self.rows_per_shard = rows_per_shard
        self._at_once = AT_ONCE[file_format]
        self._parts: dict[str, _Part] = {}
        self._aside: dict[str, _Part] = {}
        self._trace: dict[str, _Part] = {}
        self._statistics = RowStatistics(self.columns)
        self._hashing = ThreadPoolExecutor(max_workers=1)  # hashes a shard while the next one is written
        _check_folder(folder, config, file_format, overwrite=overwrite)
        own = (self._trace_dir, self._trace_dir.parent, self._dir, folder)
        self._made = [path for path in own if not path.exists()]
        with disk_errors(folder):
            self._dir.mkdir(parents=True, exist_ok=True)
        self._remove("*.partial")

    @property
    def _dir(self) -> Path:
        return self.folder / self.config

    @property
    def _trace_dir(self) -> Path:
        return self.folder / TRACE_FOLDER / self.config

    def _all_parts(self) -> list[_Part]:
        return [*self._parts.values(), *self._trace.values(), *self._aside.values()]

    def _remove(self, pattern: str) -> None:
        for folder in (self._dir, self._trace_dir):
            _remove(folder, pattern)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self._all_parts():
            if part.current is not None:
                # The file is thrown away; what keeps it from closing has been said already.
                with suppress(JobError):
                    part.current.close()
        self._hashing.shutdown(cancel_futures=True)
        self._remove("*.partial")
        for folder in self._made:
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()

    def write(self, split: str, row: Mapping[str, Any], trace: Mapping[str, Any] | None = None) -> None:
        """Adds a row to a split, with what its trace says (the columns `TRACE`); all rows have a trace, or none."""
        if split not in self._parts and not _SPLIT_NAME.fullmatch(split):
            raise SettingsError(f"{split!r} is no name for a split; use letters, digits and _")
        self._write(self._parts, split, self.columns, row)
        if trace is not None:
            self._write(self._trace, split, TRACE, trace)

    def write_aside(self, name: str, columns: tuple[Column, ...], row: Mapping[str, Any]) -> None:
        """Adds a row to a file that is no split."""
        self._write(self._aside, name, columns, row)

    def _write(self, parts: dict[str, _Part], name: str, columns: tuple[Column, ...], row: Mapping[str, Any]) -> None:
        part = parts.get(name)
        if part is None:
            folder = self._trace_dir if parts is self._trace else self._dir
            with disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            part = parts[name] = _Part(name, folder, columns, n_wanted=min(self._at_once, self.rows_per_shard))
        part.waiting.append(row)
        if len(part.waiting) == part.n_wanted:
            self._flush(part)

    def _flush(self, part: _Part) -> None:
        """Brings what waits into the current shard, which is closed when it is full."""
        rows, part.waiting = part.waiting, []
        if not rows:
            return
        if part.current is None:
            part.current_path = part.folder / f"{part.name}-{len(part.done):05d}.partial"
            part.current = open_shard(part.current_path, part.columns, self.file_format)
        part.current.write(rows)
        if self._parts.get(part.name) is part:
            self._statistics.add(part.name, rows)
        n_left = self.rows_per_shard - part.current.n_rows
        if not n_left:
            self._close(part)
        part.n_wanted = min(self._at_once, n_left or self.rows_per_shard)

    def finish(
        self,
        *,
        version: str,
        format: str,
        query: dict[str, Any],
        counts: dict[str, Any],
        licences: Mapping[str, int] | None = None,
        sources: Mapping[str, int] | None = None,
        guidelines: Iterable[str] = (),
        agreement: Mapping[str, float] | None = None,
        split_order: tuple[str, ...] = ("train", "validation", "test"),
        beside: Callable[[Mapping[str, Sequence[str]]], Mapping[str, Any]] | None = None,
    ) -> bytes:
        """Puts the files in place, writes the card, then the manifest, whose bytes it returns.

        Args:
            version: Of stepmark.
            format: Layout of the rows.
            query: The flags that made the set.
            counts: `read`, `kept`, `dropped` by reason, and what else was counted.
            licences: Rows by licence.
            sources: Rows by source.
            guidelines: Versions of the rules that the labels were made under, where they are known.
            agreement: How far the labellers agree, by measure, where it was measured.
            split_order: Order of the splits in card and manifest.
            beside: Makes the description of the set for its reader, of the names of each split's files.
        """
        for part in self._all_parts():
            self._flush(part)
            self._close(part)
        manifest = read_manifest(self.folder) or Manifest(version)
        if self.config in manifest.configs:
            del manifest.configs[self.config]
            if manifest.configs:
                write_whole(self.folder / NAME, manifest.as_json())
            else:
                with disk_errors(self.folder / NAME):
                    (self.folder / NAME).unlink()
        self._remove("*-of-*")
        _remove(self._dir, DESCRIPTION)
        order = {name: index for index, name in enumerate(split_order)}
        names = sorted(self._parts, key=lambda name: (order.get(name, len(order)), name))
        manifest.stepmark_version = version
        manifest.configs[self.config] = ConfigEntry(
            format=format,
            file_format=self.file_format,
            columns={column.name: column.kind for column in self.columns},
            query=query,
            counts=counts,
            licences=dict(sorted((licences or {}).items())),
            sources=dict(sorted((sources or {}).items())),
            splits={name: self._placed(name, self._parts[name]) for name in names},
            aside={name: self._placed(name, part) for name, part in sorted(self._aside.items())},
            trace={name: self._placed(name, self._trace[name]) for name in names if name in self._trace},
            labels=self._statistics.labels(),
            lengths=self._statistics.lengths(),
            example=self._statistics.example(names),
            guidelines=sorted(guidelines),
            agreement=dict(sorted((agreement or {}).items())),
        )
        if beside is not None:
            self._describe(manifest.configs[self.config], beside)
        readme = self.folder / "README.md"
        write_whole(readme, card(manifest, kept=kept_values(readme)).encode())
        content = manifest.as_json()
        write_whole(self.folder / NAME, content)
        return content

    def _describe(
        self, entry: ConfigEntry, beside: Callable[[Mapping[str, Sequence[str]]], Mapping[str, Any]]
    ) -> None:
        names = {split: [file.path.partition("/")[2] for file in files] for split, files in entry.splits.items()}
        described = beside(names)
        path = self._dir / DESCRIPTION
        write_whole(path, json.dumps(described, ensure_ascii=False, indent=2).encode() + b"\n")
        file = FileEntry(f"{self.config}/{DESCRIPTION}", len(described), path.stat().st_size, sha256_of(path))
        entry.aside["dataset_info"] = [file]

    def _close(self, part: _Part) -> None:
        if part.current is not None and part.current_path is not None:
            part.current.close()
            sha256 = self._hashing.submit(sha256_of, part.current_path)
            part.done.append((part.current_path, part.current.n_rows, sha256))
            part.current = None

    def _placed(self, name: str, part: _Part) -> list[FileEntry]:
        entries = []
        for index, (partial, n_rows, sha256) in enumerate(part.done):
            path = part.folder / f"{name}-{index:05d}-of-{len(part.done):05d}.{self.file_format}"
            with disk_errors(path):
                hashed = sha256.result()
                partial.replace(path)
            entry = path.relative_to(self.folder).as_posix()
            entries.append(FileEntry(entry, n_rows, path.stat().st_size, hashed))
        return entries


def read_rows(folder: Path, config: str, split: str, *, verify: bool = False) -> Iterator[dict[str, Any]]:
    """Reads the rows of a split, in order, one at a time; nothing where the split has no row.

    Args:
        folder: The exported folder.
        config: `prm`, `orm`, `preference`, ...
        split: `train`, `validation`, ...
        verify: Hash each file before reading it, and refuse one that is not as it was written.

    Raises:
        InputError: The folder is no complete export, has no such config, or a file was changed.
    """
    for entry in _entry(folder, config).splits.get(split, []):
        path = _file(folder, entry)
        if verify and sha256_of(path) != entry.sha256:
            raise InputError(f"{path} is not as it was exported (its SHA-256 differs); export the set again")
        yield from read_shard(path)


def read_trace(folder: Path, config: str, split: str) -> Iterator[dict[str, Any]]:
    """Reads where the rows of a split come from, in the order of `read_rows`; nothing where no trace was written.

    Raises:
        InputError: As `read_rows`.
    """
    entry = _entry(folder, config)
    for file in entry.trace.get(split, []):
        yield from read_shard(_file(folder, file))


def _entry(folder: Path, config: str) -> ConfigEntry:
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"{folder} holds no {NAME}: it is no exported set, or its export was interrupted")
    if config not in manifest.configs:
        raise InputError(f"{folder} holds no {config!r}; it has {', '.join(sorted(manifest.configs))}")
    return manifest.configs[config]


def _file(folder: Path, file: FileEntry) -> Path:
    path = folder / file.path
    if not path.is_file():
        raise InputError(f"{path} is missing; export the set again")
    return path


def read_counts(folder: Path, config: str) -> Counter[str]:
    """Counts the rows of each split, as the manifest says.

    Raises:
        InputError: As `read_rows`.
    """
    manifest = read_manifest(folder)
    if manifest is None or config not in manifest.configs:
        raise InputError(f"{folder} holds no complete {config!r}; export it first")
    splits = manifest.configs[config].splits
    return Counter({split: sum(entry.rows for entry in entries) for split, entries in splits.items()})


def _check_folder(folder: Path, config: str, file_format: FileFormat, *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is a file; give a folder as --out")
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is not None and config in manifest.configs and not overwrite:
        raise SettingsError(
            f"{folder} already holds a {config} set; pass --overwrite to replace it, or another --out"
        )
    others = {} if manifest is None else {k: v.file_format for k, v in manifest.configs.items() if k != config}
    if any(other != file_format for other in others.values()):
        # `datasets` takes one reader for all configs of a folder.
        raise SettingsError(
            f"{folder} holds {', '.join(sorted(others))} as {', '.join(sorted(set(others.values())))}, and "
            f"load_dataset reads one kind of file in a folder; give --file-format the same, or another --out"
        )
    readme = folder / "README.md"
    if readme.is_file() and MARK not in readme.read_text(encoding="utf-8", errors="replace"):
        raise SettingsError(f"{readme} was not written by stepmark and would be replaced; give another --out")
    strange = [path.name for path in (folder / config).glob("*") if not _OURS.fullmatch(path.name)]
    if strange:
        raise SettingsError(f"{folder / config} holds files that are not ours: {', '.join(sorted(strange)[:5])}")


def _remove(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        if _OURS.fullmatch(path.name):
            with disk_errors(path):
                path.unlink()
