"""Rows of a source file, one at a time: JSON lines or one JSON array, gzipped or not.

A row that cannot be read comes out as a `BadRow`, so that the caller decides whether to stop or to count it; a
file that cannot be read further (missing, empty, cut off, not an array to its end) raises InputError. Never more
than one row stands in memory.
"""

import codecs
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from stepmark.errors import InputError

MAX_ROW_BYTES = 4 * 1024 * 1024
"""A longer row is taken for damage: no problem or solution is a book."""

_CHUNK = 1 << 18
_SPACE = re.compile(r"[ \t\r\n]*")
_SHOWN = 60


class RowError(Exception):
    """A row that cannot be taken; `reason` is what it is counted under."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row as the file holds it."""

    line: int
    """1-based line on which the row begins."""
    index: int
    """0-based number of the row; in a file of JSON lines the 0-based line number."""
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read."""

    line: int
    reason: str
    message: str


def read_rows(path: Path, *, on_bytes: Callable[[int], None] | None = None) -> Iterator[SourceRow | BadRow]:
    """Reads a file of JSON lines or of one JSON array, row by row.

    Args:
        path: The file; gzip is recognised by its first bytes.
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
            for row in _rows(buffered, path):
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


def shown(value: object) -> str:
    """A value as a message shows it: short, and on one line.

    >>> shown("9" * 100)
    "'999999999999999999999999999999999999999999999999999999999...'"
    """
    text = repr(value)
    if len(text) <= _SHOWN:
        return text
    return text[: _SHOWN - 2] + "..." + (text[-1] if text[-1] in "'\"" else "")


def required(row: Mapping[str, Any], key: str, kind: type, *, where: str = "") -> Any:
    """The value under a key, which must be there and of this type.

    Raises:
        RowError: It is missing, of another type, or an empty text.
    """
    if key not in row:
        keys = ", ".join(map(shown, list(row)[:8]))
        raise RowError("missing_key", f"no key {key!r}{where}; the row has {keys or 'no keys'}")
    value = row[key]
    is_bool = isinstance(value, bool)
    if not isinstance(value, kind) or (kind is int and is_bool):
        wanted = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}[kind]
        raise RowError("wrong_type", f"{key!r}{where} should be {wanted}, not {shown(value)}")
    return value


def _rows(stream: io.BufferedReader, path: Path) -> Iterator[SourceRow | BadRow]:
    start = stream.peek(64)[:64].removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"["):
        yield from _array_rows(stream, path)
    else:
        yield from _line_rows(stream)


def _line_rows(stream: io.BufferedReader) -> Iterator[SourceRow | BadRow]:
    number = 0
    while raw := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) > MAX_ROW_BYTES:
            size = len(raw)
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(_CHUNK)
                size += len(raw)
            yield BadRow(
                number,
                "too_long",
                f"the line has {size:,} bytes, a row at most {MAX_ROW_BYTES:,}; is it one row to a line?",
            )
            continue
        if not raw.strip():
            continue
        try:
            yield SourceRow(number, number - 1, _parsed(raw))
        except RowError as err:
            yield BadRow(number, err.reason, err.message)


def _parsed(raw: bytes) -> Mapping[str, Any]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise RowError(
            "not_utf8",
            f"not UTF-8: byte {raw[err.start]:#04x} at {err.start} in {shown(raw[max(0, err.start - 20) :][:40])}; "
            "save the file as UTF-8",
        ) from err
    if "\0" in text:
        raise RowError("nul_character", f"a NUL character at {text.index(chr(0))}; no text holds one")
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as err:
        raise RowError("malformed_json", f"not JSON ({err}): {shown(text.strip())}") from err
    return _checked(value, text)


def _checked(value: Any, text: str) -> Mapping[str, Any]:
    """Refuses what is no object, and escaped characters that no database stores."""
    if not isinstance(value, dict):
        raise RowError("wrong_type", f"a row should be an object, not {shown(value)}")
    if "\\u" in text:
        for part in _texts(value):
            if "\0" in part:
                raise RowError("nul_character", f"a NUL character in {shown(part)}; no text holds one")
            if not _is_encodable(part):
                raise RowError("lone_surrogate", f"half a surrogate pair in {shown(part)}; it is no character")
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shown(text)} is beyond the range of numbers")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


class _Array:
    """The text of a JSON array, read ahead only as far as the next element needs."""

    def __init__(self, stream: io.BufferedReader, path: Path) -> None:
        self.stream = stream
        self.path = path
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text = ""
        self.at = 0
        self.line = 1
        self.is_whole = False

    def read_more(self) -> bool:
        """Reads a chunk; False at the file's end."""
        if self.is_whole:
            return False
        raw = self.stream.read(_CHUNK)
        self.is_whole = not raw
        try:
            more = self.decoder.decode(raw, final=self.is_whole)
        except UnicodeDecodeError as err:
            raise InputError(
                f"{self.path}, after line {self.line}: not UTF-8 (byte {err.object[err.start]:#04x}); "
                "save the file as UTF-8"
            ) from err
        self.text = self.text[self.at :] + more
        self.at = 0
        return not self.is_whole

    def skip(self, end: int) -> None:
        """Goes on to `end`, counting lines."""
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def peek(self) -> str:
        """The next character that is no white space; empty at the file's end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            assert match is not None
            self.skip(match.end())
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.read_more() and self.at >= len(self.text):
                return ""

    def element(self) -> tuple[Any, str]:
        """The next element and its text."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as err:
                if len(self.text) - self.at > MAX_ROW_BYTES:
                    self.refuse(f"a row of more than {MAX_ROW_BYTES:,} bytes, or broken JSON")
                if not self._may_be_cut(err) or not self.read_more():
                    self.refuse(f"not JSON ({_without_position(err)}): {shown(self.text[self.at :][:200])}")
                continue
            text = self.text[self.at : end]
            self.skip(end)
            return value, text

    def _may_be_cut(self, err: Exception) -> bool:
        """Whether the error may only mean that the rest of the element is not read yet."""
        if not isinstance(err, json.JSONDecodeError):
            return False
        return err.msg.startswith("Unterminated string") or err.pos > len(self.text) - 32

    def refuse(self, what: str) -> NoReturn:
        """Raises: an array that breaks cannot be resumed at the next row."""
        raise InputError(f"{self.path}, line {self.line}: {what}. Correct the file; nothing of it was imported.")


def _without_position(err: Exception) -> str:
    return err.msg if isinstance(err, json.JSONDecodeError) else str(err)


def _array_rows(stream: io.BufferedReader, path: Path) -> Iterator[SourceRow | BadRow]:
    array = _Array(stream, path)
    array.peek()
    array.skip(array.at + 1)
    index = 0
    while (following := array.peek()) != "]":
        if index:
            if following != ",":
                array.refuse("the array is cut off" if not following else f"expected ',' or ']', not {following!r}")
            array.skip(array.at + 1)
            array.peek()
        line = array.line
        value, text = array.element()
        try:
            yield SourceRow(line, index, _checked(value, text))
        except RowError as err:
            yield BadRow(line, err.reason, err.message)
        index += 1
    array.skip(array.at + 1)
    if array.peek():
        array.refuse(f"more text after the array's end: {shown(array.text[array.at :][:80])}")
