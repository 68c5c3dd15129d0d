"""How the first rows of a file would be understood, without a database."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from stepmark.records import ImportedRow

from ..sources import BadRow, HubSet, ImportOptions, SourceFormat
from ..sources.rows import RowError
from .checking import parsed
from .files import source_rows
from .report import ImportReport


@dataclass(frozen=True, slots=True)
class PreviewedRow:
    """One row, as it stands in the file and as it would be understood."""

    line: int
    given: dict[str, Any]
    """As the file has it; empty where it cannot be read."""
    records: tuple[ImportedRow, ...]
    problem: str | None = None
    """Why it cannot be taken."""


def preview_file(
    source_format: SourceFormat, location: Path | HubSet, options: ImportOptions, *, n_rows: int = 3
) -> list[PreviewedRow]:
    """Parses the first rows of a file.

    Raises:
        InputError: The file cannot be read.
    """
    found: list[PreviewedRow] = []
    rows = cast(Iterator[Any], source_rows(source_format, location, ImportReport(str(location), options.source)))
    with closing(rows):  # type: ignore[type-var]
        for row in islice(rows, n_rows):
            if isinstance(row, BadRow):
                found.append(PreviewedRow(row.line, {}, (), row.message))
                continue
            try:
                found.append(PreviewedRow(row.line, dict(row.value), parsed(row, source_format, options)))
            except RowError as err:
                found.append(PreviewedRow(row.line, dict(row.value), (), err.message))
    return found
