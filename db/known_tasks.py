"""Tasks with a known answer: gold, entry tests, practice, calibration; of steps, pairs and critiques.

Known answers are typed in, or taken from labels that are already there, such as experts' of a published set.
"""

import heapq
import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError
from stepmark.known_answers import check_known_answer

from .connect import reading, writing
from .models import (
    TASK_KINDS,
    Annotation,
    Annotator,
    Critique,
    CritiqueJudgement,
    Event,
    KnownAnswer,
    Preference,
    Project,
    Solution,
    StepLabel,
    Task,
)
from .projects import project_row
from .selection import check_sources, name_like, solution_in_source
from .tasks import AddedTasks, Wanted
from .tasks.adding import Facts, key_of

KNOWN_PURPOSES = ("gold", "entry", "practice", "calibration")
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Known:
    """Something whose answer is known: a solution, a pair of solutions, or a critique."""

    solution_id: int | None
    """Of a pair the first, `a`; of a critique it may be left out."""
    answer: Mapping[str, Any]
    """`labels` of steps, `choice` of a pair, `judgement` of a critique."""
    note: str | None = None
    """Why, to be read after the answer."""
    other_solution_id: int | None = None
    """The second solution of a pair, `b`."""
    critique_id: int | None = None


def add_known_tasks(
    engine: sa.Engine,
    project_id: int,
    answers: Iterable[Known],
    *,
    purpose: str = "gold",
    author_id: int | None = None,
) -> AddedTasks:
    """Adds tasks with known answers to a project; they never fill up: everybody in it gets each of them once.

    Returns:
        Counts; dropped, by reason, is what has such a task in the project, does not exist or cannot be labelled.

    Raises:
        InputError: The purpose is unknown, there is no such project, or an answer cannot be used.
    """
    if purpose not in KNOWN_PURPOSES:
        raise InputError(f"purpose is {purpose!r}; use one of {', '.join(KNOWN_PURPOSES)}")
    read = kept = 0
    dropped: dict[str, int] = {}
    items = iter(answers)
    while chunk := list(itertools.islice(items, _CHUNK)):
        with writing(engine) as session:
            project = project_row(session, project_id)
            named = _named(session, chunk)
            facts = Facts(session, named, project.kind, "first_error")
            there = _there(session, project, purpose, named)
            n_before = kept
            for known, item in zip(chunk, named, strict=True):
                read += 1
                key = _key(project.kind, item)
                why = facts.unfit(item) or ("already there" if key in there else None)
                if why is not None:
                    dropped[why] = dropped.get(why, 0) + 1
                    continue
                there.add(key)
                n_segments = facts.n_segments(item.solution_id) if project.kind == "steps" else None
                answer = check_known_answer(known.answer, project.kind, n_segments=n_segments)
                task = known_task(project, item, purpose=purpose, reason=purpose)
                session.add(task)
                session.flush()
                session.add(KnownAnswer(task_id=task.task_id, answer=answer, note=known.note))
                kept += 1
            data = {"project_id": project_id, "purpose": purpose, "n": kept - n_before}
            session.add(Event(kind="known_tasks_added", annotator_id=author_id, data=data))
    return AddedTasks(read, kept, dropped)


def known_task(project: Project, item: Wanted, *, purpose: str, reason: str, priority: float = 0.0) -> Task:
    """A task for everybody in a project, in the project's mode where that asks for whole solutions."""
    return Task(
        project_id=project.project_id,
        purpose=purpose,
        kind=project.kind,
        mode=project.mode if project.mode in ("first_error", "all_steps") else "first_error",
        solution_id=item.solution_id,
        other_solution_id=item.other_solution_id if project.kind == "preference" else None,
        critique_id=item.critique_id if project.kind == "critique" else None,
        priority=priority,
        reason=reason,
    )


def known_from_labels(
    engine: sa.Engine, *, labeller: str, kind: str = "steps", source: str = "*", limit: int = 50, seed: int = 0
) -> list[Known]:
    """Takes known answers from the current labels of a labeller, of what is drawn at random.

    Args:
        engine: The database.
        labeller: Name of a person, model or program; `*` stands for any text. Of several answers on one thing the
            newest counts.
        kind: `steps`, `preference` or `critique`.
        source: Source of the solutions; `*` stands for any text.
        limit: At most this many.
        seed: Of the draw.

    Raises:
        InputError: No source or labeller fits, the kind is unknown, or `limit` is below 1.
    """
    if limit < 1:
        raise InputError(f"limit is {limit}; give at least 1")
    if kind not in TASK_KINDS:
        raise InputError(f"kind is {kind!r}; use one of {', '.join(TASK_KINDS)}")
    with reading(engine) as session:
        check_sources(session, [source])
        _check_labeller(session, labeller)
        candidates = session.scalars(_newest(kind, labeller, source).execution_options(yield_per=10_000))
        rng = random.Random(seed)
        drawn = sorted(heapq.nsmallest(limit, candidates, key=lambda _id: rng.random()))
        read = {"steps": _step_answers, "preference": _choices, "critique": _judgements}[kind]
        return read(session, drawn)


