"""How answers are printed: JSON on request, else lines that a person reads."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any


def print_json(value: Any) -> None:
    """Prints one JSON document to stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def fields_of(report: Any) -> dict[str, Any]:
    """A report's fields by name, as JSON takes them; `dataclasses.asdict` breaks counters (CPython issue 79721)."""
    return {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}


def print_counts(title: str, *, read: int, kept: int, dropped: Mapping[str, int]) -> None:
    """Prints *read / kept / dropped by reason*, the line that ends every import, filter, batch and export."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()) if count)
    print(
        f"{title}: read {read}, kept {kept}, dropped {sum(dropped.values())}" + (f" ({reasons})" if reasons else "")
    )


def short_row(row: Mapping[str, Any]) -> str:
    """A row of a training set on one line, its texts cut."""
    return "  ".join(f"{name}: {short_cell(value)}" for name, value in row.items())


def short_cell(value: Any, most: int = 100) -> str:
    r"""A cell on one line: texts of a list with bars between them, long ones cut.

    >>> short_cell(["Step 1: 9 + 7", "# Answer\n\n16"]), short_cell("a" * 9, most=4)
    ('Step 1: 9 + 7 | # Answer 16', 'aaa…')
    """
    text = " | ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _plain(value: Any) -> Any:
    """What JSON has no word for: the fields of a dataclass, the text of anything else."""
    return fields_of(value) if dataclasses.is_dataclass(value) else str(value)
