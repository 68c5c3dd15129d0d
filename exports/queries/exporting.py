"""Training sets out of the database: rows from one snapshot, split by problem family, written as a set."""

import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

import stepmark
from db.connect import reading
from db.exports import record_export
from db.models import Annotator
from db.secrets import pseudonyms
from db.selection import check_sources
from db.snapshots import snapshot, two_snapshots
from exports.formats.columns import CONFIGS, TIES, TRACE, Column
from exports.formats.files import FileFormat, sha256_of
from exports.formats.layouts import About, CannotExpress, Layout, LayoutOptions, as_they_are, layout_of
from exports.formats.sets import ROWS_PER_SHARD, SetWriter
from stepmark.errors import InputError, SettingsError
from stepmark.progress import Progress, silent
from stepmark.splits import check_shares, split_of

from .balancing import Balance
from .facts import with_facts
from .guidelines import GuidelineVersions
from .lengths import Lengths, with_lengths
from .selection import UNKNOWN, Counts, Selection, SetRow, TrainingSet
from .sieve import Sieve

DEFAULT_SHARES: Mapping[str, float] = {"train": 0.9, "validation": 0.05, "test": 0.05}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a set goes and how it is cut."""

    folder: Path
    file_format: FileFormat = "jsonl"
    shares: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_SHARES))
    """Share of the problem families for each split."""
    split_seed: int = 0
    rows_per_shard: int = ROWS_PER_SHARD
    overwrite: bool = False
    trace: Literal["pseudonyms", "names", "none"] = "pseudonyms"
    """Files that say where each row comes from, with annotators under pseudonyms or names; or no such files."""
    balance: bool = False
    """Leave out rows so that no class of a split has more than its smallest one."""
    lengths: Lengths | None = None
    """Count the tokens of the rows."""


@dataclass(slots=True)
class ExportReport:
    """What was written."""

    config: str
    folder: str
    n_read: int
    n_kept: int
    dropped: dict[str, int]
    more: dict[str, int]
    """Further counts, such as `solutions_without_outcome`."""
    splits: dict[str, int]
    """Rows of each split."""
    manifest_sha256: str


def export_set(
    engine: sa.Engine,
    target: Target,
    wanted: TrainingSet,
    *,
    layout: Layout | None = None,
    options: LayoutOptions | None = None,
    progress: Progress = silent,
) -> ExportReport:
    """Writes a training set (`prm_set`, `orm_set`, `best_of_n_set`, `preference_set`, ...) into a folder.

    Args:
        engine: The database.
        target: Where the set goes.
        wanted: What its rows are.
        layout: How the tool that it is for reads it (`layout_of`); None: the config's own.
        options: What that tool is told.
        progress: Called now and then.

    Raises:
        UserError: The folder cannot take the set, or nothing is left to write.
        LimitReached: The disk is full.
    """
    check_shares(target.shares)
    if target.balance and wanted.class_of is None:
        raise SettingsError(
            f"the rows of {wanted.config} have no classes that could be balanced; leave out --balance"
        )
    layout, told = layout or layout_of(wanted.config), options or LayoutOptions()
    query = {**_selected(wanted.selection), **_flags(wanted), **_cut(target), **layout.options(told)}
    counts, splits, licences, sources = Counts(), Counter[str](), Counter[str](), Counter[str]()
    side_of = lru_cache(maxsize=1024)(lambda family: split_of(family, target.shares, target.split_seed))
    name_of = None if target.trace == "none" else _names(engine, target)
    with snapshot(engine) as session:
        columns = CONFIGS[wanted.config] if wanted.columns is None else wanted.columns(session)
    with (
        SetWriter(
            target.folder,
            wanted.config,
            columns=layout.columns(columns, told),
            file_format=target.file_format,
            rows_per_shard=target.rows_per_shard,
            overwrite=target.overwrite,
        ) as writer,
        two_snapshots(engine) as (session, for_rows),
        _without_collection(),
    ):
        check_sources(session, wanted.selection.sources)
        rows, n_written = _balanced_rows(session, for_rows, target, wanted, columns, counts), 0
        guidelines = GuidelineVersions(session)
        for row, facts in with_facts(session, rows, are_needed=layout.needs_solutions):
            if row.is_aside:
                writer.write_aside("ties", TIES, row.row)
                continue
            split = side_of(row.family)
            cells: Mapping[str, Any] = row.row
            if layout.convert is not as_they_are:
                about = About(n_written, split, row.source, facts)
                try:
                    cells = layout.convert(row.row, about, told, counts.more)
                except CannotExpress as reason:
                    counts.dropped[str(reason)] += 1
                    continue
            writer.write(split, cells, None if name_of is None else _trace(row, name_of))
            guidelines.see(row.trace.get("annotation_ids", ()))
            splits[split] += 1
            licences[row.licence or UNKNOWN] += 1
            sources[row.source] += 1
            n_written += 1
            if n_written % 1000 == 0:
                progress(n_written, None, f"read {counts.n_read:,}")
        dropped = {reason: count for reason, count in sorted(counts.dropped.items()) if count}
        more = {name: count for name, count in sorted(counts.more.items()) if count}
        if not splits:
            why = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
            raise InputError(
                f"there is no row to export: read {counts.n_read}"
                + (f", dropped {why}" if why else "")
                + ". Nothing was written; widen the selection, or label and verify first."
            )
        progress(splits.total(), splits.total(), f"read {counts.n_read:,}")
        counted = {"read": counts.n_read, "kept": splits.total(), "dropped": dropped, **more}
        content = writer.finish(
            version=stepmark.__version__,
            format=layout.name,
            query=query,
            counts=counted,
            licences=licences,
            sources=sources,
            guidelines=guidelines.found(),
            agreement=counts.agreement,
            split_order=tuple(target.shares),
            beside=layout.beside,
        )
    digest = hashlib.sha256(content).hexdigest()
    path = str(target.folder.resolve())
    record_export(engine, config=wanted.config, path=path, flags=query, counts=counted, manifest_sha256=digest)
    return ExportReport(
        wanted.config,
        str(target.folder),
        counts.n_read,
        splits.total(),
        dropped,
        more,
        _ordered(splits, target.shares),
        digest,
    )


@contextmanager
def _without_collection() -> Iterator[None]:
    """No search for cyclic garbage, of which there is none: it went over the rows of a page again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _selected(selection: Selection) -> dict[str, Any]:
    """The selection as the manifest records it: files by name and hash, since a path is of one machine alone."""
    return {**asdict(selection), "decontaminate": [_named(one) for one in selection.decontaminate]}


