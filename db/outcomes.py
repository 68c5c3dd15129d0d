"""Outcomes of solutions: which are still unknown, and writing down what the verifier found."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from .connect import reading, writing
from .models import Problem, Solution

_BATCH = 2000


@dataclass(frozen=True, slots=True)
class AnswerToVerify:
    """A solution's final answer beside the reference it is held against."""

    solution_id: int
    answer: str | None
    """As written; None where none can be read."""
    reference: str | None
    """None where the problem has no reference answer."""
    source_outcome: bool | None
    """What the solution's source says of it, where it says anything; never used to decide."""
    program_text: str | None = None
    """The whole solution, where the reference is tests to run on it; else None."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the verifier found."""

    solution_id: int
    outcome: bool | None
    rule: str


def answers_to_verify(engine: sa.Engine, *, again: bool = False) -> Iterator[list[AnswerToVerify]]:
    """Yields, in batches ordered by id, the answers whose outcome nobody has looked at.

    Args:
        engine: The database.
        again: Also those that were verified before. Outcomes that a source asserted are included then.
    """
    last = 0
    while True:
        query = (
            sa.select(
                Solution.solution_id,
                Solution.answer,
                Problem.reference_answer,
                Solution.extra,
                sa.case((Problem.answer_kind == "tests", Solution.text)).label("program_text"),
            )
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .where(Solution.solution_id > last)
            .order_by(Solution.solution_id)
            .limit(_BATCH)
        )
        if not again:
            query = query.where(Solution.outcome_rule.is_(None))
        with reading(engine) as session:
            rows = session.execute(query).all()
        if not rows:
            return
        last = rows[-1].solution_id
        yield [
            AnswerToVerify(
                row.solution_id,
                row.answer,
                row.reference_answer,
                (row.extra or {}).get("is_correct"),
                row.program_text,
            )
            for row in rows
        ]


def count_to_verify(engine: sa.Engine, *, again: bool = False) -> int:
    """How many answers `answers_to_verify` will yield."""
    query = sa.select(sa.func.count()).select_from(Solution)
    if not again:
        query = query.where(Solution.outcome_rule.is_(None))
    with reading(engine) as session:
        return session.scalar(query) or 0


def write_outcomes(engine: sa.Engine, outcomes: Iterable[Outcome]) -> int:
    """Writes outcomes with the rule that decided each, in one transaction; returns how many."""
    rows = [{"solution_id": o.solution_id, "outcome": o.outcome, "outcome_rule": o.rule} for o in outcomes]
    if rows:
        with writing(engine) as session:
            session.execute(sa.update(Solution), rows)
    return len(rows)
