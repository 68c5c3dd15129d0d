"""Tasks on both databases: claims under concurrency, leases, submissions, corrections, the queue."""

import dataclasses
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.models import Annotation, Annotator, Claim, Event, Problem, ProblemSource, Score, Solution, StepLabel, Task
from db.queue import counts_for, progress, queue_solutions, queue_state, recently_answered
from db.tasks import (
    AddedTasks,
    ClaimedTask,
    Submission,
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

ROOT = Path(__file__).parents[2]


def fill(
    engine: sa.Engine, n: int, *, steps: Sequence[str] = ("1 + 1 = 2", "2 + 1 = 3"), answer: str | None = "3"
) -> None:
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
            session.add(
                Solution(
                    problem_id=problem.problem_id,
                    source="sums/model",
                    source_key=str(index),
                    text="\n".join(steps),
                    text_hash=f"{index:032x}",
                    steps=list(steps),
                    answer=answer,
                )
            )


@pytest.fixture
def annotator_id(database: sa.Engine) -> int:
    return find_or_create_annotator(database, "annotator-1")


def answer_of(task: ClaimedTask, annotator_id: int, labels: Sequence[int | None], **changes: object) -> Submission:
    fields: dict[str, object] = {
        "submission_id": f"s-{task.task_id}-{annotator_id}",
        "task_id": task.task_id,
        "annotator_id": annotator_id,
        "token": task.token,
        "finish_reason": "found_error" if -1 in labels else "solution",
        "labels": labels,
    }
    return Submission(**{**fields, **changes})  # type: ignore[arg-type]


def stored_labels(engine: sa.Engine, annotation_id: int | None) -> list[tuple[int, int, bool, int | None]]:
    with reading(engine) as session:
        return [
            (row.step_index, row.label, row.is_unsure, row.duration_ms)
            for row in session.scalars(
                sa.select(StepLabel).where(StepLabel.annotation_id == annotation_id).order_by(StepLabel.step_index)
            )
        ]


def expire(engine: sa.Engine) -> None:
    with writing(engine) as session:
        session.execute(sa.update(Claim).values(expires_at=Claim.claimed_at))


WORKER = """
import json, sys
from db.annotators import find_or_create_annotator
from db.connect import open_database
from db.tasks import Submission, claim_tasks, submit
engine = open_database(sys.argv[1])
me = find_or_create_annotator(engine, sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
answered = []
misses = 0
while misses < 3:
    tasks = claim_tasks(engine, me, n=2)
    misses = 0 if tasks else misses + 1
    for task in tasks[:1]:
        work = Submission(f"{me}-{task.task_id}", task.task_id, me, task.token, "solution", (1, 0, 1))
        answer = submit(engine, work)
        assert answer.status == "stored", answer
        answered.append(task.task_id)
print(json.dumps(answered))
"""


@pytest.mark.parametrize(("n_tasks", "n_wanted"), [(100, 1), (30, 3)])
def test_eight_processes_share_the_tasks_and_none_is_lost_or_given_too_often(
    database: sa.Engine, database_url: str, n_tasks: int, n_wanted: int
) -> None:
    fill(database, n_tasks)
    assert add_tasks(database, [(index + 1, 0.0) for index in range(n_tasks)], n_wanted=n_wanted).kept == n_tasks
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, database_url, f"annotator-{number}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    given: Counter[int] = Counter()
    for worker in workers:
        out, _ = worker.communicate(timeout=120)
        assert worker.returncode == 0
        answered = json.loads(out)
        assert len(answered) == len(set(answered))
        given.update(answered)
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


def test_the_queue_is_filled_by_source_at_random_and_repeatably(database: sa.Engine) -> None:
    fill(database, 20)
    assert queue_solutions(database, source="sums/*", limit=5, seed=7) == AddedTasks(5, 5, {})
    with reading(database) as session:
        first = session.scalars(sa.select(Task.solution_id).order_by(Task.task_id)).all()
    assert len(set(first)) == 5
    assert list(first) != sorted(first)
    with writing(database) as session:
        session.execute(sa.delete(Task))
    queue_solutions(database, source="sums/model", limit=5, seed=7)
    with reading(database) as session:
        assert session.scalars(sa.select(Task.solution_id).order_by(Task.task_id)).all() == first
    queue_solutions(database, limit=100, seed=7)
    states = [
        (state.reason, state.mode, state.n_open, state.n_closed, state.n_leased) for state in queue_state(database)
    ]
    assert states == [("random", "first_error", 20, 0, 0)]
    with pytest.raises(InputError, match=r"no source is named like 'math\*'; there are: sums/model, sums/test"):
        queue_solutions(database, source="math*")


def test_uncertain_solutions_come_first_by_the_newest_score(database: sa.Engine) -> None:
    fill(database, 4)
    with pytest.raises(InputError, match="no solution has a PRM score"):
        queue_solutions(database, order="uncertain")
    with writing(database) as session:
        for solution_id, model, value in [(1, "old", 0.5), (1, "new", 1.0), (2, "new", 0.375), (3, "new", 0.875)]:
            session.add(Score(solution_id=solution_id, reward_model=model, kind="prm", value=value))
            session.flush()
    assert queue_solutions(database, order="uncertain").kept == 3
    with reading(database) as session:
        rows = session.execute(sa.select(Task.solution_id, Task.priority).order_by(Task.priority.desc())).all()
    assert [tuple(row) for row in rows] == [(2, 0.75), (3, 0.25), (1, 0.0)]


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
