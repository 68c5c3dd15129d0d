"""Pairs and critiques on which annotators differ: what a reviewer sees, decides, and what annotators are told."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db.adjudications import (
    contested_tasks,
    count_contested,
    decide,
    decide_whole,
    get_case,
    get_whole_case,
    standing_decisions,
)
from db.agreement import LabelSelection
from db.annotations import annotator_id
from db.annotators import find_or_create_annotator
from db.browsing import browse
from db.connect import reading, writing
from db.dashboards import Scope, totals
from db.decisions import WithDecisions, agreement_with_decisions
from db.models import Annotation, Critique, Event, Preference, TaskAdjudication
from db.notes import list_notes, send_back
from db.queue import progress, recently_answered
from db.tasks import CritiqueAnswer, Wanted, add_tasks, claim_tasks, submit
from db.votes import PairVotes, SolutionVotes, pair_votes, solution_votes
from stepmark.cli.main import app
from stepmark.errors import InputError
from tests.labelling import add_project, answer_of, answered, fill

PEOPLE = ("annotator-1", "annotator-2", "annotator-3")


def person(engine: sa.Engine, number: int) -> int:
    return find_or_create_annotator(engine, f"annotator-{number}")


@pytest.fixture
def pairs(database: sa.Engine) -> sa.Engine:
    """Three pairs: two against one, three ways, and unanimous."""
    fill(database, 3, n_each=2)
    project_id = add_project(database, kind="preference", n_wanted=3, settings={"gold_share": 0})
    wanted = [Wanted(2 * index + 1, other_solution_id=2 * index + 2) for index in range(3)]
    add_tasks(database, wanted, project_id=project_id)
    answered(database, project_id, {1: ["a", "a", "b"], 2: ["a", "b", "equal"], 3: ["both_bad"] * 3})
    return database


@pytest.fixture
def critiques(database: sa.Engine) -> sa.Engine:
    """Two critiques: on one the judgements differ, on the other only what is said of the verdict."""
    fill(database, 2)
    with writing(database) as session:
        for number, verdict in ((1, "fail"), (2, "pass"), (1, "unreadable")):
            session.add(Critique(solution_id=number, problem_id=number, kind="judge", text="No.", verdict=verdict))
    project_id = add_project(database, kind="critique", n_wanted=3, settings={"gold_share": 0})
    add_tasks(database, [Wanted(1, critique_id=1), Wanted(2, critique_id=2)], project_id=project_id)
    partly = [CritiqueAnswer("partly", True, is_right, "Step 1.") for is_right in (True, False, None)]
    judged = [CritiqueAnswer("right", True, True), CritiqueAnswer("wrong", False, False), CritiqueAnswer("right")]
    answered(database, project_id, {1: judged, 2: partly})
    return database


def rows(engine: sa.Engine, kind: str, **options: Any) -> list[tuple[int, float, int, int]]:
    return [
        (row.task_id, round(row.agreement, 3), row.n_contested, row.n_decided)
        for row in contested_tasks(engine, kind=kind, **options)
    ]


def test_pairs_come_by_the_share_of_annotators_who_choose_the_same(pairs: sa.Engine) -> None:
    assert rows(pairs, "preference") == [(2, 0.0, 1, 0), (1, 0.333, 1, 0)]
    assert rows(pairs, "preference", only_open=False)[-1] == (3, 1.0, 0, 0)
    assert rows(pairs, "preference", after=(0.0, 2)) == [(1, 0.333, 1, 0)]
    assert rows(pairs, "steps") == rows(pairs, "critique") == []
    assert count_contested(pairs, kind="preference") == (3, 2)
    assert count_contested(pairs, kind="preference", project_id=99) == (0, 0)
    case = get_whole_case(pairs, 1)
    assert case is not None
    assert (case.kind, case.project, [side.solution_id for side in case.sides]) == ("preference", "sums", [1, 2])
    assert [(one.choice, one.strength, one.reasons, one.comment) for one in case.answers] == [
        (choice, 2, ("clear",), f"by {name}") for choice, name in zip(("a", "a", "b"), PEOPLE, strict=True)
    ]
    assert (case.said, case.decision, case.critique) == ({"a": 2, "b": 1}, None, None)
    assert get_case(pairs, 1) is None


def test_a_decision_on_a_pair_stands_until_a_later_one_and_who_differs_reads_it_in_the_own_order(
    pairs: sa.Engine,
) -> None:
    reviewer, other = person(pairs, 4), person(pairs, 5)
    case = get_whole_case(pairs, 1)
    assert case is not None
    adopted = case.answers[0].annotation_id
    assert decide_whole(pairs, 1, reviewer_id=reviewer, choice="a", adopted_from_id=adopted, note="B skips a step")
    assert not decide_whole(pairs, 1, reviewer_id=reviewer, choice="a")
    assert [len(list_notes(pairs, person(pairs, number))) for number in (1, 2, 3)] == [0, 0, 1]
    [note] = list_notes(pairs, person(pairs, 3))
    given, decided = ("A", "B") if case.answers[2].shown_first == "b" else ("B", "A")
    assert note.text == f"Pair: you said {given} is better, decided is {decided} is better.\nWhy: B skips a step"
    assert rows(pairs, "preference") == [(2, 0.0, 1, 0)]
    assert count_contested(pairs, kind="preference") == (3, 1)
    assert rows(pairs, "preference", only_open=False)[1] == (1, 0.333, 1, 1)
    assert decide_whole(pairs, 1, reviewer_id=other, choice="equal")
    assert decide_whole(pairs, 1, reviewer_id=reviewer, choice="both_bad")
    assert decide_whole(pairs, 1, reviewer_id=reviewer, choice="b")
    latest = get_whole_case(pairs, 1)
    assert latest is not None
    assert latest.decision is not None
    assert (latest.decision.said, latest.decision.reviewer, latest.decision.note) == ("b", "annotator-4", None)
    with reading(pairs) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(TaskAdjudication)) == 2
        replaced = session.scalars(sa.select(Event.data).where(Event.kind == "adjudication_replaced")).all()
        standing = [tuple(row) for row in session.execute(standing_decisions())]
    assert [(data or {})["choice"] for data in replaced] == ["a", "both_bad"]
    assert standing == [(1, reviewer, "b", None, None)]


def test_critiques_differ_by_judgement_or_by_what_is_said_of_the_verdict(critiques: sa.Engine) -> None:
    assert rows(critiques, "critique") == [(1, 0.167, 2, 0), (2, 0.5, 1, 0)]
    case = get_whole_case(critiques, 1)
    assert case is not None
    assert case.critique is not None
    assert (case.critique.verdict, case.critique.variant, len(case.sides)) == ("fail", None, 1)
    assert [(one.judgement, one.is_verdict_right, one.is_helpful) for one in case.answers] == [
        ("right", True, True),
        ("wrong", False, False),
        ("right", None, None),
    ]
    reviewer = person(critiques, 4)
    assert decide_whole(critiques, 1, reviewer_id=reviewer, judgement="partly", is_verdict_right=True)
    texts = [[note.text for note in list_notes(critiques, person(critiques, number))] for number in (1, 2, 3)]
    assert texts == [
        ["Critique: you said right, decided is partly."],
        ["Critique: you said wrong, decided is partly.\nIts verdict: you said wrong, decided is right."],
        ["Critique: you said right, decided is partly."],
    ]
    assert rows(critiques, "critique") == [(2, 0.5, 1, 0)]
    assert (
        send_back(critiques, task_id=1, annotator_ids=[person(critiques, 2)], author_id=reviewer, text="again") == 1
    )
    again = get_whole_case(critiques, 1)
    assert again is not None
    assert [one.is_sent_back for one in again.answers] == [False, True, False]


def test_decisions_count_as_one_more_labeller_beside_whom_each_annotator_is_held(pairs: sa.Engine) -> None:
    """Steps: 1, 2 say good where annotator-2 decides bad; who decides is not held against the own decision."""
    everything = LabelSelection()
    assert agreement_with_decisions(pairs, everything) == []
    reviewer = person(pairs, 4)
    decide_whole(pairs, 1, reviewer_id=reviewer, choice="b")
    decide_whole(pairs, 1, reviewer_id=reviewer, choice="a")
    decide_whole(pairs, 2, reviewer_id=person(pairs, 2), choice="b")
    project_id = add_project(pairs, "steps", n_wanted=3)
    add_tasks(pairs, [(1, 0.0)], project_id=project_id)
    for number, labels in ((1, (1, 1, 1)), (2, (1, 1, 1)), (3, (1, -1, None))):
        me = person(pairs, number)
        [task] = claim_tasks(pairs, me, project_id=project_id)
        submit(pairs, answer_of(task, me, labels, suggestion_shown=number == 3))
    decide(pairs, task.task_id, {0: 1, 1: 1}, reviewer_id=reviewer)
    decide(pairs, task.task_id, {1: -1}, reviewer_id=person(pairs, 2))
    assert agreement_with_decisions(pairs, everything) == [
        WithDecisions("annotator-1", n_steps=2, n_steps_same=1, n_pairs=2, n_pairs_same=1),
        WithDecisions("annotator-2", n_steps=1, n_steps_same=1, n_pairs=1, n_pairs_same=1),
        WithDecisions("annotator-3", n_steps=2, n_steps_same=2, n_pairs=2, n_pairs_same=0),
    ]
    shown = agreement_with_decisions(pairs, LabelSelection(suggestion_shown=True))
    assert [(one.annotator, one.n, one.n_same) for one in shown] == [("annotator-3", 2, 2)]
    of_project = agreement_with_decisions(pairs, LabelSelection(project_id=project_id, source="sums/*"))
    assert [(one.n_steps, one.n_pairs) for one in of_project] == [(2, 0), (1, 0), (2, 0)]
    assert agreement_with_decisions(pairs, LabelSelection(annotator_kinds=("model",))) == []


def test_the_votes_of_judges_are_counted_by_judge_and_by_the_step_they_name(pairs: sa.Engine) -> None:
    said: list[tuple[str, str | None, str, int | None]] = [
        ("judge", "judge-1", "fail", 1),
        ("judge", "judge-1", "fail", 0),
        ("judge", "judge-2", "pass", None),
        ("self", "judge-2", "unreadable", None),
    ]
    with writing(pairs) as session:
        for kind, critic, verdict, first_error in said:
            row = Critique(solution_id=1, problem_id=1, kind=kind, critic=critic, text="", verdict=verdict)
            row.first_error = first_error
            session.add(row)
        session.add(Critique(solution_id=1, problem_id=2, kind="variant", critic="judge-1", text="", verdict="fail"))
        for number, (a, b, choice) in enumerate(((1, 2, "a"), (2, 1, "a"), (1, 2, "equal"))):
            judge = Annotation(
                submission_id=f"judge-{number}",
                kind="preference",
                annotator_id=annotator_id(session, f"judge-{number % 2}", kind="model"),
                solution_id=a,
            )
            session.add(judge)
            session.flush()
            pair = {"solution_a_id": a, "solution_b_id": b}
            session.add(Preference(annotation_id=judge.annotation_id, choice=choice, **pair))
    assert solution_votes(pairs, 1) == [
        SolutionVotes("judge", "judge-1", n_fail=2, first_errors={0: 1, 1: 1}),
        SolutionVotes("judge", "judge-2", n_pass=1),
        SolutionVotes("self", "judge-2", n_unreadable=1),
    ]
    assert solution_votes(pairs, 2) == []
    assert pair_votes(pairs, 1, 2) == [PairVotes("judge-0", {"a": 1, "equal": 1}), PairVotes("judge-1", {"b": 1})]
    assert pair_votes(pairs, 2, 1) == [PairVotes("judge-0", {"b": 1, "equal": 1}), PairVotes("judge-1", {"a": 1})]


def test_an_answer_on_a_pair_is_said_to_be_answered_not_to_be_without_error(pairs: sa.Engine) -> None:
    assert progress(pairs, person(pairs, 1)).by_reason == {"answered": 3}
    assert {one.finish_reason for one in recently_answered(pairs, person(pairs, 1))} == {"answered"}
    assert totals(pairs, Scope()).by_reason == {"answered": 9}
    assert {row["ended"] for row in browse(pairs, "labels").rows} == {"answered"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_report_on_agreement_has_the_decisions(
    critiques: sa.Engine,
) -> None:
    decide_whole(critiques, 1, reviewer_id=person(critiques, 4), judgement="right")
    url = critiques.url.render_as_string(hide_password=False)
    command = ["agreement", "--db", url, "--suggestion", "hidden"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.stdout.splitlines()[-4:] == [
        "beside the decisions     critiques   same",
        "annotator-1                      1  1.000",
        "annotator-2                      1  0.000",
        "annotator-3                      1  1.000",
    ]
    as_json = json.loads(CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False).stdout)
    assert [(row["annotator"], row["n_critiques_same"]) for row in as_json["decisions"]] == [
        ("annotator-1", 1),
        ("annotator-2", 0),
        ("annotator-3", 1),
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_decision_that_does_not_fit_its_task_is_refused(critiques: sa.Engine) -> None:
    add_tasks(critiques, [Wanted(1, critique_id=3)], kind="critique")
    add_tasks(critiques, [(1, 0.0)])
    me = person(critiques, 4)
    for task_id, said, message in (
        (99, {"choice": "a"}, "there is no task 99"),
        (1, {"choice": "a"}, "judgement is None; use one of right, partly, wrong"),
        (1, {"judgement": "good"}, "judgement is 'good'"),
        (1, {"judgement": "right", "choice": "a"}, "task 1 is a critique; it has no choice"),
        (3, {"judgement": "right", "is_verdict_right": True}, "the critique of task 3 has no verdict"),
        (4, {"choice": "a"}, "task 4 is of steps; decide them one by one"),
    ):
        with pytest.raises(InputError, match=message):
            decide_whole(critiques, task_id, reviewer_id=me, **said)
    with pytest.raises(InputError, match="task 1 is a critique; it has no steps to decide"):
        decide(critiques, 1, {0: 1}, reviewer_id=me)
