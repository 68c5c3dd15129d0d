"""Who gets which task: projects and members, silent gold, repeats, entry tests, pauses, practice, tasks sent back."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from annotator.practice import built_in_tasks, practice_for
from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.models import Annotation, Event, KnownAnswer, Note, Problem, Solution, Task
from db.selection import is_flagged
from db.tasks import ClaimedTask, SubmitAnswer, add_tasks, claim_tasks, gold_score, pools_of, practice_task, submit
from tests.labelling import (
    add_project,
    annotation,
    answer_of,
    event_kinds,
    fill,
    make_known,
    member_state,
    set_member,
)

GOOD = [1, 1, 1]


@pytest.fixture
def annotator_id(database: sa.Engine) -> int:
    return find_or_create_annotator(database, "annotator-1")


def work(
    engine: sa.Engine, annotator_id: int, n: int, *, labels: Sequence[int | None] = GOOD, **filters: Any
) -> Iterator[tuple[ClaimedTask, SubmitAnswer]]:
    """Claims and answers up to `n` tasks, one after the other."""
    for _ in range(n):
        tasks = claim_tasks(engine, annotator_id, n=1, **filters)
        if not tasks:
            return
        yield tasks[0], submit(engine, answer_of(tasks[0], annotator_id, labels, duration_ms=60_000))


def purposes(engine: sa.Engine, tasks: Sequence[ClaimedTask]) -> list[str]:
    with reading(engine) as session:
        return [session.get_one(Task, task.task_id).purpose for task in tasks]


def test_tasks_come_from_open_projects_that_a_person_may_work_in(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 4)
    everyone = add_project(database, "everyone")
    members = add_project(database, "members", access="members")
    closed = add_project(database, "closed", is_open=False)
    for solution_id, project_id in enumerate((everyone, members, closed, None), start=1):
        add_tasks(database, [(solution_id, float(-solution_id))], project_id=project_id)
    assert [task.project.name for task in claim_tasks(database, annotator_id, n=9)] == ["everyone", None]
    set_member(database, members, annotator_id, "active")
    assert [task.project.name for task in claim_tasks(database, annotator_id, n=9)] == ["everyone", None, "members"]
    [task] = claim_tasks(database, annotator_id, n=9, project_id=members)
    assert task.project.name == "members"
    assert claim_tasks(database, annotator_id, n=9, project_id=closed) == []
    set_member(database, members, annotator_id, "paused", "Talk to us first.")
    assert [task.project.name for task in claim_tasks(database, annotator_id, n=9)] == ["everyone", None]
    with reading(database) as session:
        states = [(pool.name, pool.state, pool.reason) for pool in pools_of(session, annotator_id)]
    assert states == [
        (None, "active", None),
        ("everyone", "active", None),
        ("members", "paused", "You are paused in project 'members': Talk to us first."),
    ]
    # Work that was in hand when the pause came still counts.
    assert submit(database, answer_of(task, annotator_id, GOOD)).status == "stored"


def test_an_assigned_task_comes_first_and_to_nobody_else(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 3)
    add_tasks(database, [(1, 2.0), (2, 1.0), (3, 0.0)])
    other = find_or_create_annotator(database, "annotator-2")
    with writing(database) as session:
        session.execute(sa.update(Task).where(Task.solution_id == 3).values(assigned_to_id=annotator_id))
    assert [task.solution_ids for task in claim_tasks(database, other, n=9)] == [(1,), (2,)]
    assert [task.solution_ids for task in claim_tasks(database, annotator_id, n=9)] == [(3,)]


def test_gold_comes_silently_for_its_share_to_everybody_and_never_fills_up(
    database: sa.Engine, annotator_id: int
) -> None:
    fill(database, 60)
    project_id = add_project(database, settings={"gold_share": 0.2})
    add_tasks(database, [(index, 0.0) for index in range(1, 41)], project_id=project_id, n_wanted=2)
    gold = make_known(database, range(41, 61), GOOD, project_id=project_id, purpose="gold")
    for me in (annotator_id, find_or_create_annotator(database, "annotator-2")):
        done = [task for task, _ in work(database, me, 30)]
        assert {task.purpose for task in done} == {"label"}
        assert all(task.known is None for task in done)
        found = purposes(database, done)
        assert abs(found.count("gold") - 6) <= 1
        with reading(database) as session:
            assert gold_score(session, project_id, me) == (found.count("gold"), found.count("gold"))
    with reading(database) as session:
        assert session.scalar(sa.select(sa.func.count()).where(Task.task_id.in_(gold), Task.is_open)) == 20
    rest = [task for task, _ in work(database, annotator_id, 60)]
    assert purposes(database, rest)[-1] == "label"  # where no other task is left, gold does not come either
    assert claim_tasks(database, annotator_id) == []


def test_wrong_answers_to_gold_pause_from_the_tenth_on(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 40)
    project_id = add_project(database, settings={"gold_share": 1.0, "pause_below": 0.9})
    add_tasks(database, [(index, 0.0) for index in range(1, 11)], project_id=project_id)
    make_known(database, range(11, 41), [1, -1, None], project_id=project_id, purpose="gold")
    told = [answer.paused for _, answer in work(database, annotator_id, 30)]
    reason = (
        "Of 10 tasks of project 'sums' whose answer is known, you got 0 right. "
        "Read the guidelines again, and talk to whoever leads the project."
    )
    assert told == [None] * 9 + [reason]
    assert member_state(database, project_id, annotator_id) == ("paused", reason)
    assert event_kinds(database) == ["gold_answered"] * 10 + ["paused"]
    with reading(database) as session:
        checks = session.scalars(sa.select(Annotation.checks)).all()
    assert checks == [["missed_known_answer"]] * 10
    set_member(database, project_id, annotator_id, "active")
    assert [answer.paused for _, answer in work(database, annotator_id, 9)] == [None] * 9  # a fresh start
    assert next(work(database, annotator_id, 1))[1].paused is not None


@pytest.mark.parametrize(("labels", "passes"), [(GOOD, True), ([-1, None, None], False)])
def test_an_entry_test_opens_the_project_or_ends_in_a_pause(
    database: sa.Engine, annotator_id: int, labels: list[int | None], passes: bool
) -> None:
    fill(database, 4)
    project_id = add_project(database, settings={"n_entry_tasks": 2, "gold_share": 0.0})
    add_tasks(database, [(4, 0.0)], project_id=project_id)
    [first] = make_known(database, [1], GOOD, project_id=project_id, purpose="entry")
    assert claim_tasks(database, annotator_id) == []
    with reading(database) as session:
        [_, pool] = pools_of(session, annotator_id)
    assert (pool.state, pool.reason) == (
        "testing",
        "The entry test of project 'sums' has 1 of 2 tasks; whoever leads it must add the others first.",
    )
    make_known(database, [2, 3], GOOD, project_id=project_id, purpose="entry")
    done = list(work(database, annotator_id, 9, labels=labels))
    assert [task.task_id for task, _ in done][:1] == [first]
    assert [task.purpose for task, _ in done] == ["entry", "entry"] + ["label"] * passes
    if passes:
        assert member_state(database, project_id, annotator_id) == ("active", None)
        assert event_kinds(database) == ["entry_passed"]
    else:
        reason = (
            "You got 0 of the 2 tasks of the entry test of project 'sums' right; 80% are needed. "
            "Talk to whoever leads the project."
        )
        assert done[-1][1].paused == reason
        assert member_state(database, project_id, annotator_id) == ("paused", reason)
        assert event_kinds(database) == ["entry_failed"]


def test_a_task_comes_again_after_twenty_others_for_the_share_of_repeats(
    database: sa.Engine, annotator_id: int
) -> None:
    fill(database, 40)
    project_id = add_project(database, settings={"gold_share": 0.0, "repeat_share": 0.25})
    add_tasks(database, [(index, 0.0) for index in range(1, 41)], project_id=project_id)
    done = [task for task, _ in work(database, annotator_id, 40)]
    found = purposes(database, done)
    assert "repeat" not in found[:20]
    assert abs(found[20:].count("repeat") - 5) <= 1
    assert {task.purpose for task in done} == {"label"}
    solutions = [task.solution_ids for task in done]
    for place, purpose in enumerate(found):
        if purpose == "repeat":
            assert place - solutions.index(solutions[place]) > 20
    assert max(Counter(solutions).values()) == 2
    with reading(database) as session:
        assert session.scalar(sa.select(sa.func.count()).where(Task.purpose == "repeat", Task.is_open)) == 0
        assert all(checks is None for checks in session.scalars(sa.select(Annotation.checks)))


def test_new_tasks_come_by_rule_as_the_mix_says(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 40)
    project_id = add_project(database, settings={"mix": {"random": 0.25, "convincing wrong": 0.75}})
    for rule, first, priority in (("random", 1, 0.0), ("convincing wrong", 21, 0.9)):
        wanted = [(index, priority) for index in range(first, first + 20)]
        add_tasks(database, wanted, project_id=project_id, reason=rule)
    done = [task for task, _ in work(database, annotator_id, 20)]
    with reading(database) as session:
        rules = [session.get_one(Task, task.task_id).reason for task in done]
    for n in range(1, 21):
        assert abs(rules[:n].count("random") - n / 4) <= 1
    assert len(list(work(database, annotator_id, 99))) == 20  # a rule that has run out holds up nothing


def test_odd_answers_are_marked(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 1)
    with writing(database) as session:
        session.execute(sa.update(Solution).values(outcome=False))
    add_tasks(database, [(1, 0.0)])
    add_tasks(database, [(1, 0.0)], mode="all_steps")
    first, second = claim_tasks(database, annotator_id)
    marked = submit(database, answer_of(first, annotator_id, GOOD, duration_ms=2099))
    assert annotation(database, marked.annotation_id).checks == ["too_fast", "all_good_but_wrong"]
    marked = submit(database, answer_of(second, annotator_id, [1, -1, -1], duration_ms=2100))
    assert annotation(database, marked.annotation_id).checks == ["contradicts_own_earlier"]
    with reading(database) as session:
        data = session.scalars(sa.select(Event.data).where(Event.kind == "submitted").order_by(Event.event_id)).all()
    assert [row and row.get("checks") for row in data] == [
        ["too_fast", "all_good_but_wrong"],
        ["contradicts_own_earlier"],
    ]


def test_a_task_sent_back_comes_first_with_the_reviewers_words_and_is_answered_again(
    database: sa.Engine, annotator_id: int
) -> None:
    fill(database, 2)
    add_tasks(database, [(1, 1.0), (2, 0.0)])
    [(task, first)] = list(work(database, annotator_id, 1))
    with writing(database) as session:
        session.add(
            Note(
                kind="sent_back",
                annotator_id=annotator_id,
                author_id=annotator_id,
                task_id=task.task_id,
                text="Look!",
            )
        )
    again, other = claim_tasks(database, annotator_id)
    assert (again.task_id, again.note, again.token == task.token) == (task.task_id, "Look!", True)
    assert other.note is None
    second = submit(database, answer_of(again, annotator_id, [-1, None, None], submission_id="again"))
    assert second.status == "corrected"
    assert annotation(database, first.annotation_id).superseded_by_id == second.annotation_id
    assert [task.task_id for task in claim_tasks(database, annotator_id)] == [other.task_id]


def test_practice_takes_the_projects_tasks_then_answered_gold_and_leaves_the_gold_answer_alone(
    database: sa.Engine, annotator_id: int
) -> None:
    fill(database, 3)
    project_id = add_project(database)
    [gold] = make_known(database, [1], GOOD, project_id=project_id, purpose="gold")
    assert practice_task(database, annotator_id, project_id=project_id) is None
    with writing(database) as session:
        session.add(
            Annotation(
                submission_id="g",
                kind="steps",
                annotator_id=annotator_id,
                task_id=gold,
                solution_id=1,
                finish_reason="solution",
            )
        )
    task = practice_task(database, annotator_id, project_id=project_id)
    assert task is not None
    assert task.task_id != gold
    assert task.known is not None
    assert (task.purpose, task.known.answer, task.known.note) == ("practice", {"labels": GOOD}, "why")
    for number in range(2):  # as often as one likes
        answer = submit(
            database, answer_of(task, annotator_id, [-1, None, None], submission_id=f"p-{number}", duration_ms=60_000)
        )
        assert annotation(database, answer.annotation_id).checks == ["missed_known_answer"]
        assert practice_task(database, annotator_id, project_id=project_id) == task
    [own] = make_known(database, [2], GOOD, project_id=project_id, purpose="practice")
    found = practice_task(database, annotator_id, project_id=project_id)
    assert found is not None
    assert found.task_id == own
    assert claim_tasks(database, annotator_id) == []


def test_the_app_comes_with_practice_of_every_kind_which_nothing_else_uses(
    database: sa.Engine, annotator_id: int
) -> None:
    seen = []
    for _ in range(7):
        task = practice_for(database, annotator_id)
        assert practice_for(database, annotator_id) == task  # until it is answered
        assert task.known is not None
        seen.append(task.task_id)
        labels = task.known.answer["labels"]
        answer = submit(
            database, answer_of(task, annotator_id, labels, submission_id=f"p-{len(seen)}", duration_ms=60_000)
        )
        assert annotation(database, answer.annotation_id).checks is None
    assert len(set(seen[:6])) == 6
    assert seen[6] == seen[0]
    with reading(database) as session:
        assert (
            session.scalar(sa.select(sa.func.count()).select_from(Problem).where(~is_flagged(Problem.problem_id)))
            == 0
        )
        n_stored = session.scalar(sa.select(sa.func.count()).select_from(KnownAnswer))
    assert n_stored == sum(item.kind == "steps" for item in built_in_tasks())
    assert claim_tasks(database, annotator_id) == []
