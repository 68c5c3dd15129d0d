"""What is put into the queue: solutions, steps, pairs and critiques, each by its rules."""

import pytest
import sqlalchemy as sa

from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.models import Annotation, Critique, Score, Solution, Task
from db.queue import counts_for, queue_critiques, queue_pairs, queue_solutions, queue_state, queue_tasks
from db.tasks import AddedTasks
from stepmark.errors import InputError
from tests.labelling import add_project, fill


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


def scored(engine: sa.Engine, values: dict[int, float], *, kind: str = "prm", model: str = "new") -> None:
    with writing(engine) as session:
        for solution_id, value in values.items():
            session.add(Score(solution_id=solution_id, reward_model=model, kind=kind, value=value))


def queued(engine: sa.Engine) -> list[tuple[int, int | None, float]]:
    with reading(engine) as session:
        rows = session.execute(
            sa.select(Task.solution_id, Task.other_solution_id, Task.priority).order_by(
                Task.priority.desc(), Task.task_id
            )
        )
        return [(a, b, priority) for a, b, priority in rows]


def test_convincing_wrong_solutions_are_the_wrong_ones_with_the_highest_score_one_of_each_problem(
    database: sa.Engine,
) -> None:
    fill(database, 3, n_each=2)
    with pytest.raises(InputError, match="no solution has a PRM or ORM score"):
        queue_solutions(database, order="convincing wrong")
    with writing(database) as session:
        session.execute(sa.update(Solution).where(Solution.solution_id != 5).values(outcome=False))
        session.execute(sa.update(Solution).where(Solution.solution_id == 5).values(outcome=True))
    scored(database, {1: 0.5, 2: 0.75, 3: 0.25, 5: 1.0})
    assert queue_solutions(database, order="convincing wrong") == AddedTasks(2, 2, {})
    assert queued(database) == [(2, None, 0.75), (3, None, 0.25)]


def test_solutions_on_which_labellers_differ_come_by_how_much_they_do(database: sa.Engine) -> None:
    fill(database, 3)
    people = [find_or_create_annotator(database, f"annotator-{number}") for number in range(4)]
    said = {1: [0, 0, 0], 2: [0, None], 3: [1, 1, 0, None]}
    with writing(database) as session:
        for solution_id, errors in said.items():
            for number, error in enumerate(errors):
                session.add(
                    Annotation(
                        submission_id=f"{solution_id}-{number}",
                        kind="steps",
                        annotator_id=people[number],
                        solution_id=solution_id,
                        finish_reason="solution" if error is None else "found_error",
                        first_error=error,
                    )
                )
    assert queue_solutions(database, order="disagreement") == AddedTasks(2, 2, {})
    assert queued(database) == [(2, None, 0.5), (3, None, 0.5)]


def test_pairs_are_of_one_problem_with_a_moderate_gap_between_their_scores(database: sa.Engine) -> None:
    fill(database, 2, n_each=3)
    with pytest.raises(InputError, match="no two solutions of a problem have a score"):
        queue_pairs(database, order="moderate gap")
    scored(database, {1: 0.0, 2: 1.0, 3: 0.25, 4: 0.5, 5: 0.5})
    # Gaps: 1-2 1.0, 1-3 0.25, 2-3 0.75, 4-5 0.0; the median is 0.5.
    assert queue_pairs(database, order="moderate gap", limit=2) == AddedTasks(2, 2, {})
    assert sorted((a, b) for a, b, _ in queued(database)) == [(1, 3), (2, 3)]
    assert queue_pairs(database, limit=99) == AddedTasks(4, 4, {})
    assert queue_pairs(database, limit=99) == AddedTasks(0, 0, {})
    [state] = [state for state in queue_state(database) if state.reason == "random"]
    assert (state.kind, state.n_open) == ("preference", 4)


def test_unconfirmed_critiques_are_those_that_no_program_can_judge(database: sa.Engine) -> None:
    fill(database, 3)
    with writing(database) as session:
        for number, is_confirmed in enumerate((True, None, False), start=1):
            session.add(
                Critique(
                    solution_id=number,
                    problem_id=number,
                    source="critics",
                    source_key=str(number),
                    kind="judge",
                    text="It holds.",
                    verdict="pass",
                    is_confirmed=is_confirmed,
                )
            )
    assert queue_critiques(database, order="unconfirmed") == AddedTasks(1, 1, {})
    assert queue_critiques(database) == AddedTasks(2, 2, {})
    with reading(database) as session:
        rows = session.execute(sa.select(Task.critique_id, Task.reason).order_by(Task.task_id)).all()
    assert rows[0] == (2, "unconfirmed")
    assert sorted(rows[1:]) == [(1, "random"), (3, "random")]


def test_a_project_is_filled_by_its_kind_and_mix(database: sa.Engine) -> None:
    fill(database, 10)
    scored(database, {index: 0.5 for index in range(1, 9)})
    with writing(database) as session:
        session.execute(sa.update(Solution).values(outcome=False))
    add_project(database, "sums", n_wanted=2, settings={"mix": {"convincing wrong": 0.75, "random": 0.25}})
    assert queue_tasks(database, project="sums", limit=8).kept == 8
    with reading(database) as session:
        rows = session.execute(
            sa.select(Task.reason, Task.n_wanted, sa.func.count()).group_by(Task.reason, Task.n_wanted)
        ).all()
    assert sorted(rows) == [("convincing wrong", 2, 6), ("random", 2, 2)]
    assert counts_for(database, find_or_create_annotator(database, "annotator-1"), project_id=1) == (0, 8)
    with pytest.raises(InputError, match="there is no project 'summs'; there are: 'sums'"):
        queue_tasks(database, project="summs")
    with pytest.raises(InputError, match="project 'sums' labels steps, not critique"):
        queue_tasks(database, project="sums", kind="critique")
