r"""Shards of a training set: JSON lines or Parquet, written row by row, hashed, and read back.

JSON lines are UTF-8 without escapes, compact (`{"prompt":"...","labels":[true]}`), keys in the columns' order,
one `\n` after each row: the same rows are the same bytes on every machine. Parquet embeds its writer's version.
"""

import errno
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson

from stepmark.errors import InputError, JobError, LimitReached

from .columns import Column, arrow_schema

FileFormat = Literal["jsonl", "parquet"]

json_line = partial(orjson.dumps, option=orjson.OPT_APPEND_NEWLINE)
"""One row as it stands in a file of JSON lines."""

AT_ONCE: Mapping[FileFormat, int] = {"jsonl": 100, "parquet": 1_000}
"""Rows that are made into a file's bytes together: few enough to be in the processor's cache still."""
_BLOCKS = 20
"""Of JSON lines, how many such are written together: to make them takes longer than to wake the thread that does."""
_ROW_GROUP = 5_000


class ShardWriter(Protocol):
    """Writes one file."""

    n_rows: int

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows, which have exactly the columns: as many as `AT_ONCE` says, the last time perhaps fewer."""

    def close(self) -> None:
        """Finishes the file and brings it to the disk."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Says what went wrong on the disk.

    Raises:
        LimitReached: The disk is full.
        JobError: The file cannot be written for another reason.
    """
    try:
        yield
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(err):
            raise LimitReached(
                f"the disk of {path} is full; the export is not complete. Free some space and run it again."
            ) from err
        raise JobError(f"cannot write {path}: {err.strerror or err}. Choose another --out, or free it.") from err


class _Beside:
    """Writes in a thread, one thing after the other, while the caller makes the next; no more than one is held."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._written: Future[Any] | None = None

    def write(self, how: Callable[..., Any], *what: Any) -> None:
        """Begins to write, once what went before is written; what goes wrong is said then, or by `close`."""
        self._wait()
        self._written = self._thread.submit(how, *what)

    def close(self, how: Callable[[], Any]) -> None:
        """Ends the thread and closes the file, whatever went wrong."""
        try:
            self._wait()
        finally:
            self._thread.shutdown()
            with disk_errors(self._path):
                how()

    def _wait(self) -> None:
        written, self._written = self._written, None
        if written is not None:
            with disk_errors(self._path):
                written.result()


class JsonlShard:
    """A file of JSON lines."""

    def __init__(self, path: Path, columns: tuple[Column, ...]) -> None:
        self.n_rows = 0
        self._names = [column.name for column in columns]
        self._lines: list[bytes] = []
        self._beside = _Beside(path)
        with disk_errors(path):
            self._file = path.open("wb")

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows."""
        names = self._names
        ordered = [row if list(row) == names else {name: row[name] for name in names} for row in rows]
        self._lines.append(b"".join(map(json_line, ordered)))
        self.n_rows += len(rows)
        if len(self._lines) == _BLOCKS:
            self._flush()

    def close(self) -> None:
        """Finishes the file."""
        try:
            self._flush()
        finally:
            self._beside.close(self._file.close)

    def _flush(self) -> None:
        if self._lines:
            lines, self._lines = b"".join(self._lines), []
            self._beside.write(self._file.write, lines)


class ParquetShard:
    """A Parquet file, in row groups of fixed size; while one is compressed, the next one's rows come."""

    def __init__(self, path: Path, columns: tuple[Column, ...]) -> None:
        import pyarrow.parquet as pq

        self.n_rows = 0
        self._schema = arrow_schema(columns)
        self._types = list(zip(self._schema.names, self._schema.types, strict=True))
        self._tables: list[Any] = []
        self._beside = _Beside(path)
        with disk_errors(path):
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows."""
        import pyarrow as pa

        columns = [_array([row[name] for row in rows], type_) for name, type_ in self._types]
        self._tables.append(pa.Table.from_arrays(columns, schema=self._schema))
        self.n_rows += len(rows)
        if self.n_rows % _ROW_GROUP == 0:
            self._flush()

    def close(self) -> None:
        """Finishes the file."""
        try:
            self._flush()
        finally:
            self._beside.close(self._writer.close)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._tables:
            table = pa.concat_tables(self._tables)
            self._tables = []
            self._beside.write(self._writer.write_table, table, _ROW_GROUP)


def _array(values: Sequence[Any], type_: Any) -> Any:
    """A column; of lists, its items are laid end to end first, which takes half the time of pyarrow's own way."""
    import pyarrow as pa

    if not pa.types.is_list(type_) or pa.types.is_nested(type_.value_type) or None in values:
        return pa.array(values, type_)
    offsets = pa.array(accumulate(map(len, values), initial=0), pa.int32(), size=len(values) + 1)
    return pa.ListArray.from_arrays(
        offsets, pa.array(list(chain.from_iterable(values)), type_.value_type), type=type_
    )


def open_shard(path: Path, columns: tuple[Column, ...], file_format: FileFormat) -> ShardWriter:
    """Starts a file."""
    return JsonlShard(path, columns) if file_format == "jsonl" else ParquetShard(path, columns)


def read_shard(path: Path) -> Iterator[dict[str, Any]]:
    """Reads a file's rows, one at a time.

    Raises:
        InputError: The file is missing, or a row is no JSON object.
    """
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=1000):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowInvalid) as err:
            raise InputError(f"cannot read {path}: {err}. Export the set again.") from err
        return
    number = 0
    try:
        with path.open("rb") as file:
            for line in file:
                number += 1
                row = orjson.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("not an object")
                yield row
    except OSError as err:
        raise InputError(f"cannot read {path}: {err.strerror}. Export the set again.") from err
    except ValueError as err:
        raise InputError(f"{path}, line {number}: {err}. Export the set again.") from err


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
