"""Tasks to practise on, at any time: with a known answer that is shown after one's own, and never exported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.problems import family_hash, statement_hash

from ..connect import writing
from ..models import (
    Annotation,
    Critique,
    KnownAnswer,
    Problem,
    ProblemFlag,
    ProblemSource,
    Solution,
    Task,
)
from ..selection import BUILT_IN_SOURCE
from ..solutions import solution_text_hash
from .claims import copy_of, lease
from .contents import ClaimedTask, contents
from .draws import lot
from .eligibility import in_pool, is_leased_to, known_tasks

_BUILT_IN = "built-in"
"""Why the tasks that come with the app are there. Their problems are flagged, so that nobody samples on them, and
their solutions are of a source that every selection leaves out unless it is named (`db.selection`)."""


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A practice task that comes with the app."""

    key: str
    """Names it for good: the same key is stored once."""
    kind: str
    statement: str
    reference_answer: str | None
    steps: Sequence[str]
    answer: str | None
    known: Mapping[str, Any]
    note: str
    licence: str
    other_steps: Sequence[str] = ()
    """Kind `preference`: the second solution."""
    other_answer: str | None = None
    critique: str | None = None
    """Kind `critique`: what is said of the solution."""
    verdict: str = "unreadable"
    """The critique's."""


def practice_task(
    engine: sa.Engine,
    annotator_id: int,
    *,
    project_id: int | None = None,
    kind: str = "steps",
    built_in: Sequence[BuiltIn] = (),
    lease_s: int = 1800,
) -> ClaimedTask | None:
    """Hands out a task to practise on; the one that this annotator has not practised on for the longest time.

    The project's practice tasks; where it has none, gold ones that this annotator has answered, as tasks of their
    own, so that the answer that counts stays; where there are none either, the built-in ones, which are stored when
    they are first wanted. A task that is begun comes again until it is answered.

    Args:
        engine: The database.
        annotator_id: Who practises.
        project_id: In which project; None outside any.
        kind: Of the built-in tasks.
        built_in: What comes with the app; those of other kinds are passed over.
        lease_s: Seconds until the lease ends.

    Returns:
        The task; None where there is none at all.
    """
    with writing(engine) as session:
        own = known_tasks(project_id, "practice").where(
            Task.assigned_to_id.is_(None), Task.is_open, sa.func.coalesce(Task.reason, "") != _BUILT_IN
        )
        ids = list(session.scalars(own)) or _of_gold(session, annotator_id, project_id)
        if not ids:
            items = [item for item in built_in if item.kind == kind]
            ids = [_stored(session, item) for item in items]
        if not ids:
            return None
        last = {
            task_id: annotation_id
            for task_id, annotation_id in session.execute(
                sa.select(Annotation.task_id, sa.func.max(Annotation.annotation_id))
                .where(Annotation.task_id.in_(ids), Annotation.annotator_id == annotator_id)
                .group_by(Annotation.task_id)
            )
        }
        begun = session.scalars(sa.select(Task.task_id).where(Task.task_id.in_(ids), is_leased_to(annotator_id)))
        chosen = begun.first() or min(
            ids, key=lambda task_id: (last.get(task_id, 0), lot("practice", annotator_id, task_id))
        )
        lease(session, chosen, annotator_id, lease_s=lease_s)
        return contents(session, [chosen], annotator_id)[0]


def _of_gold(session: Session, annotator_id: int, project_id: int | None) -> list[int]:
    """The gold tasks that an annotator answered, as practice tasks for them alone, made where they are not there."""
    gold = session.scalars(
        sa.select(Task)
        .where(
            Task.task_id.in_(known_tasks(project_id, "gold")),
            sa.exists().where(
                Annotation.task_id == Task.task_id,
                Annotation.annotator_id == annotator_id,
                Annotation.superseded_by_id.is_(None),
            ),
        )
        .order_by(Task.task_id)
    ).all()
    there = {
        _same(task): task.task_id
        for task in session.scalars(
            sa.select(Task).where(
                Task.assigned_to_id == annotator_id, Task.purpose == "practice", in_pool(project_id)
            )
        )
    }
    ids = []
    for task in gold:
        task_id = there.get(_same(task))
        if task_id is None:
            copy = copy_of(task, purpose="practice", annotator_id=annotator_id)
            session.add(copy)
            session.flush()
            known = session.get_one(KnownAnswer, task.task_id)
            session.add(KnownAnswer(task_id=copy.task_id, answer=known.answer, note=known.note))
            task_id = copy.task_id
        ids.append(task_id)
    return ids


def _same(task: Task) -> tuple[int | None, ...]:
    return (task.solution_id, task.other_solution_id, task.critique_id, task.step_index)


def _stored(session: Session, item: BuiltIn) -> int:
    """The id of a built-in task, which is stored where it is not there."""
    solution = session.scalar(
        sa.select(Solution).where(Solution.source == BUILT_IN_SOURCE, Solution.source_key == item.key)
    )
    if solution is not None:
        return session.scalars(
            sa.select(Task.task_id)
            .where(Task.solution_id == solution.solution_id, Task.purpose == "practice")
            .order_by(Task.task_id)
        ).first() or _add_task(session, item, solution)
    hashed = statement_hash(item.statement)
    problem = session.scalar(sa.select(Problem).where(Problem.statement_hash == hashed))
    if problem is None:
        problem = Problem(
            statement_hash=hashed,
            family=family_hash(item.statement),
            statement=item.statement,
            reference_answer=item.reference_answer,
            reference_trust="source",
        )
        session.add(problem)
        session.flush()
        session.add(
            ProblemSource(
                problem_id=problem.problem_id,
                source=BUILT_IN_SOURCE,
                source_key=item.key,
                licence=item.licence,
            )
        )
        session.add(
            ProblemFlag(problem_id=problem.problem_id, kind="contaminated", against=BUILT_IN_SOURCE, rule=_BUILT_IN)
        )
    solution = _solution(problem, item.key, item.steps, item.answer, item.licence)
    session.add(solution)
    session.flush()
    return _add_task(session, item, solution)


def _add_task(session: Session, item: BuiltIn, solution: Solution) -> int:
    other = critique = None
    if item.kind == "preference":
        problem = session.get_one(Problem, solution.problem_id)
        other = _solution(problem, f"{item.key}/other", item.other_steps, item.other_answer, item.licence)
        session.add(other)
    elif item.kind == "critique":
        critique = Critique(
            solution_id=solution.solution_id,
            problem_id=solution.problem_id,
            source=BUILT_IN_SOURCE,
            source_key=item.key,
            kind="practice",
            critic=BUILT_IN_SOURCE,
            text=item.critique or "",
            verdict=item.verdict,
        )
        session.add(critique)
    session.flush()
    task = Task(
        purpose="practice",
        kind=item.kind,
        mode="first_error",
        solution_id=solution.solution_id,
        other_solution_id=None if other is None else other.solution_id,
        critique_id=None if critique is None else critique.critique_id,
        reason=_BUILT_IN,
    )
    session.add(task)
    session.flush()
    session.add(KnownAnswer(task_id=task.task_id, answer=dict(item.known), note=item.note))
    session.flush()
    return task.task_id


def _solution(problem: Problem, key: str, steps: Sequence[str], answer: str | None, licence: str) -> Solution:
    text = "\n".join(steps)
    return Solution(
        problem_id=problem.problem_id,
        source=BUILT_IN_SOURCE,
        source_key=key,
        text=text,
        text_hash=solution_text_hash(problem.statement_hash, text),
        steps=list(steps),
        answer=answer,
        licence=licence,
    )
