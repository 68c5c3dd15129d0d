"""Conditions by which commands select rows: what a source pattern means, everywhere the same."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from stepmark.errors import InputError

from .models import Annotation, Problem, ProblemFlag, ProblemSource, Solution, Task

BUILT_IN_SOURCE = "stepmark/practice"
"""Source of the problems and solutions that come with the app to practise on."""

MEASURING_PURPOSES = ("gold", "entry", "practice", "calibration", "repeat")
"""Purposes of tasks whose answers measure the labellers: what is right there is known, or was said before."""


def first_source() -> sa.ScalarSelect[str]:
    """The source in which a query's problem was found first."""
    found = sa.select(ProblemSource.source).where(ProblemSource.problem_id == Problem.problem_id)
    return found.order_by(ProblemSource.problem_source_id).limit(1).correlate(Problem).scalar_subquery()


def in_source(
    problem_id: sa.orm.InstrumentedAttribute[int] | sa.ColumnElement[int], pattern: str | None
) -> sa.ColumnElement[bool]:
    """Whether a problem was found in a source that matches `pattern` (`*` stands for any text; None matches all).

    A problem that several sources hold matches by any of them.
    """
    if pattern is None:
        return sa.true()
    return sa.exists().where(ProblemSource.problem_id == problem_id, name_like(ProblemSource.source, pattern))


def is_flagged(
    problem_id: sa.orm.InstrumentedAttribute[int] | sa.ColumnElement[int],
) -> sa.ColumnElement[bool]:
    """Whether a filter found that a problem should be left out."""
    return sa.exists().where(ProblemFlag.problem_id == problem_id)


def passing(least: float | None, most: float | None) -> sa.Select[int]:
    """Selects the ids of problems whose pass rate, over solutions of known outcome, is in the range."""
    rate = sa.func.avg(sa.case((Solution.outcome.is_(True), 1.0), else_=0.0))
    query = sa.select(Solution.problem_id).where(Solution.outcome.is_not(None)).group_by(Solution.problem_id)
    if least is not None:
        query = query.having(rate >= least)
    return query if most is None else query.having(rate <= most)


def name_like(column: Any, pattern: str) -> sa.ColumnElement[bool]:
    """Whether a name matches `pattern` (`*` stands for any text), in upper or lower case, on both databases."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
    result: sa.ColumnElement[bool] = column.ilike(escaped, escape="\\")
    return result


def solution_in_source(*patterns: str | None, solution: Any = Solution) -> sa.ColumnElement[bool]:
    """Whether a solution belongs to a source like one of these; none given, or None among them, matches all.

    An imported solution belongs to its own source, a sampled one to every source of its problem. What comes with the
    app to practise on is matched by its own name alone, never by `*`. `solution` may be an alias.
    """
    others = sa.or_(solution.source.is_(None), solution.source != BUILT_IN_SOURCE)
    if not patterns or None in patterns:
        return others
    wanted = [pattern for pattern in patterns if pattern is not None]
    fits = sa.or_(
        *(name_like(solution.source, pattern) for pattern in wanted),
        solution.source.is_(None) & sa.or_(*(in_source(solution.problem_id, pattern) for pattern in wanted)),
    )
    return fits if BUILT_IN_SOURCE in wanted else fits & others


def is_label_data() -> sa.ColumnElement[bool]:
    """Whether an annotation says something about its solution rather than about whoever made it.

    Left out, also of training sets: answers to tasks that measure people (`MEASURING_PURPOSES`). Of gold, entry and
    practice tasks the right answer is known, of calibration it is talked over, and a repeated task has the same
    person's first answer. Labels without a task (imported, or by a program) and those of `label` and `relabel` count.
    """
    measures = sa.exists().where(Task.task_id == Annotation.task_id, Task.purpose.in_(MEASURING_PURPOSES))
    # Not the latter alone: PostgreSQL then takes nearly every annotation for one that measures where few have a task,
    # and reads all of them for each page of solutions.
    return Annotation.task_id.is_(None) | ~measures.correlate(Annotation)


def tells_first_error() -> sa.ColumnElement[bool]:
    """Whether an annotation counts as label data, and its first error counts the solution's own steps.

    Not where steps were split or merged, nor where one step and its alternatives were all that was judged.
    """
    return sa.and_(
        Annotation.kind == "steps",
        Annotation.segments.is_(None),
        sa.or_(Annotation.mode.is_(None), Annotation.mode != "alternatives"),
        is_label_data(),
    )


class unindexed(FunctionElement[Any]):  # noqa: N801 - reads as an SQL function
    """An integer column that SQLite does not look for in an index: it would read nearly all annotations each time.

    SQLite has no statistics, and takes a column that equals something for rarer than a range of solutions.
    """

    type = sa.BigInteger()
    inherit_cache = True


@compiles(unindexed)
def _as_it_is(element: unindexed, compiler: Any, **kw: Any) -> str:
    column: str = compiler.process(element.clauses, **kw)
    return column


@compiles(unindexed, "sqlite")
def _with_plus(element: unindexed, compiler: Any, **kw: Any) -> str:
    return f"+{compiler.process(element.clauses, **kw)}"


def next_problems(condition: sa.ColumnElement[bool], *, after: int, n: int) -> sa.Subquery:
    """Selects the ids (`problem_id`) of the next `n` problems after one that have solutions for which this holds."""
    query = sa.select(Solution.problem_id).where(Solution.problem_id > after, condition).distinct()
    return query.order_by(Solution.problem_id).limit(n).subquery()


def check_sources(session: Session, patterns: Iterable[str]) -> None:
    """Makes sure that each pattern names something.

    Raises:
        InputError: A pattern matches no source of the database.
    """
    for pattern in patterns:
        found = sa.select(ProblemSource.problem_source_id).where(name_like(ProblemSource.source, pattern)).limit(1)
        own = sa.select(Solution.solution_id).where(name_like(Solution.source, pattern)).limit(1)
        if session.scalar(found) is None and session.scalar(own) is None:
            of_problems = set(session.scalars(sa.select(ProblemSource.source).distinct().limit(20)))
            of_solutions = set(session.scalars(sa.select(Solution.source).distinct().limit(20)))
            known = ", ".join(sorted(name for name in of_problems | of_solutions if name)) or "none yet"
            raise InputError(f"no source is named like {pattern!r}; there are: {known}")
