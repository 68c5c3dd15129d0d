"""A row of a source, and how a parser takes its values or refuses them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_ROW_BYTES = 4 * 1024 * 1024
"""A longer row is taken for damage: no problem or solution is a book."""

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
    key: str = ""
    """The row's own id, where the file with the rows does not hold it; else empty."""

    @property
    def source_key(self) -> str:
        """The row's id where the format has none: its key, or its number."""
        return self.key or str(self.index)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read."""

    line: int
    reason: str
    message: str


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


def optional(row: Mapping[str, Any], key: str, kind: type, *, where: str = "") -> Any:
    """The value under a key, of this type; None where it is missing or null.

    Raises:
        RowError: It is of another type.
    """
    return None if row.get(key) is None else required(row, key, kind, where=where)


def texts(row: Mapping[str, Any], key: str, *, where: str = "", may_be_empty: bool = False) -> list[str]:
    """The list of texts under a key, none of which is blank.

    Raises:
        RowError: It is missing or something else.
    """
    found: list[str] = required(row, key, list, where=where)
    for text in found:
        if not isinstance(text, str) or not (may_be_empty or text.strip()):
            raise RowError("wrong_type", f"each of {key!r}{where} should be text, not {shown(text)}")
    return found


def as_text(row: Mapping[str, Any], key: str) -> str | None:
    """A text or a number as text; None where it is null or empty.

    Raises:
        RowError: The key is missing, or holds something else.
    """
    if key not in row:
        raise RowError("missing_key", f"no key {key!r}; the row has {', '.join(map(shown, list(row)[:8]))}")
    found = row[key]
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        raise RowError("wrong_type", f"{key!r} should be text or a number, not {shown(found)}")
    return str(found).strip() or None


def rest(row: Mapping[str, Any], *used: str | None) -> dict[str, Any]:
    """What a row holds beside the keys that a parser has used."""
    return {key: part for key, part in row.items() if key not in used}


def first_key(row: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    """The first of these keys that a row has."""
    return next((key for key in keys if key in row), None)


def checked(value: Any, *, may_be_odd: bool = True) -> Mapping[str, Any]:
    r"""Refuses what is no object, and characters that no database stores.

    Args:
        value: A row, as JSON holds it.
        may_be_odd: Whether to look for such characters; a JSON text without `\u` holds none.

    Raises:
        RowError: It is refused.
    """
    if not isinstance(value, dict):
        raise RowError("wrong_type", f"a row should be an object, not {shown(value)}")
    if may_be_odd:
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