_PROMPTS = ("prompt", "solve_prompt", "judge_prompt")


def _flags(wanted: TrainingSet) -> dict[str, Any]:
    """The flags of a set; files of prompts by name and hash, likewise."""
    named = {name: _named(value) for name in _PROMPTS if isinstance(value := wanted.flags.get(name), str)}
    return {**wanted.flags, **named}


def _named(name: str) -> str:
    path = Path(name)
    file = path / "tokenizer.json" if path.is_dir() else path
    return f"{path.resolve().name}@{sha256_of(file)[:16]}" if file.is_file() else name


def _cut(target: Target) -> dict[str, Any]:
    """How a set is cut, as the manifest records it."""
    lengths = target.lengths
    return {
        "split": dict(target.shares),
        "split_seed": target.split_seed,
        "file_format": target.file_format,
        "rows_per_shard": target.rows_per_shard,
        "trace": target.trace,
        "balance": target.balance,
        "tokenizer": None if lengths is None else _named(lengths.tokenizer),
        "max_length": None if lengths is None else lengths.max_length,
        "drop_longer": lengths is not None and lengths.drop_longer,
    }


def _balanced_rows(
    session: Session,
    for_rows: Session,
    target: Target,
    wanted: TrainingSet,
    columns: tuple[Column, ...],
    counts: Counts,
) -> Iterator[SetRow]:
    """The rows that stay; to balance their classes takes a pass of its own."""
    sieve, class_of = Sieve(session, wanted.selection), wanted.class_of

    def rows(counts: Counts) -> Iterator[SetRow]:
        found = _sifted(wanted.rows(for_rows, columns, counts), sieve, target, counts)
        return found if target.lengths is None else with_lengths(found, target.lengths, counts)

    if not target.balance or class_of is None:
        yield from rows(counts)
        return

    def place(row: SetRow) -> tuple[str, Hashable, Mapping[str, Any]]:
        return split_of(row.family, target.shares, target.split_seed), class_of(row), row.row

    balance = Balance(place(row) for row in rows(Counts()) if not row.is_aside)
    for row in rows(counts):
        if row.is_aside or balance.keeps(*place(row)):
            yield row
        else:
            counts.dropped["to_balance"] += 1


def _sifted(rows: Iterable[SetRow], sieve: Sieve, target: Target, counts: Counts) -> Iterator[SetRow]:
    for row in rows:
        refusal = sieve.judge(row)
        if refusal is None and row.trust == "majority" and not row.is_aside:
            # An answer that only most solutions give would measure agreement with them.
            is_test = split_of(row.family, target.shares, target.split_seed) == "test"
            refusal = "silver_in_test" if is_test else None
        if refusal is None:
            yield row
        else:
            counts.dropped[refusal] += not row.is_aside  # what stands aside is counted as dropped already


def _names(engine: sa.Engine, target: Target) -> Callable[[int], str]:
    """How annotators are called in traces."""
    if target.trace == "pseudonyms":
        return lru_cache(maxsize=None)(pseudonyms(engine))
    with reading(engine) as session:
        names = {id_: name for id_, name in session.execute(sa.select(Annotator.annotator_id, Annotator.name))}
    return names.__getitem__


_NOTHING: Mapping[str, Any] = {column.name: None if column.name == "licence" else [] for column in TRACE}


def _trace(row: SetRow, name_of: Callable[[int], str]) -> dict[str, Any]:
    """Where a row comes from, as its trace file says it."""
    found = {**_NOTHING, **row.trace}
    found["annotators"] = list(map(name_of, found.pop("annotator_ids", ())))
    found["licence"] = row.licence
    return found


def _ordered(splits: Counter[str], shares: Mapping[str, float]) -> dict[str, int]:
    return {name: splits[name] for name in shares if splits[name]}
