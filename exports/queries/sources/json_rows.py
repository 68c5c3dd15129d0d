"""Rows of JSON lines, of a JSON array and of a JSON object, one at a time: never more than one stands in memory."""

import codecs
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from stepmark.errors import InputError

from .rows import MAX_ROW_BYTES, BadRow, RowError, SourceRow, checked, shown

_CHUNK = 1 << 18
_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[{}\]]")
_MAX_DEPTH = 200
"""Deeper values are damage. Python reads a thousand levels, fewer in an app, which could not show the row."""


def line_rows(stream: io.BufferedReader) -> Iterator[SourceRow | BadRow]:
    """Reads JSON lines; an empty line is no row, but counts."""
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
    _refuse_depth(text)
    try:
        value = _DECODER.decode(text)
    except ValueError as err:
        raise RowError("malformed_json", f"not JSON ({err}): {shown(text.strip())}") from err
    return checked(value, may_be_odd="\\u" in text)


def _refuse_depth(text: str) -> None:
    """Raises on values nested too deep, before a parser goes down there."""
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > _MAX_DEPTH:
            raise RowError("too_deep", f"values nest more than {_MAX_DEPTH} deep in {shown(text.strip())}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shown(text)} is beyond the range of numbers")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


class _Document:
    """The text of a JSON document, read ahead only as far as the next element needs."""

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


def array_rows(stream: io.BufferedReader, path: Path) -> Iterator[SourceRow | BadRow]:
    """Reads one array of rows.

    Raises:
        InputError: It breaks in the middle.
    """
    array = _Document(stream, path)
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
            _refuse_depth(text)
            yield SourceRow(line, index, checked(value, may_be_odd="\\u" in text))
        except RowError as err:
            yield BadRow(line, err.reason, err.message)
        index += 1
    array.skip(array.at + 1)
    if array.peek():
        array.refuse(f"more text after the array's end: {shown(array.text[array.at :][:80])}")


def object_rows(stream: io.BufferedReader, path: Path) -> Iterator[SourceRow | BadRow]:
    """Reads one object whose members are the rows: each comes out as `{"key": ..., "value": ...}`.

    Raises:
        InputError: It is no object, or breaks in the middle.
    """
    document = _Document(stream, path)
    if document.peek() != "{":
        document.refuse(f"expected one object of rows, not {shown(document.text[document.at :][:60])}")
    document.skip(document.at + 1)
    index = 0
    while (following := document.peek()) != "}":
        if index:
            if following != ",":
                document.refuse(
                    "the object is cut off" if not following else f"expected ',' or '}}', not {following!r}"
                )
            document.skip(document.at + 1)
            document.peek()
        line = document.line
        key, key_text = document.element()
        if not isinstance(key, str) or document.peek() != ":":
            document.refuse(f"expected a member of an object, not {shown(key)}")
        document.skip(document.at + 1)
        document.peek()
        value, text = document.element()
        try:
            _refuse_depth(text)
            yield SourceRow(line, index, checked({"key": key, "value": value}, may_be_odd="\\u" in key_text + text))
        except RowError as err:
            yield BadRow(line, err.reason, err.message)
        index += 1
    document.skip(document.at + 1)
    if document.peek():
        document.refuse(f"more text after the object's end: {shown(document.text[document.at :][:80])}")
