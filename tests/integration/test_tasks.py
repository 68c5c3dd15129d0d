"""Tasks on both databases: claims under concurrency, leases, submissions, corrections, the queue."""

import dataclasses
import multiprocessing
from collections import Counter
from multiprocessing.context import BaseContext
from typing import Any

import pytest
import sqlalchemy as sa

from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.models import Annotation, Annotator, Claim, Event, Solution, Task
from db.queue import counts_for, progress, recently_answered
from db.tasks import (
    AddedTasks,
    ClaimedTask,
    SubmitAnswer,
    add_tasks,
    claim_tasks,
    heartbeat,
    release,
    submit,
)
from db.tasks.contents import ProjectFacts
from stepmark.errors import InputError, UserError
from stepmark.projects import ProjectSettings
from tests.labelling import answer_of, fill, stored_labels, work_through_the_queue


@pytest.fixture
def annotator_id(database: sa.Engine) -> int:
    return find_or_create_annotator(database, "annotator-1")


def expire(engine: sa.Engine) -> None:
    with writing(engine) as session:
        session.execute(sa.update(Claim).values(expires_at=Claim.claimed_at))


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    """Starts processes by forking one that has imported what they need: eight at once cost as much as one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.labelling"])
    return context


@pytest.mark.parametrize(("n_tasks", "n_wanted"), [(64, 1), (24, 3)])
def test_eight_processes_share_the_tasks_and_none_is_lost_or_given_too_often(
    database: sa.Engine, database_url: str, processes: Any, n_tasks: int, n_wanted: int
) -> None:
    fill(database, n_tasks)
    assert add_tasks(database, [(index + 1, 0.0) for index in range(n_tasks)], n_wanted=n_wanted).kept == n_tasks
    start, answered = processes.Barrier(8), processes.SimpleQueue()
    workers = [
        processes.Process(
            target=work_through_the_queue, args=(database_url, f"annotator-{number}", start, answered), daemon=True
        )
        for number in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
        worker.close()
    given: Counter[int] = Counter()
    for _ in range(8):
        ids = answered.get()
        assert len(ids) == len(set(ids))
        given.update(ids)
    answered.close()
    assert given == dict.fromkeys(range(1, n_tasks + 1), n_wanted)
    with reading(database) as session:
        claims = session.execute(sa.select(Claim.task_id, sa.func.count()).group_by(Claim.task_id)).all()
        assert {task: count for task, count in claims if count != n_wanted} == {}
        assert session.scalar(sa.select(sa.func.count()).select_from(Task).where(Task.is_open)) == 0
        assert session.scalar(sa.select(sa.func.count()).select_from(Annotation)) == n_tasks * n_wanted


def test_a_claim_brings_content_highest_priority_first_and_asking_again_brings_the_same(
    database: sa.Engine, annotator_id: int
) -> None:
    fill(database, 3)
    add_tasks(database, [(1, 0.0), (2, 5.0), (3, 1.0)], reason="random")
    tasks = claim_tasks(database, annotator_id)
    defaults = ProjectSettings()
    assert tasks[0] == ClaimedTask(
        task_id=2,
        token=tasks[0].token,
        kind="steps",
        mode="first_error",
        purpose="label",
        project=ProjectFacts(
            None, "good_neutral_bad", "error", "auto", True, defaults.min_ms_per_step, defaults.pair_reasons, True
        ),
        statement="Problem 1: what is 1 + 1 + 1?",
        reference_answer="3",
        source="sums/test",
        outcome=None,
        steps=("1 + 1 = 2", "2 + 1 = 3"),
        answer="3",
        solution_ids=(2,),
    )
    assert [task.task_id for task in tasks] == [2, 3]
    assert len({task.token for task in tasks}) == 2
    assert claim_tasks(database, annotator_id) == tasks
    other = find_or_create_annotator(database, "annotator-2")
    assert [task.task_id for task in claim_tasks(database, other)] == [1]
    assert claim_tasks(database, other, n=1, reason="uncertain") != []  # held already
    assert claim_tasks(database, find_or_create_annotator(database, "annotator-3"), reason="uncertain") == []


def test_an_answer_stores_labels_up_to_the_first_error_and_nothing_after_it(
    database: sa.Engine, annotator_id: int
) -> None:
    fill(database, 1)
    add_tasks(database, [(1, 0.0)])
    [task] = claim_tasks(database, annotator_id)
    answer = submit(
        database,
        answer_of(
            task,
            annotator_id,
            [0, -1, None],
            unsure=frozenset({1}),
            step_durations_ms=[800, 1500, None],
            duration_ms=2300,
            comment="carry lost",
            guideline="prm800k-1",
            extra={"implied_good": []},
        ),
    )
    assert answer == SubmitAnswer("stored", "", answer.annotation_id)
    with reading(database) as session:
        row = session.get_one(Annotation, answer.annotation_id)
        assert (row.kind, row.mode, row.finish_reason, row.first_error, row.comment, row.guideline) == (
            "steps",
            "first_error",
            "found_error",
            1,
            "carry lost",
            "prm800k-1",
        )
        assert (row.duration_ms, row.suggestion_shown, row.solution_id) == (2300, False, 1)
        assert session.get_one(Task, task.task_id).is_open is False
        assert session.scalars(sa.select(Event.kind).order_by(Event.event_id)).all() == ["claimed", "submitted"]
    assert stored_labels(database, answer.annotation_id) == [(0, 0, False, 800), (1, -1, True, 1500)]
    assert claim_tasks(database, annotator_id) == []


def test_the_same_submission_twice_is_stored_once(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 1)
    add_tasks(database, [(1, 0.0)])
    [task] = claim_tasks(database, annotator_id)
    submission = answer_of(task, annotator_id, [1, 1, 1])
    first = submit(database, submission)
    assert submit(database, submission) == SubmitAnswer("repeated", "", first.annotation_id)
    with reading(database) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Annotation)) == 1


def test_a_correction_supersedes_and_keeps_the_earlier_answer(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 1)
    add_tasks(database, [(1, 0.0)])
    [task] = claim_tasks(database, annotator_id)
    first = submit(database, answer_of(task, annotator_id, [1, 1, 1], submission_id="one"))
    refused = submit(database, answer_of(task, annotator_id, [1, -1, None], submission_id="two"))
    assert refused.status == "already_answered"
    second = submit(database, answer_of(task, annotator_id, [1, -1, None], submission_id="two", corrects="one"))
    assert second.status == "corrected"
    with reading(database) as session:
        rows = session.execute(
            sa.select(Annotation.submission_id, Annotation.task_id, Annotation.superseded_by_id).order_by(
                Annotation.annotation_id
            )
        ).all()
    assert [tuple(row) for row in rows] == [("one", task.task_id, second.annotation_id), ("two", task.task_id, None)]
    assert stored_labels(database, first.annotation_id) == [
        (0, 1, False, None),
        (1, 1, False, None),
        (2, 1, False, None),
    ]
    third = submit(
        database,
        answer_of(task, annotator_id, [None] * 3, submission_id="three", corrects="two", finish_reason="skipped"),
    )
    assert third.status == "corrected"
    other = find_or_create_annotator(database, "annotator-2")
    assert [open_again.task_id for open_again in claim_tasks(database, other)] == [task.task_id]


def test_a_skipped_task_goes_to_somebody_else_and_its_labels_are_set_aside(
    database: sa.Engine, annotator_id: int
) -> None:
    fill(database, 1)
    add_tasks(database, [(1, 0.0)])
    [task] = claim_tasks(database, annotator_id)
    answer = submit(database, answer_of(task, annotator_id, [1, None, None], finish_reason="skipped", comment="late"))
    assert stored_labels(database, answer.annotation_id) == []
    with reading(database) as session:
        assert session.get_one(Annotation, answer.annotation_id).extra == {"labels_set_aside": [1, None, None]}
    assert claim_tasks(database, annotator_id) == []
    other = find_or_create_annotator(database, "annotator-2")
    assert [again.task_id for again in claim_tasks(database, other)] == [task.task_id]


def test_an_expired_lease_is_free_again_and_is_refused_only_when_somebody_took_it(
    database: sa.Engine, annotator_id: int
) -> None:
    fill(database, 2)
    add_tasks(database, [(1, 1.0), (2, 0.0)])
    mine = claim_tasks(database, annotator_id)
    other = find_or_create_annotator(database, "annotator-2")
    assert claim_tasks(database, other) == []
    expire(database)
    assert heartbeat(database, annotator_id, {task.task_id: task.token for task in mine}) == set()
    [theirs] = claim_tasks(database, other, n=1)
    assert (theirs.task_id, theirs.token == mine[0].token) == (1, False)
    assert submit(database, answer_of(mine[0], annotator_id, [1, 1, 1])).status == "lease_lost"
    assert submit(database, answer_of(mine[1], annotator_id, [1, 1, 1])).status == "stored"
    assert submit(database, answer_of(theirs, other, [1, 1, 1])).status == "stored"
    assert claim_tasks(database, annotator_id) == []


def test_a_renewed_lease_keeps_its_token_so_that_work_begun_still_counts(
    database: sa.Engine, annotator_id: int
) -> None:
    fill(database, 2)
    add_tasks(database, [(1, 1.0), (2, 0.0)])
    before = claim_tasks(database, annotator_id)
    expire(database)
    assert claim_tasks(database, annotator_id) == before
    tokens = {task.task_id: task.token for task in before}
    assert heartbeat(database, annotator_id, tokens) == {1, 2}
    assert heartbeat(database, annotator_id, {1: "0" * 32}) == set()
    assert release(database, annotator_id, {1: tokens[1]}) == {1}
    assert heartbeat(database, annotator_id, tokens) == {2}
    assert release(database, annotator_id) == {2}


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"token": "0" * 32}, "wrong_token", "task 1 is not leased to you under this token"),
        ({"task_id": 99}, "unknown_task", "there is no task 99"),
        ({"labels": [1, 1]}, "invalid", "there are 2 labels for 3 segments"),
        ({"labels": [1, 2, 1]}, "invalid", "segment 1 has label 2; labels are 1, 0, -1 or none"),
        ({"labels": [1, None, 1]}, "invalid", "segment 1 has no label"),
        (
            {"finish_reason": "found_error"},
            "invalid",
            "finish reason 'found_error' does not go with labels without an error",
        ),
        (
            {"labels": [-1, 1, 1], "finish_reason": "found_error"},
            "invalid",
            "segment 1 is labelled, after the first error 0: in first_error mode what follows stays unlabelled",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_stored(
    database: sa.Engine, annotator_id: int, changes: dict[str, object], status: str, message: str
) -> None:
    fill(database, 1)
    add_tasks(database, [(1, 0.0)])
    [task] = claim_tasks(database, annotator_id)
    refused = submit(database, dataclasses.replace(answer_of(task, annotator_id, [1, 1, 1]), **changes))
    assert (refused.status, refused.message, refused.annotation_id) == (status, message, None)
    with reading(database) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Annotation)) == 0


def test_in_all_steps_mode_labels_go_on_after_the_first_error(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 1)
    add_tasks(database, [(1, 0.0)], mode="all_steps")
    [task] = claim_tasks(database, annotator_id)
    answer = submit(database, answer_of(task, annotator_id, [-1, 0, -1]))
    assert [label for _, label, _, _ in stored_labels(database, answer.annotation_id)] == [-1, 0, -1]


def test_adding_counts_what_it_leaves_out(database: sa.Engine) -> None:
    fill(database, 2)
    with writing(database) as session:
        session.execute(sa.update(Solution).where(Solution.solution_id == 2).values(steps=[]))
    assert add_tasks(database, [(1, 0.0)]) == AddedTasks(1, 1, {})
    assert add_tasks(database, [(1, 0.0), (2, 0.0), (9, 0.0)]) == AddedTasks(
        3, 0, {"already queued": 1, "no steps": 1, "no such solution": 1}
    )
    assert add_tasks(database, [(1, 0.0)], mode="all_steps") == AddedTasks(1, 1, {})
    with pytest.raises(InputError, match="mode 'guess' cannot be labelled"):
        add_tasks(database, [(1, 0.0)], mode="guess")


def test_progress_counts_a_corrected_answer_once(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 3)
    add_tasks(database, [(1, 2.0), (2, 1.0), (3, 0.0)])
    first, second = claim_tasks(database, annotator_id)
    submit(database, answer_of(first, annotator_id, [1, 1, 1], submission_id="one", duration_ms=4000))
    submit(
        database,
        answer_of(
            first,
            annotator_id,
            [1, -1, None],
            submission_id="two",
            corrects="one",
            unsure=frozenset({0}),
            duration_ms=6000,
        ),
    )
    submit(database, answer_of(second, annotator_id, [None] * 3, finish_reason="bad_problem"))
    found = progress(database, annotator_id)
    assert (found.n_answered, found.by_reason, found.by_label, found.n_unsure, found.median_s, found.n_left) == (
        2,
        {"found_error": 1, "bad_problem": 1},
        {1: 1, -1: 1},
        1,
        6.0,
        1,
    )
    assert counts_for(database, annotator_id) == (2, 1)
    assert [
        (row.task_id, row.finish_reason, row.first_error) for row in recently_answered(database, annotator_id)
    ] == [
        (second.task_id, "bad_problem", None),
        (first.task_id, "found_error", 1),
    ]


def test_an_annotator_is_made_once_and_models_are_not_taken_for_people(database: sa.Engine) -> None:
    made = find_or_create_annotator(database, "annotator-1")
    assert find_or_create_annotator(database, " annotator-1 ") == made
    with writing(database) as session:
        session.add(Annotator(name="judge-7b", kind="model"))
    with pytest.raises(UserError, match="'judge-7b' is a model, not a person"):
        find_or_create_annotator(database, "judge-7b")
