"""Rows of tables: CSV, whose cells are all text, and Parquet."""

import csv
import datetime as dt
import decimal
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stepmark.errors import InputError

from .rows import MAX_ROW_BYTES, BadRow, RowError, SourceRow, checked

_PARQUET_ROWS = 256


def csv_rows(stream: io.BufferedReader, path: Path) -> Iterator[SourceRow | BadRow]:
    """Reads CSV whose first line names the columns; an empty cell is null. Commas, semicolons or tabs between cells.

    Raises:
        InputError: It is not UTF-8, or its quotes do not close.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    csv.field_size_limit(MAX_ROW_BYTES)
    head = text.readline()
    separator = max(",;\t", key=head.count)
    columns = next(csv.reader([head], delimiter=separator), [])
    if not columns:
        return
    if len(set(columns)) < len(columns):
        raise InputError(f"{path}: two columns have one name: {', '.join(columns)}. Name each column once.")
    reader = csv.reader(text, delimiter=separator, strict=True)
    line = 2
    try:
        for index, cells in enumerate(reader):
            if len(cells) == len(columns):
                try:
                    row = {name: cell if cell else None for name, cell in zip(columns, cells, strict=True)}
                    yield SourceRow(line, index, checked(row))
                except RowError as err:
                    yield BadRow(line, err.reason, err.message)
            elif cells:
                yield BadRow(line, "wrong_cells", f"{len(cells)} cells under {len(columns)} columns: {cells[:3]}")
            line = reader.line_num + 2
    except UnicodeDecodeError as err:
        raise InputError(
            f"{path}, after line {line}: not UTF-8 (byte {err.object[err.start]:#04x}); save the file as UTF-8"
        ) from err
    except csv.Error as err:
        raise InputError(f"{path}, line {line}: not CSV ({err}). Correct the file.") from err
    finally:
        text.detach()


def parquet_rows(stream: io.BufferedReader, path: Path) -> Iterator[SourceRow | BadRow]:
    """Reads Parquet, a few hundred rows at a time.

    Raises:
        InputError: It is cut off or damaged, or comes from a pipe or out of gzip.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(stream.raw, io.FileIO) or not stream.seekable():
        raise InputError(f"{path}: Parquet cannot be read out of gzip or a pipe; give the file itself")
    index = 0
    try:
        for batch in pq.ParquetFile(stream).iter_batches(_PARQUET_ROWS):
            for value in batch.to_pylist():
                try:
                    yield SourceRow(index + 1, index, checked(plain_row(value)))
                except RowError as err:
                    yield BadRow(index + 1, err.reason, err.message)
                index += 1
    except pa.ArrowException as err:
        raise InputError(f"{path} is cut off or damaged after row {index} ({err}). Fetch the file again.") from err


def plain_row(row: Mapping[str, Any]) -> Any:
    """A row of a table as JSON would hold it: times in ISO form, decimals as text.

    Raises:
        RowError: It holds bytes, or a number that is none.
    """
    return _plain(row)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RowError("no_number", f"{value} is no number that can be stored")
        return value
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    raise RowError("wrong_type", f"a cell holds {type(value).__name__}, which is neither text nor a number")
