"""Conditions by which commands select rows."""

from typing import Any

import sqlalchemy as sa

from .models import ProblemSource


def in_source(
    problem_id: sa.orm.InstrumentedAttribute[int] | sa.ColumnElement[int], pattern: str | None
) -> sa.ColumnElement[bool]:
    """Whether a problem was found in a source that matches `pattern` (`*` stands for any text; None matches all).

    A problem that several sources hold matches by any of them.
    """
    if pattern is None:
        return sa.true()
    return sa.exists().where(ProblemSource.problem_id == problem_id, name_like(ProblemSource.source, pattern))


def name_like(column: Any, pattern: str) -> sa.ColumnElement[bool]:
    """Whether a name matches `pattern` (`*` stands for any text), in upper or lower case, on both databases."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
    result: sa.ColumnElement[bool] = column.ilike(escaped, escape="\\")
    return result
