"""How much there is to put into a queue, before it is done."""

from dataclasses import dataclass

import sqlalchemy as sa

from .connect import reading
from .models import Critique, Score, Solution, Task
from .selection import check_sources, solution_in_source


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a rule could choose from."""

    n_fitting: int
    """Solutions (or critiques) of the source."""
    n_queued: int
    """Of these, those with such a task in the project."""
    n_scored: int
    """Of those without, solutions that a reward model scored."""


def count_candidates(engine: sa.Engine, *, project_id: int, kind: str, mode: str, source: str = "*") -> Candidates:
    """Counts what could be put into a project's queue.

    Raises:
        InputError: No source fits the pattern.
    """
    task = [Task.project_id == project_id, Task.kind == kind, Task.purpose == "label"]
    if kind == "critique":
        queued = sa.exists().where(Task.critique_id == Critique.critique_id, *task)
        query = (
            sa.select(sa.func.count(), _sum(queued), sa.literal(0))
            .select_from(Critique)
            .join(Solution, Solution.solution_id == Critique.solution_id)
        )
    else:
        if kind == "steps":
            task.append(Task.mode == mode)
        queued = sa.exists().where(Task.solution_id == Solution.solution_id, *task)
        scored = sa.exists().where(Score.solution_id == Solution.solution_id)
        query = sa.select(sa.func.count(), _sum(queued), _sum(sa.and_(~queued, scored))).select_from(Solution)
    with reading(engine) as session:
        if source != "*":
            check_sources(session, [source])
        n_fitting, n_queued, n_scored = session.execute(query.where(solution_in_source(source))).one()
        return Candidates(int(n_fitting), int(n_queued), int(n_scored))


def _sum(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)
