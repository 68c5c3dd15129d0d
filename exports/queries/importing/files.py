"""Files and sets into the database: streamed, in batches, one transaction for each file.

A file arrives whole or not at all. Importing it again changes nothing; its rows are then counted as already
there. A row that cannot be taken stops the file, or is left out and counted, as the caller wishes.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.connect import writing
from db.problems import lock_imports
from stepmark.errors import InputError
from stepmark.progress import Progress, silent

from ..sources import BadRow, HubSet, ImportOptions, SourceFormat, SourceRow, hub_rows, read_rows
from .checking import check_length, checked_rows
from .report import ImportReport
from .storing import store_batch

_BATCH = 500
_ENDINGS = (".gz", ".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet")


def import_file(
    engine: sa.Engine,
    source_format: SourceFormat,
    location: Path | HubSet,
    *,
    options: ImportOptions | None = None,
    skip_bad: bool = False,
    is_dry_run: bool = False,
    progress: Progress = silent,
) -> ImportReport:
    """Imports one file, or one set on the Hub, in one transaction.

    Args:
        engine: The database.
        source_format: How to read the file.
        location: The file, gzipped or not; or the set.
        options: Name of the source, licence, columns; by default those of the format.
        skip_bad: Leave out and count rows that cannot be taken, instead of stopping.
        is_dry_run: Do everything, then undo it.
        progress: Told how many bytes of the file have been read; of a set, how many rows.

    Raises:
        InputError: The file, or (without `skip_bad`) a row of it, cannot be taken; nothing was stored.
        LimitReached: The disk is full; nothing was stored.
    """
    options = options or default_options(source_format, location)
    report = ImportReport(str(location), options.source)
    for name in ("source", "licence"):
        check_length(name, getattr(options, name), InputError)
    with writing(engine) as session:
        lock_imports(session)
        found = source_rows(source_format, location, report, progress)
        rows = checked_rows(found, source_format, options, report, skip_bad=skip_bad)
        while batch := list(islice(rows, _BATCH)):
            store_batch(session, batch, options.source, report, skip_bad=skip_bad)
        if is_dry_run:
            session.rollback()
    return report


def default_options(source_format: SourceFormat, location: Path | HubSet, **given: Any) -> ImportOptions:
    """The options for a file: what is given, else the format's own source name and licence.

    >>> from exports.queries.sources import FORMATS
    >>> default_options(FORMATS["gsm8k"], Path("data/test.jsonl.gz")).source
    'gsm8k/test'
    """
    part = location.part if isinstance(location, HubSet) else location.name
    while ending := next((ending for ending in _ENDINGS if part.endswith(ending)), None):
        part = part.removesuffix(ending)
    defaults = {"source": source_format.source.format(part=part), "licence": source_format.licence, "part": part}
    return ImportOptions(**{**defaults, **{name: value for name, value in given.items() if value is not None}})


def source_rows(
    source_format: SourceFormat, location: Path | HubSet, report: ImportReport, progress: Progress = silent
) -> Iterator[SourceRow | BadRow]:
    """The rows of a file or a set, as they stand there."""
    if isinstance(location, HubSet):
        return hub_rows(location, on_rows=lambda n: progress(n, None, f"{report.n_read:,} rows"))
    size = location.stat().st_size if location.is_file() else None
    return read_rows(
        location,
        layout=source_format.layout,
        on_bytes=lambda done: progress(done, size, f"{report.n_read:,} rows"),
    )
