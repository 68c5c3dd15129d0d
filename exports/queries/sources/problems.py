"""Problems of one's own: JSON lines with a statement, and an answer and a solution where they are known.

A problem whose solutions are programs has `tests` in place of an answer: Python code, or a list of such texts.
"""

from collections.abc import Mapping
from typing import Any

from stepmark.records import ImportedRow, ProblemRecord

from .options import ImportOptions
from .reading import RowError, SourceRow, required, shown

STATEMENT_KEYS = ("problem", "question", "statement")
TESTS_KEY = "tests"
ANSWER_KEYS = ("answer", "reference_answer")
SOLUTION_KEYS = ("solution", "reference_solution")
ID_KEYS = ("id",)


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; what no column holds goes to the source row's extra."""
    value = row.value
    statement_key = options.statement_field or _first(value, STATEMENT_KEYS) or STATEMENT_KEYS[0]
    statement = required(value, statement_key, str)
    has_tests = options.answer_field is None and value.get(TESTS_KEY) is not None
    answer_key = TESTS_KEY if has_tests else options.answer_field or _first(value, ANSWER_KEYS)
    solution_key = options.solution_field or _first(value, SOLUTION_KEYS)
    id_key = options.key_field or _first(value, ID_KEYS)
    used = {statement_key, answer_key, solution_key, id_key}
    answer = None
    if answer_key is not None:
        answer = _tests(value[TESTS_KEY]) if has_tests else _as_text(value, answer_key)
    problem = ProblemRecord(
        statement=statement,
        source=options.source,
        source_key=str(row.index) if id_key is None else _as_text(value, id_key) or str(row.index),
        reference_answer=answer,
        answer_kind="tests" if has_tests else "value",
        reference_solution=None if solution_key is None else _as_text(value, solution_key),
        licence=options.licence,
        extra={key: part for key, part in value.items() if key not in used} or None,
    )
    return ImportedRow(problem)


def _first(value: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if key in value), None)


def _tests(found: Any) -> str:
    parts = found if isinstance(found, list) else [found]
    if not all(isinstance(part, str) for part in parts) or not any(part.strip() for part in parts):
        raise RowError("wrong_type", f"{TESTS_KEY!r} should be Python code or a list of it, not {shown(found)}")
    return "\n".join(parts)


def _as_text(value: Mapping[str, Any], key: str) -> str | None:
    """A text or a number as text; None where it is null or empty."""
    if key not in value:
        raise RowError("missing_key", f"no key {key!r}; the row has {', '.join(map(shown, list(value)[:8]))}")
    found = value[key]
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        raise RowError("wrong_type", f"{key!r} should be text or a number, not {shown(found)}")
    return str(found).strip() or None