def known_counts(engine: sa.Engine, project_id: int) -> dict[str, int]:
    """How many tasks with a known answer a project has, by purpose."""
    with reading(engine) as session:
        return {
            purpose: count
            for purpose, count in session.execute(
                sa.select(Task.purpose, sa.func.count())
                .join(KnownAnswer, KnownAnswer.task_id == Task.task_id)
                .where(Task.project_id == project_id)
                .group_by(Task.purpose)
            )
        }


def _named(session: Session, chunk: list[Known]) -> list[Wanted]:
    """What is known, with the solution of each critique; 0 where there is none."""
    wanted = {item.critique_id for item in chunk if item.critique_id is not None and item.solution_id is None}
    of_critique: dict[int | None, int] = {
        critique_id: solution_id
        for critique_id, solution_id in session.execute(
            sa.select(Critique.critique_id, Critique.solution_id).where(Critique.critique_id.in_(wanted))
        )
    }
    return [
        Wanted(
            of_critique.get(item.critique_id, 0) if item.solution_id is None else item.solution_id,
            other_solution_id=item.other_solution_id,
            critique_id=item.critique_id,
        )
        for item in chunk
    ]


def _there(session: Session, project: Project, purpose: str, named: list[Wanted]) -> set[Any]:
    ids = {item.solution_id for item in named} | {item.other_solution_id for item in named}
    rows = session.execute(
        sa.select(Task.solution_id, Task.other_solution_id, Task.critique_id).where(
            # An expression, so that the planner goes by the solution and not through all tasks of the project.
            sa.func.coalesce(Task.project_id, 0) == project.project_id,
            Task.purpose == purpose,
            Task.solution_id.in_(ids),
        )
    )
    return {
        _key(project.kind, Wanted(solution_id, other_solution_id=other_id, critique_id=critique_id))
        for solution_id, other_id, critique_id in rows
    }


def _key(kind: str, item: Wanted) -> Any:
    return key_of(kind, "first_error", item)


def _check_labeller(session: Session, labeller: str) -> None:
    found = sa.select(Annotator.annotator_id).where(name_like(Annotator.name, labeller)).limit(1)
    if session.scalar(found) is None:
        names = session.scalars(
            sa.select(Annotator.name)
            .where(sa.exists().where(Annotation.annotator_id == Annotator.annotator_id))
            .order_by(Annotator.name)
            .limit(20)
        ).all()
        raise InputError(f"no labeller is named like {labeller!r}; there are: {', '.join(names) or 'none yet'}")


def _newest(kind: str, labeller: str, source: str) -> sa.Select[int]:
    """The newest current annotation of the labeller on each thing that has a label."""
    query = (
        sa.select(sa.func.max(Annotation.annotation_id))
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .join(Solution, Solution.solution_id == Annotation.solution_id)
        .where(
            name_like(Annotator.name, labeller),
            solution_in_source(source),
            Annotation.superseded_by_id.is_(None),
            Annotation.kind == kind,
        )
    )
    if kind == "preference":
        of_pair = (Preference.solution_a_id, Preference.solution_b_id)
        query = query.join(Preference, Preference.annotation_id == Annotation.annotation_id)
        return query.group_by(*of_pair).order_by(*of_pair)
    if kind == "critique":
        query = query.join(CritiqueJudgement, CritiqueJudgement.annotation_id == Annotation.annotation_id)
        return query.group_by(CritiqueJudgement.critique_id).order_by(CritiqueJudgement.critique_id)
    query = query.where(
        Annotation.segments.is_(sa.null()),
        sa.or_(Annotation.mode.is_(None), Annotation.mode != "alternatives"),
        sa.exists().where(StepLabel.annotation_id == Annotation.annotation_id),
    )
    return query.group_by(Annotation.solution_id).order_by(Annotation.solution_id)


def _step_answers(session: Session, drawn: list[int]) -> list[Known]:
    labels: dict[int, dict[int, int]] = {}
    solutions: dict[int, int] = {}
    for annotation_id, solution_id, index, label in session.execute(
        sa.select(Annotation.annotation_id, Annotation.solution_id, StepLabel.step_index, StepLabel.label)
        .join(StepLabel, StepLabel.annotation_id == Annotation.annotation_id)
        .where(Annotation.annotation_id.in_(drawn))
    ):
        solutions[annotation_id] = solution_id
        labels.setdefault(annotation_id, {})[index] = label
    return [
        Known(solutions[id_], {"labels": [labels[id_].get(index) for index in range(max(labels[id_]) + 1)]})
        for id_ in drawn
    ]


def _choices(session: Session, drawn: list[int]) -> list[Known]:
    rows = session.scalars(
        sa.select(Preference).where(Preference.annotation_id.in_(drawn)).order_by(Preference.annotation_id)
    )
    return [Known(row.solution_a_id, {"choice": row.choice}, other_solution_id=row.solution_b_id) for row in rows]


def _judgements(session: Session, drawn: list[int]) -> list[Known]:
    rows = session.execute(
        sa.select(CritiqueJudgement.critique_id, CritiqueJudgement.judgement, Annotation.solution_id)
        .join(Annotation, Annotation.annotation_id == CritiqueJudgement.annotation_id)
        .where(Annotation.annotation_id.in_(drawn))
        .order_by(Annotation.annotation_id)
    )
    return [
        Known(solution_id, {"judgement": judgement}, critique_id=critique_id)
        for critique_id, judgement, solution_id in rows
    ]
