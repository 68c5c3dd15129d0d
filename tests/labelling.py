"""What tests of the labelling queue share: small databases of sums, and answers to tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from db.annotators import find_or_create_annotator
from db.connect import open_database, reading, writing
from db.models import (
    Annotation,
    Event,
    KnownAnswer,
    Membership,
    Problem,
    ProblemSource,
    Project,
    Run,
    Solution,
    StepLabel,
    Task,
)
from db.tasks import ClaimedTask, PairAnswer, Submission, claim_tasks, submit


def fill(
    engine: sa.Engine,
    n: int,
    *,
    steps: Sequence[str] = ("1 + 1 = 2", "2 + 1 = 3"),
    answer: str | None = "3",
    n_each: int = 1,
) -> None:
    """Makes `n` problems with `n_each` solutions each, whose texts differ; ids count from 1."""
    with writing(engine) as session:
        for index in range(n):
            problem = Problem(
                statement_hash=f"{index:032x}",
                family=f"{index:032x}",
                statement=f"Problem {index}: what is 1 + 1 + 1?",
                reference_answer="3",
            )
            session.add(problem)
            session.flush()
            session.add(ProblemSource(problem_id=problem.problem_id, source="sums/test", source_key=str(index)))
            for number in range(index * n_each, (index + 1) * n_each):
                session.add(
                    Solution(
                        problem_id=problem.problem_id,
                        source="sums/model",
                        source_key=str(number),
                        text="\n".join(steps),
                        text_hash=f"{number:032x}",
                        steps=list(steps),
                        answer=answer,
                    )
                )
                session.flush()


def answer_of(task: ClaimedTask, annotator_id: int, labels: Sequence[int | None] = (), **changes: Any) -> Submission:
    fields: dict[str, Any] = {
        "submission_id": f"s-{task.task_id}-{annotator_id}",
        "task_id": task.task_id,
        "annotator_id": annotator_id,
        "token": task.token,
        "finish_reason": "found_error" if -1 in labels else "solution",
        "labels": labels,
    }
    return Submission(**{**fields, **changes})


def answered(engine: sa.Engine, project_id: int, said: Mapping[int, Sequence[Any]]) -> None:
    """Annotators 1, 2, ... answer the tasks of a project; `said` has what each says, by task, in their order.

    Of a pair that is a choice, of a critique an answer, of steps their labels.
    """
    for number in range(max(map(len, said.values()))):
        name = f"annotator-{number + 1}"
        me = find_or_create_annotator(engine, name)
        for _ in said:
            [task] = claim_tasks(engine, me, n=1, project_id=project_id)
            mine = said[task.task_id][number]
            labels = mine if task.kind == "steps" else ()
            fields: dict[str, Any] = {"critique": mine} if task.kind == "critique" else {}
            if task.kind == "preference":
                on_screen = {task.order[0]: "first", task.order[1]: "second"} if task.order else {}
                strength = 2 if mine in ("a", "b") else None
                fields = {"pair": PairAnswer(on_screen.get(mine, mine), strength, ("clear",))}
            assert submit(engine, answer_of(task, me, labels, comment=f"by {name}", **fields)).status == "stored"


def stored_labels(engine: sa.Engine, annotation_id: int | None) -> list[tuple[int, int, bool, int | None]]:
    with reading(engine) as session:
        return [
            (row.step_index, row.label, row.is_unsure, row.duration_ms)
            for row in session.scalars(
                sa.select(StepLabel).where(StepLabel.annotation_id == annotation_id).order_by(StepLabel.step_index)
            )
        ]


def annotation(engine: sa.Engine, annotation_id: int | None) -> Annotation:
    with reading(engine) as session:
        row = session.get_one(Annotation, annotation_id)
        session.expunge(row)
        return row


def below(engine: sa.Engine, model: Any, annotation_id: int | None) -> list[dict[str, Any]]:
    """Rows that hang below an annotation, without its id."""
    names = [column.key for column in sa.inspect(model).columns if column.key != "annotation_id"]
    with reading(engine) as session:
        rows = session.scalars(sa.select(model).where(model.annotation_id == annotation_id))
        return [{name: getattr(row, name) for name in names} for row in rows]


def add_project(engine: sa.Engine, name: str = "sums", **fields: Any) -> int:
    with writing(engine) as session:
        project = Project(name=name, **{"kind": "steps", "settings": {}, **fields})
        session.add(project)
        session.flush()
        return project.project_id


def add_run(engine: sa.Engine, kind: str) -> int:
    with writing(engine) as session:
        run = Run(run_key="0" * 32, kind=kind, engine="openai", model="model", record={})
        session.add(run)
        session.flush()
        return run.run_id


def set_member(engine: sa.Engine, project_id: int, annotator_id: int, state: str, reason: str | None = None) -> None:
    with writing(engine) as session:
        session.merge(Membership(project_id=project_id, annotator_id=annotator_id, state=state, reason=reason))


def member_state(engine: sa.Engine, project_id: int, annotator_id: int) -> tuple[str, str | None] | None:
    with reading(engine) as session:
        row = session.get(Membership, (project_id, annotator_id))
        return None if row is None else (row.state, row.reason)


def make_known(
    engine: sa.Engine,
    solution_ids: Sequence[int],
    labels: Sequence[int | None],
    *,
    project_id: int | None,
    purpose: str,
) -> list[int]:
    """Adds tasks with a known answer."""
    with writing(engine) as session:
        tasks = [
            Task(kind="steps", solution_id=id_, project_id=project_id, purpose=purpose, reason=purpose)
            for id_ in solution_ids
        ]
        session.add_all(tasks)
        session.flush()
        session.add_all(
            KnownAnswer(task_id=task.task_id, answer={"labels": list(labels)}, note="why") for task in tasks
        )
        return [task.task_id for task in tasks]


def event_kinds(engine: sa.Engine, *, but: Sequence[str] = ("claimed", "submitted", "corrected")) -> list[str]:
    with reading(engine) as session:
        kinds = session.scalars(sa.select(Event.kind).order_by(Event.event_id))
        return [kind for kind in kinds if kind not in but]


def work_through_the_queue(url: str, name: str, start: Any, answered: Any) -> None:
    """One of many processes: claims and answers tasks until there is none, and puts their ids into `answered`."""
    engine = open_database(url)
    me = find_or_create_annotator(engine, name)
    start.wait(60)
    done: list[int] = []
    misses = 0
    while misses < 3:
        tasks = claim_tasks(engine, me, n=2)
        misses = 0 if tasks else misses + 1
        for task in tasks[:1]:
            answer = submit(engine, answer_of(task, me, (1, 0, 1)))
            assert answer.status == "stored", answer
            done.append(task.task_id)
    engine.dispose()
    answered.put(done)
