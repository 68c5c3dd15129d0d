"""What leads look at, counted by both databases: dashboards, adjudication, notes, browsing."""

import datetime as dt
import itertools
from typing import Any

import pytest
import sqlalchemy as sa

from db.adjudications import contested_tasks, count_contested, decide, get_case
from db.annotators import find_or_create_annotator
from db.browsing import NOUNS, Wanted, browse, view_solution
from db.connect import reading, writing
from db.dashboards import Scope, anchoring, figures_by_person, model_cost, totals, work_by_day, work_left
from db.models import (
    Adjudication,
    Annotation,
    Critique,
    Note,
    Problem,
    ProblemSource,
    Project,
    Solution,
    StepLabel,
    Task,
)
from db.notes import list_notes, mark_read, send_back, unread_counts, write_note
from stepmark.errors import InputError

NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)


@pytest.fixture
def filled(database: sa.Engine) -> sa.Engine:
    """A project of three solutions of three steps; two people answered the first two, one of them a gold task."""
    people = [find_or_create_annotator(database, f"annotator-{number}") for number in (1, 2, 3)]
    with writing(database) as session:
        session.add(Project(name="pilot", kind="steps", n_wanted=2, settings={}))
        session.add(Problem(statement_hash="0" * 32, family="0" * 32, statement="What is 100% of 1_0?"))
        session.flush()
        session.add(ProblemSource(problem_id=1, source="sums/test", source_key="0"))
        for key in ("a", "b", "c"):
            session.add(
                Solution(
                    problem_id=1,
                    source="made",
                    source_key=key,
                    text="",
                    text_hash=key * 32,
                    steps=["one", "two", "three"],
                    outcome=key == "c",
                    generator="model-1",
                )
            )
        session.flush()
        for solution_id, purpose in ((1, "label"), (2, "label"), (3, "label"), (3, "gold")):
            session.add(
                Task(
                    project_id=1, solution_id=solution_id, kind="steps", mode="all_steps", n_wanted=2, purpose=purpose
                )
            )
        session.flush()
        said: list[tuple[int, int, tuple[int, ...], dict[str, Any]]] = [
            (1, people[0], (1, 1, -1), {"duration_ms": 3000, "checks": ["too_fast"]}),
            (1, people[1], (1, -1, -1), {"duration_ms": 5000, "suggestion_shown": True}),
            (2, people[0], (1, 1, 1), {"duration_ms": 4000}),
            (2, people[1], (1, 1, 1), {}),
            (4, people[0], (1, 1, 1), {"checks": ["missed_known_answer"]}),
            (4, people[1], (1, -1, 1), {}),
        ]
        for number, (task_id, annotator_id, labels, values) in enumerate(said):
            solution_id = session.get_one(Task, task_id).solution_id
            row = Annotation(
                submission_id=str(number),
                kind="steps",
                task_id=task_id,
                annotator_id=annotator_id,
                solution_id=solution_id,
                finish_reason="found_error" if -1 in labels else "solution",
                created_at=NOON + dt.timedelta(days=number // 2),
                **values,
            )
            session.add(row)
            session.flush()
            session.add_all(
                StepLabel(annotation_id=row.annotation_id, step_index=index, label=label)
                for index, label in enumerate(labels)
            )
        session.get_one(Task, 2).is_open = False
        session.add(Critique(solution_id=1, problem_id=1, kind="judge", critic="judge-1", text="", verdict="fail"))
    return database


def test_figures_of_an_empty_database_are_zero(database: sa.Engine) -> None:
    assert work_by_day(database, Scope()) == []
    assert (work_left(database).n_tasks, model_cost(database)) == (0, (0.0, 0))
    found = totals(database, Scope())
    assert (found.n_answers, found.n_labels, found.median_s, found.s_per_label) == (0, 0, None, None)
    assert figures_by_person(database, Scope()) == anchoring(database, Scope()) == []
    assert contested_tasks(database) == []
    assert count_contested(database) == (0, 0)
    assert get_case(database, 1) is None
    assert view_solution(database, 1) is None
    for noun in NOUNS:
        assert browse(database, noun).rows == []


def test_work_is_counted_by_day_and_by_person(filled: sa.Engine) -> None:
    days = work_by_day(filled, Scope(1))
    assert [(day.day.day, day.n_answers, day.n_labels) for day in days] == [(5, 2, 6), (6, 2, 6), (7, 2, 6)]
    assert days[0].hours == pytest.approx(8 / 3600)
    assert [day.day.day for day in work_by_day(filled, Scope(since=NOON + dt.timedelta(days=1)))] == [6, 7]
    assert [day.day.day for day in work_by_day(filled, Scope(until=NOON + dt.timedelta(days=1)))] == [5]
    left = work_left(filled, 1)
    assert (left.n_tasks, left.n_answers) == (2, 2)  # task 1 is full though nobody closed it; task 3 wants two
    found = totals(filled, Scope(1))
    assert (found.n_answers, found.n_people, found.n_labels, found.median_s) == (6, 2, 18, 4.0)
    assert (found.by_label, found.by_reason) == ({1: 14, -1: 4}, {"found_error": 3, "solution": 3})
    assert (found.n_too_fast, found.n_all_good_but_wrong) == (1, 0)
    assert found.s_per_label == pytest.approx(12 / 9)
    first, second = figures_by_person(filled, Scope(1))
    assert (first.annotator, first.n_answers, first.n_bad, first.n_gold, first.n_gold_right) == (
        "annotator-1",
        3,
        1,
        1,
        0,
    )
    assert (second.n_gold, second.n_gold_right, second.n_too_fast) == (1, 1, 0)


def test_answers_with_and_without_suggestions_are_told_apart(filled: sa.Engine) -> None:
    hidden, shown = anchoring(filled, Scope(1))
    assert (hidden.is_shown, hidden.n_answers, hidden.n_with_verdict, hidden.n_agreeing) == (False, 3, 1, 1)
    assert (shown.is_shown, shown.n_answers, shown.n_with_verdict, shown.by_label) == (True, 1, 1, {1: 1, -1: 2})


def test_contested_tasks_come_lowest_agreement_first_and_page_by_page(filled: sa.Engine) -> None:
    assert count_contested(filled, project_id=1) == (3, 2)
    rows = contested_tasks(filled, only_open=False)
    assert [(row.task_id, row.n_contested, round(row.agreement, 3)) for row in rows] == [
        (1, 1, 0.667),
        (4, 1, 0.667),
        (2, 0, 1.0),
    ]
    assert [row.task_id for row in contested_tasks(filled)] == [1, 4]
    paged = [contested_tasks(filled, only_open=False, after=None, n=1)]
    while paged[-1]:
        paged.append(contested_tasks(filled, only_open=False, after=paged[-1][0].after, n=1))
    assert [row.task_id for row in itertools.chain(*paged)] == [1, 4, 2]


def test_a_decision_stands_until_a_later_one_and_annotators_are_told(filled: sa.Engine) -> None:
    reviewer = find_or_create_annotator(filled, "annotator-3")
    case = get_case(filled, 1)
    assert case is not None
    assert case.contested == [1]
    adopted = case.answers[1].annotation_id
    assert decide(filled, 1, {1: -1}, reviewer_id=reviewer, adopted_from_id=adopted, note="12 is not 13") == [1]
    assert decide(filled, 1, {1: -1}, reviewer_id=reviewer) == []
    assert [note.text for note in list_notes(filled, case.answers[0].annotator_id)] == [
        "Step 2: you said good, decided is bad.\nWhy: 12 is not 13"
    ]
    assert list_notes(filled, case.answers[1].annotator_id) == []
    assert decide(filled, 1, {1: 1, 0: 1}, reviewer_id=reviewer) == [0, 1]
    again = get_case(filled, 1)
    assert again is not None
    assert {index: decision.label for index, decision in again.decisions.items()} == {0: 1, 1: 1}
    other = case.answers[0].annotator_id
    assert decide(filled, 1, {1: 0}, reviewer_id=other) == [1]
    latest = get_case(filled, 1)
    assert latest is not None
    assert (latest.decisions[1].label, latest.decisions[1].reviewer) == (0, "annotator-1")
    with reading(filled) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Adjudication)) == 3
    assert count_contested(filled, project_id=1) == (3, 1)
    for labels, message in (({9: 1}, "step 10 is not there"), ({0: 2}, "label of step 1 is 2")):
        with pytest.raises(InputError, match=message):
            decide(filled, 1, labels, reviewer_id=reviewer)
    with pytest.raises(InputError, match="there is no task 99"):
        decide(filled, 99, {0: 1}, reviewer_id=reviewer)


