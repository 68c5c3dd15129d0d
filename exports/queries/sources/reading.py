"""Rows of a source file, one at a time: JSON lines, one JSON array or object, CSV or Parquet, gzipped or not.

A row that cannot be read comes out as a `BadRow`, so that the caller decides whether to stop or to count it; a
file that cannot be read further (missing, empty, cut off, not an array to its end) raises InputError. Never more
than one row stands in memory; of Parquet a few hundred.
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

from stepmark.errors import InputError

from .json_rows import array_rows, line_rows, object_rows
from .rows import MAX_ROW_BYTES, BadRow, RowError, SourceRow, required, shown
from .tables import csv_rows, parquet_rows

__all__ = ["MAX_ROW_BYTES", "BadRow", "Layout", "RowError", "SourceRow", "read_rows", "required", "shown"]

Layout = Literal["rows", "object"]
"""What a JSON file holds: rows, as lines or in an array; or one object, whose members are the rows."""

_CHUNK = 1 << 18


def read_rows(
    path: Path, *, layout: Layout = "rows", on_bytes: Callable[[int], None] | None = None
) -> Iterator[SourceRow | BadRow]:
    """Reads a file, row by row.

    Args:
        path: The file; gzip, Parquet and JSON are recognised by their first bytes, CSV by the name (`.csv`, `.tsv`).
        layout: Of a JSON file.
        on_bytes: Told now and then how many bytes of the file have been read.

    Raises:
        InputError: The file is missing, empty, cut off, or an array that breaks in the middle.
    """
    try:
        raw = path.open("rb")
    except OSError as err:
        raise InputError(f"cannot read {path}: {err.strerror}. Check the name and the permissions.") from err
    with raw:
        is_gzip = raw.peek(2)[:2] == b"\x1f\x8b"  # a pipe cannot be read again
        buffered = io.BufferedReader(cast(Any, gzip.GzipFile(fileobj=raw)), _CHUNK) if is_gzip else raw
        n_rows = 0
        try:
            for row in _rows(buffered, path, layout):
                n_rows += 1
                yield row
                if on_bytes is not None and n_rows % 100 == 0 and raw.seekable():
                    on_bytes(raw.tell())
        except (EOFError, zlib.error, gzip.BadGzipFile) as err:
            raise InputError(
                f"{path} is cut off or damaged after row {n_rows} ({err}). Fetch the file again."
            ) from err
        except OSError as err:
            raise InputError(f"cannot read {path} after row {n_rows}: {err.strerror or err}") from err
        if on_bytes is not None and raw.seekable():
            on_bytes(raw.tell())
    if n_rows == 0:
        raise InputError(f"{path} is empty: it holds no row. Check that the download finished.")


def _rows(stream: io.BufferedReader, path: Path, layout: Layout) -> Iterator[SourceRow | BadRow]:
    start = stream.peek(64)[:64]
    if start.startswith(b"PAR1"):
        return parquet_rows(stream, path)
    if path.name.removesuffix(".gz").endswith((".csv", ".tsv")):
        return csv_rows(stream, path)
    if layout == "object":
        return object_rows(stream, path)
    if start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        return array_rows(stream, path)
    return line_rows(stream)
