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
    is_such = sa.and_(
        Task.project_id == project_id,
        Task.kind == kind,
        Task.purpose == "label",
        Task.mode == mode if kind == "steps" else sa.true(),
    )
    # A set that is made once: looked up task by task, the planner takes all of the project's for every solution.
    key = Task.critique_id if kind == "critique" else Task.solution_id
    queued = sa.select(key).where(is_such)
    fits = solution_in_source(source)
    if kind == "critique":
        every = (
            sa.select(Critique.critique_id).join(Solution, Solution.solution_id == Critique.solution_id).where(fits)
        )
        found = Critique.critique_id
        scored = None
    else:
        every = sa.select(Solution.solution_id).where(fits)
        found = Solution.solution_id
        scored = every.where(
            Solution.solution_id.in_(sa.select(Score.solution_id)), Solution.solution_id.not_in(queued)
        )
    with reading(engine) as session:
        if source != "*":
            check_sources(session, [source])

        def count(query: sa.Select[int]) -> int:
            return session.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0

        return Candidates(count(every), count(every.where(found.in_(queued))), 0 if scored is None else count(scored))