def test_a_task_is_sent_back_with_a_note_to_those_who_answered_it(filled: sa.Engine) -> None:
    reviewer = find_or_create_annotator(filled, "annotator-3")
    case = get_case(filled, 1)
    assert case is not None
    who = [answer.annotator_id for answer in case.answers]
    assert send_back(filled, task_id=1, annotator_ids=[who[0], reviewer], author_id=reviewer, text="look again") == 1
    again = get_case(filled, 1)
    assert again is not None
    assert [answer.is_sent_back for answer in again.answers] == [True, False]
    assert unread_counts(filled, who[0]) == {"sent_back": 1}
    [note] = list_notes(filled, who[0])
    assert (note.kind, note.author, note.is_unread) == ("sent_back", "annotator-3", True)
    assert mark_read(filled, who[0], [note.note_id]) == 0  # it stays until the task is answered again
    message = write_note(filled, kind="message", to_id=who[0], author_id=reviewer, text="well done")
    assert [mark_read(filled, who[0], [message]) for _ in range(2)] == [1, 0]
    with pytest.raises(InputError, match="none of them has answered task 3"):
        send_back(filled, task_id=3, annotator_ids=who, author_id=reviewer, text="look again")
    with pytest.raises(InputError, match="the note has 0 characters"):
        write_note(filled, kind="message", to_id=who[0], author_id=reviewer, text=" ")
    with reading(filled) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Note)) == 2


