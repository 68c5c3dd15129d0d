"""Training sets out of the database: rows from one snapshot, split by problem family, written as a set."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

import stepmark
from db.connect import reading
from db.exports import record_export
from db.models import Solution
from db.selection import check_sources
from exports.formats.columns import CONFIGS, TIES
from exports.formats.files import FileFormat
from exports.formats.layouts import About, CannotExpress, Layout, LayoutOptions, layout_of
from exports.formats.sets import ROWS_PER_SHARD, SetWriter
from stepmark.errors import InputError
from stepmark.progress import Progress, silent
from stepmark.splits import check_shares, split_of

from .facts import with_facts
from .selection import Counts, TrainingSet
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
    counts, splits, licences, sources = Counts(), Counter[str](), Counter[str](), Counter[str]()
    query = {
        **asdict(wanted.selection),
        **wanted.flags,
        "split": dict(target.shares),
        "split_seed": target.split_seed,
        "file_format": target.file_format,
        "rows_per_shard": target.rows_per_shard,
    }
    layout, told = layout or layout_of(wanted.config), options or LayoutOptions()
    query |= layout.options(told)
    with _snapshot(engine) as session:
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
        _snapshot(engine) as session,
    ):
        check_sources(session, wanted.selection.sources)
        sieve = Sieve(session, wanted.selection)
        rows = wanted.rows(session, columns, counts)
        for row, facts in with_facts(session, rows, are_needed=layout.needs_solutions):
            refusal = sieve.judge(row)
            if refusal is not None:
                counts.dropped[refusal] += not row.is_aside  # what stands aside is counted as dropped already
                continue
            if row.is_aside:
                writer.write_aside("ties", TIES, row.row)
                continue
            split = split_of(row.family, target.shares, target.split_seed)
            if split == "test" and row.trust == "majority":
                # An answer that only most solutions give would measure agreement with them.
                counts.dropped["silver_in_test"] += 1
                continue
            try:
                cells = layout.convert(row.row, About(splits.total(), split, row.source, facts), told, counts.more)
            except CannotExpress as reason:
                counts.dropped[str(reason)] += 1
                continue
            writer.write(split, cells)
            splits[split] += 1
            licences[row.licence or "unknown"] += 1
            sources[row.source] += 1
            if splits.total() % 1000 == 0:
                progress(splits.total(), None, f"read {counts.n_read:,}")
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


def _ordered(splits: Counter[str], shares: Mapping[str, float]) -> dict[str, int]:
    return {name: splits[name] for name in shares if splits[name]}


@contextmanager
def _snapshot(engine: sa.Engine) -> Iterator[Session]:
    """A session that sees one state of the database, however long it reads; SQLite's transactions do so anyhow."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with reading(engine) as session:
        session.scalar(sa.select(Solution.solution_id).limit(1))
        yield session
