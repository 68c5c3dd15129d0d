"""Problems of one's own: a statement, and an answer and a solution where they are known.

A problem whose solutions are programs has `tests` in place of an answer: Python code, or a list of such texts.
"""

from typing import Any

from stepmark.records import ImportedRow, ProblemRecord

from .options import ImportOptions
from .rows import RowError, SourceRow, as_text, first_key, required, rest, shown

STATEMENT_KEYS = ("problem", "question", "statement")
TESTS_KEY = "tests"
ANSWER_KEYS = ("answer", "reference_answer")
SOLUTION_KEYS = ("solution", "reference_solution")
ID_KEYS = ("id",)


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; what no column holds goes to the source row's extra."""
    value = row.value
    statement_key = first_key(value, STATEMENT_KEYS) or STATEMENT_KEYS[0]
    statement = required(value, statement_key, str)
    has_tests = value.get(TESTS_KEY) is not None
    answer_key = TESTS_KEY if has_tests else first_key(value, ANSWER_KEYS)
    solution_key = first_key(value, SOLUTION_KEYS)
    id_key = first_key(value, ID_KEYS)
    answer = None
    if answer_key is not None:
        answer = _tests(value[TESTS_KEY]) if has_tests else as_text(value, answer_key)
    problem = ProblemRecord(
        statement=statement,
        source=options.source,
        source_key=(None if id_key is None else as_text(value, id_key)) or row.source_key,
        reference_answer=answer,
        answer_kind="tests" if has_tests else "value",
        reference_solution=None if solution_key is None else as_text(value, solution_key),
        licence=options.licence,
        extra=rest(value, statement_key, answer_key, solution_key, id_key) or None,
    )
    return ImportedRow(problem)


def _tests(found: Any) -> str:
    parts = found if isinstance(found, list) else [found]
    if not all(isinstance(part, str) for part in parts) or not any(part.strip() for part in parts):
        raise RowError("wrong_type", f"{TESTS_KEY!r} should be Python code or a list of it, not {shown(found)}")
    return "\n".join(parts)
