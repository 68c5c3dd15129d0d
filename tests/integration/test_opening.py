"""Opening a task of one's choice: it comes first for whoever opens it, and nobody loses theirs by it."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.models import Task
from db.notes import send_back
from db.tasks import PairAnswer, Wanted, add_tasks, claim_tasks, open_solution, open_task, submit
from stepmark.errors import InputError
from tests.labelling import add_project, answer_of, fill, make_known, set_member

GOOD = (1, 1, 1)


@pytest.fixture
def people(database: sa.Engine) -> tuple[int, int]:
    """Two people, five solutions; the first three are tasks, two of which the first person holds."""
    fill(database, 5)
    me, other = (find_or_create_annotator(database, f"annotator-{number}") for number in (1, 2))
    add_tasks(database, [(1, 0.0), (2, 0.0), (3, 0.0)])
    assert [task.task_id for task in claim_tasks(database, me)] == [1, 2]
    return me, other


def in_hand(engine: sa.Engine, me: int, **options: Any) -> list[int]:
    return [task.task_id for task in claim_tasks(engine, me, **options)]


def test_a_solution_without_a_task_becomes_one_of_the_own_and_stands_before_what_is_held(
    database: sa.Engine, people: tuple[int, int]
) -> None:
    me, other = people
    task_id = open_solution(database, me, 5, mode="all_steps")
    assert task_id == 4
    assert open_solution(database, me, 5, mode="all_steps") == 4
    assert in_hand(database, me, first=4) == [4, 1]
    assert in_hand(database, me) == [1, 2]
    assert in_hand(database, other, n=9) == [3]
    with reading(database) as session:
        row = session.get_one(Task, 4)
        assert (row.mode, row.assigned_to_id, row.n_wanted, row.reason) == ("all_steps", me, 1, "by hand")
    [opened, _] = claim_tasks(database, me, first=4)
    assert submit(database, answer_of(opened, me, GOOD)).status == "stored"
    assert in_hand(database, me, first=4) == [1, 2]


def test_a_task_that_waits_is_taken_and_one_that_others_have_is_not(
    database: sa.Engine, people: tuple[int, int]
) -> None:
    me, other = people
    assert open_solution(database, me, 3) == 3
    assert in_hand(database, me, first=3) == [3, 1]
    assert in_hand(database, other) == []
    with pytest.raises(InputError, match="task 3 is in other people's hands"):
        open_solution(database, other, 3)
    with writing(database) as session:
        session.get_one(Task, 3).n_wanted = 2
    assert open_task(database, other, 3) is None
    for person in (me, other):
        task = claim_tasks(database, person, n=1, first=3)[0]
        assert submit(database, answer_of(task, person, GOOD)).status == "stored"
    third = find_or_create_annotator(database, "annotator-3")
    with pytest.raises(InputError, match="task 3 is done: it has the 2 answers that it wants"):
        open_solution(database, third, 3)
    with pytest.raises(InputError, match="you have answered task 3"):
        open_task(database, me, 3)
    send_back(database, task_id=3, annotator_ids=[me], author_id=other, text="again")
    open_task(database, me, 3)
    assert in_hand(database, me, first=1) == [1, 3]


def test_a_pair_is_opened_by_its_number(database: sa.Engine) -> None:
    fill(database, 1, n_each=2)
    me = find_or_create_annotator(database, "annotator-1")
    project_id = add_project(database, kind="preference", settings={"gold_share": 0})
    add_tasks(database, [Wanted(1, other_solution_id=2)], project_id=project_id)
    assert open_task(database, me, 1) == project_id
    [task] = claim_tasks(database, me, first=1)
    assert submit(database, answer_of(task, me, pair=PairAnswer("equal"))).status == "stored"


def test_what_cannot_be_opened_is_refused_with_the_reason(database: sa.Engine, people: tuple[int, int]) -> None:
    me, other = people
    closed = add_project(database, "closed", is_open=False)
    members = add_project(database, "members", access="members")
    paused = add_project(database, "paused")
    testing = add_project(database, "testing", settings={"n_entry_tasks": 1})
    set_member(database, paused, me, "paused", "let us talk")
    [gold] = make_known(database, [1], [1], project_id=None, purpose="gold")
    with writing(database) as session:
        session.get_one(Task, 3).assigned_to_id = other
    for call, message in (
        (lambda: open_task(database, me, 99), "there is no task 99"),
        (lambda: open_task(database, me, gold), "is there for gold; such tasks come by themselves"),
        (lambda: open_task(database, me, 3), "task 3 is assigned to somebody else"),
        (lambda: open_solution(database, me, 99), "solution 99 cannot be labelled: no such solution"),
        (lambda: open_solution(database, me, 4, mode="alternatives"), "mode 'alternatives' cannot be opened"),
        (lambda: open_solution(database, me, 4, project_id=99), "there is no project 99"),
        (lambda: open_solution(database, me, 4, project_id=closed), "project 'closed' can be opened: it is closed"),
        (lambda: open_solution(database, me, 4, project_id=members), "'members' can be opened: you are no member"),
        (lambda: open_solution(database, me, 4, project_id=paused), "You are paused in project 'paused'"),
        (lambda: open_solution(database, me, 4, project_id=testing), "'testing' has an entry test"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    with reading(database) as session:
        assert session.scalar(sa.select(sa.func.count()).where(Task.solution_id == 4)) == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_who_open_the_same_at_once_get_one_task_between_them(database: sa.Engine) -> None:
    fill(database, 1)
    people = [find_or_create_annotator(database, f"annotator-{number}") for number in range(6)]
    start = threading.Barrier(len(people))
    said: list[str] = []

    def run(person: int) -> None:
        start.wait()
        try:
            said.append(f"task {open_solution(database, person, 1)}")
        except InputError as err:
            said.append(str(err))

    threads = [threading.Thread(target=run, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["task 1", *["task 1 is assigned to somebody else"] * 5]
