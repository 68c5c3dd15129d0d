"""Flags on problems, and what the filters that set them read: statements, pass rates, the solutions of a problem."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from .bulk import bulk_insert, table_of
from .connect import reading, writing
from .models import Problem, ProblemFlag, ProblemSource, Solution
from .selection import in_source, is_flagged, name_like, next_problems, solution_in_source

_CHUNK = 1_000
_PROBLEMS_OF_CHUNK = 100


@dataclass(frozen=True, slots=True)
class Statement:
    """What a filter of problems reads."""

    problem_id: int
    family: str
    statement: str
    sources: frozenset[str]


def iterate_statements(engine: sa.Engine) -> Iterator[list[Statement]]:
    """Yields all problems in the order of their ids, in chunks; no transaction stays open between two."""
    after = 0
    query = sa.select(Problem.problem_id, Problem.family, Problem.statement).order_by(Problem.problem_id)
    while True:
        with reading(engine) as session:
            rows = session.execute(query.where(Problem.problem_id > after).limit(_CHUNK)).all()
            if not rows:
                return
            found = session.execute(
                sa.select(ProblemSource.problem_id, ProblemSource.source).where(
                    ProblemSource.problem_id.between(rows[0].problem_id, rows[-1].problem_id)
                )
            )
            sources: dict[int, set[str]] = {}
            for problem_id, source in found:
                sources.setdefault(problem_id, set()).add(source)
        after = rows[-1].problem_id
        yield [Statement(*row, frozenset(sources.get(row.problem_id, ()))) for row in rows]


def count_problems_in_all(engine: sa.Engine) -> int:
    """How many problems there are."""
    with reading(engine) as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Problem)) or 0


def source_names(engine: sa.Engine, patterns: Collection[str]) -> list[str]:
    """The names of the sources of problems that match any of the patterns (`*` stands for any text).

    Raises:
        InputError: A pattern matches none.
    """
    names: set[str] = set()
    with reading(engine) as session:
        for pattern in patterns:
            query = sa.select(ProblemSource.source).distinct()
            found = set(session.scalars(query.where(name_like(ProblemSource.source, pattern))))
            if not found:
                known = ", ".join(sorted(session.scalars(query.limit(20)))) or "none yet"
                raise InputError(f"no source of problems is named like {pattern!r}; there are: {known}")
            names |= found
    return sorted(names)


def replace_flags(
    engine: sa.Engine, kind: str, rows: Sequence[Mapping[str, Any]], *, against: Collection[str] | None = None
) -> tuple[int, int]:
    """Makes the flags of a kind be these, in one transaction; those that stay are not touched.

    Args:
        engine: The database.
        kind: One of `FLAG_KINDS`.
        rows: `problem_id`, `against`, `rule` and `extra` of each.
        against: Only flags against these are replaced; None: all of the kind.

    Returns:
        How many flags are new, and how many went.
    """
    condition = ProblemFlag.kind == kind
    if against is not None:
        condition &= ProblemFlag.against.in_(against)
    wanted = {(row["problem_id"], row["against"], row["rule"]): row for row in rows}
    with writing(engine) as session:
        there = {
            (problem_id, against_, rule): id_
            for id_, problem_id, against_, rule in session.execute(
                sa.select(
                    ProblemFlag.problem_flag_id, ProblemFlag.problem_id, ProblemFlag.against, ProblemFlag.rule
                ).where(condition)
            )
        }
        gone = [id_ for key, id_ in there.items() if key not in wanted]
        _delete(session, gone)
        new = [{"kind": kind, **row} for key, row in wanted.items() if key not in there]
        bulk_insert(session, table_of(ProblemFlag), new)
    return len(new), len(gone)


def _delete(session: Session, flag_ids: Sequence[int]) -> None:
    for start in range(0, len(flag_ids), 500):
        chunk = flag_ids[start : start + 500]
        session.execute(sa.delete(ProblemFlag).where(ProblemFlag.problem_flag_id.in_(chunk)))


def count_flagged(engine: sa.Engine, source: str | None) -> int:
    """How many problems of a source (or pattern) are flagged."""
    query = sa.select(sa.func.count()).select_from(Problem)
    query = query.where(in_source(Problem.problem_id, source), is_flagged(Problem.problem_id))
    with reading(engine) as session:
        return session.scalar(query) or 0


@dataclass(frozen=True, slots=True)
class PassCount:
    """How often a problem was solved."""

    problem_id: int
    n_right: int
    n_known: int
    n_solutions: int
    """Those of unknown outcome included."""


def iterate_pass_counts(engine: sa.Engine, source: str | None, generator: str | None) -> Iterator[PassCount]:
    """Yields each problem that has solutions, in the order of ids.

    Args:
        engine: The database.
        source: Only solutions of this source, or pattern with `*`.
        generator: Only solutions by this model, or pattern with `*`.
    """
    n_right = sa.func.sum(sa.case((Solution.outcome.is_(True), 1), else_=0))
    query = (
        sa.select(Solution.problem_id, n_right, sa.func.count(Solution.outcome), sa.func.count())
        .where(_solutions(source, generator))
        .group_by(Solution.problem_id)
        .order_by(Solution.problem_id)
        .execution_options(yield_per=_CHUNK)
    )
    with reading(engine) as session:
        for problem_id, right, known, every in session.execute(query):
            yield PassCount(problem_id, int(right), known, every)


def iterate_solutions_of_problems(
    engine: sa.Engine, source: str | None, generator: str | None
) -> Iterator[tuple[int, list[tuple[str, str | None, list[str]]]]]:
    """Yields each problem that has solutions with their texts, answers and steps, in the order of ids."""
    condition, after = _solutions(source, generator), 0
    while True:
        problems = next_problems(condition, after=after, n=_PROBLEMS_OF_CHUNK)
        query = (
            sa.select(Solution.problem_id, Solution.text, Solution.answer, Solution.steps)
            .join(problems, problems.c.problem_id == Solution.problem_id)
            .where(condition)
            .order_by(Solution.problem_id, Solution.solution_id)
        )
        with reading(engine) as session:
            rows = session.execute(query).all()
        if not rows:
            return
        after = rows[-1].problem_id
        for problem_id, group in groupby(rows, key=lambda row: row.problem_id):
            yield problem_id, [(row.text, row.answer, row.steps) for row in group]


def _solutions(source: str | None, generator: str | None) -> sa.ColumnElement[bool]:
    condition = solution_in_source(source)
    return condition if generator is None else condition & name_like(Solution.generator, generator)
