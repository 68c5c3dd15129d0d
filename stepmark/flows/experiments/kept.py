"""Files of an experiment: its memory, each either whole or not there."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(file: Path, text: str) -> None:
    """Writes a file that is either whole or as it was; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, file)


def read_json(file: Path) -> Any:
    """Reads what `write_json` wrote."""
    return json.loads(file.read_text(encoding="utf-8"))


def write_json(file: Path, content: Any) -> None:
    """Writes JSON; numbers that JSON does not have are none of its business."""
    write_whole(file, json.dumps(content) + "\n")


def kept(file: Path, make: Callable[[], Any]) -> Any:
    """What stands in a file, made first where it is not there; as JSON gives it back, in either case."""
    if not file.exists():
        write_json(file, make())
    return read_json(file)