def test_everything_is_found_by_text_source_maker_and_outcome(filled: sa.Engine) -> None:
    first = browse(filled, "solutions", n=2)
    assert [row["id"] for row in first.rows] == [3, 2]
    assert first.next_below == 2
    second = browse(filled, "solutions", below=first.next_below, n=2)
    assert ([row["id"] for row in second.rows], second.next_below) == ([1], None)
    for wanted, ids in (
        (Wanted(text="100% OF 1_0"), [3, 2, 1]),
        (Wanted(text="100_"), []),
        (Wanted(text="2"), [2]),
        (Wanted(source="ma*", outcome="wrong"), [2, 1]),
        (Wanted(maker="model-*", outcome="right"), [3]),
        (Wanted(outcome="unknown"), []),
        (Wanted(is_labelled=False), []),
        (Wanted(source="sums*"), []),
    ):
        assert [row["id"] for row in browse(filled, "solutions", wanted).rows] == ids, wanted
    assert [row["solutions"] for row in browse(filled, "problems", Wanted(source="sums*")).rows] == [3]
    assert len(browse(filled, "labels", Wanted(maker="annotator-2")).rows) == 3
    assert [row["verdict"] for row in browse(filled, "critiques", Wanted(outcome="fail")).rows] == ["fail"]
    found = view_solution(filled, 1)
    assert found is not None
    assert [(one.annotator, dict(one.labels)) for one in found.said] == [
        ("annotator-2", {0: 1, 1: -1, 2: -1}),
        ("annotator-1", {0: 1, 1: 1, 2: -1}),
    ]
    assert [one[3] for one in found.critiques] == ["fail"]
