"""Reads a benchmark's files: a JSON array or JSONL, plain or gzipped, one file or every such file of a folder."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from stepmark.errors import InputError

Row = TypeVar("Row")

_ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")


def benchmark_files(paths: Sequence[Path]) -> dict[str, Path]:
    """Lists the files behind paths, by subset: the file's name without its ending.

    Raises:
        InputError: There is none, or two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        files = sorted(path.glob("*")) if path.is_dir() else [path]
        if path.is_dir():
            files = [file for file in files if file.name.endswith(_ENDINGS)]
        if not files:
            raise InputError(f"{path} holds no file that ends in {', '.join(_ENDINGS)}.")
        for file in files:
            name = subset_name(file)
            if name in found:
                raise InputError(f"{file} and {found[name]} would both be the subset {name!r}; rename one.")
            found[name] = file
    return found


def subset_name(file: Path) -> str:
    """The name of the subset that a file holds.

    >>> subset_name(Path("data/gsm8k.json.gz"))
    'gsm8k'
    """
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        if file.name.endswith(ending):
            return file.name[: -len(ending)]
    return file.name


def read_json_rows(file: Path) -> list[dict[str, Any]]:
    """Reads the objects of a JSON array, or of JSON lines, read whole: a benchmark is some thousand rows.

    Raises:
        InputError: It cannot be read; the message names file, line and value.
    """
    try:
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if file.name.endswith(".gz") else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as err:
        raise InputError(f"{file} cannot be read: {err}") from err
    rows: list[dict[str, Any]] = []
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except ValueError as err:
            raise InputError(f"{file} is no JSON array: {err}") from err
    else:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as err:
                    raise InputError(f"{file}, line {number}: not JSON ({err})") from err
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise InputError(f"{file}, row {number}: an object was expected, not {str(row)[:60]!r}")
    return rows


def checked_rows(
    raws: Iterable[Mapping[str, Any]], parse_row: Callable[[Mapping[str, Any]], Row], where: str
) -> list[Row]:
    """Checks the rows of a file.

    Args:
        raws: The rows as they stand there.
        parse_row: Raises ValueError where a row cannot be used.
        where: The file's name, for the message.

    Raises:
        InputError: A row cannot be used; the message names `where` and the row.
    """
    rows = []
    for number, raw in enumerate(raws, start=1):
        try:
            rows.append(parse_row(raw))
        except ValueError as err:
            raise InputError(f"{where}, row {number}: {err}") from err
    return rows
