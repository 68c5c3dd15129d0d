"""Projects, rules, members, tasks with known answers and relabelling, on both databases and by commands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db.annotators import find_or_create_annotator
from db.assignments import assign_tasks
from db.connect import reading, writing
from db.guidelines import add_guideline, guideline_of_project, labels_by_guideline, list_guidelines
from db.known_tasks import Known, add_known_tasks, known_counts, known_from_labels
from db.members import list_members, remove_members, set_members
from db.models import Annotation, Event, KnownAnswer, Problem, ProblemSource, Solution, StepLabel, Task
from db.projects import change_project, create_project, get_project, list_projects
from db.relabelling import count_stale, queue_relabel
from stepmark.cli.main import app
from stepmark.errors import InputError

RULES = {
    "sections": [{"title": "Good", "kind": "good", "rules": ["It is true."]}],
    "flowchart": [{"question": "Is it true?", "yes": "good", "no": "bad"}],
}


@pytest.fixture
def solutions(database: sa.Engine) -> sa.Engine:
    """Three solutions of one problem, each of two steps and an answer."""
    with writing(database) as session:
        session.add(Problem(statement_hash="0" * 32, family="0" * 32, statement="What is 1 + 1?"))
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
                    steps=["1 + 1 = 3", "So 3."],
                    answer="3",
                )
            )
    return database


def answer(engine: sa.Engine, annotator: str, solution_id: int, labels: dict[int, int], **values: Any) -> int:
    """Stores a current answer as if it had been submitted."""
    annotator_id = find_or_create_annotator(engine, annotator)
    wrong = [index for index, label in labels.items() if label == -1]
    with writing(engine) as session:
        row = Annotation(
            submission_id=f"{annotator}-{solution_id}-{values.get('task_id')}",
            kind="steps",
            annotator_id=annotator_id,
            solution_id=solution_id,
            mode="first_error",
            finish_reason="found_error" if wrong else "solution",
            first_error=min(wrong, default=None),
            **values,
        )
        session.add(row)
        session.flush()
        session.add_all(
            StepLabel(annotation_id=row.annotation_id, step_index=index, label=label)
            for index, label in labels.items()
        )
        return row.annotation_id


def add_task(engine: sa.Engine, solution_id: int, **values: Any) -> int:
    with writing(engine) as session:
        row = Task(solution_id=solution_id, kind="steps", mode="first_error", **values)
        session.add(row)
        session.flush()
        return row.task_id


def test_a_project_is_made_listed_and_changed_and_the_change_is_on_record(database: sa.Engine) -> None:
    assert list_projects(database) == []
    add_guideline(database, "rules-1", RULES)
    project_id = create_project(database, " pilot ", n_wanted=2, settings={"gold_share": 0.1})
    made = get_project(database, "pilot")
    assert (made.project_id, made.kind, made.mode, made.n_wanted) == (project_id, "steps", "first_error", 2)
    assert (made.settings.gold_share, made.guideline, made.n_open) == (0.1, None, 0)
    changed = change_project(
        database, project_id, mode="all_steps", guideline="rules-1", settings={"repeat_share": 0.5}, n_wanted=2
    )
    assert changed == {
        "mode": ("first_error", "all_steps"),
        "guideline": (None, "rules-1"),
        "settings": ({"gold_share": 0.1}, {"gold_share": 0.1, "repeat_share": 0.5}),
    }
    assert change_project(database, project_id, mode="all_steps") == {}
    with reading(database) as session:
        events = session.scalars(sa.select(Event.kind).order_by(Event.event_id)).all()
    assert events == ["guideline_added", "project_created", "project_changed"]
    found = guideline_of_project(database, project_id)
    assert found is not None
    assert found.body.as_json() == RULES


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda db: create_project(db, " "), "project name ''"),
        (lambda db: create_project(db, "pilot"), "there is a project 'pilot' already"),
        (lambda db: create_project(db, "b", kind="pairs"), "kind is 'pairs'; use one of steps, preference, critique"),
        (lambda db: create_project(db, "b", n_wanted=0), "n_wanted is 0"),
        (lambda db: create_project(db, "b", guideline="x"), "there is no guideline 'x'; there are: none yet"),
        (lambda db: create_project(db, "b", settings={"gold_share": 2}), "setting gold_share is 2"),
        (lambda db: create_project(db, "b", settings={"gold": 2}), "setting gold is 2"),
        (lambda db: change_project(db, 1, access="nobody"), "access is 'nobody'"),
        (lambda db: change_project(db, 9, mode="verify"), "there is no project 9"),
        (lambda db: get_project(db, "x"), "there is no project 'x'; there are: 'pilot'"),
        (lambda db: set_members(db, 1, ["nobody"]), "there is no annotator 'nobody'"),
        (lambda db: set_members(db, 1, [], state="away"), "state is 'away'"),
        (lambda db: set_members(db, 1, [], state="paused"), "a pause needs a reason"),
        (lambda db: add_guideline(db, "", RULES), "guideline version ''"),
        (lambda db: add_guideline(db, "x", {"sections": []}), "guideline: sections is \\[\\]"),
        (lambda db: queue_relabel(db, 1), "project 'pilot' has the default rules"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_value(
    database: sa.Engine, call: Callable[[sa.Engine], object], message: str
) -> None:
    create_project(database, "pilot")
    with pytest.raises(InputError, match=message):
        call(database)


def test_a_version_of_the_rules_never_changes(database: sa.Engine) -> None:
    add_guideline(database, "rules-1", RULES)
    with pytest.raises(InputError, match="there is a guideline 'rules-1' already"):
        add_guideline(database, "rules-1", {"sections": [{"title": "Other"}]})
    assert [(row.version, row.body.as_json()) for row in list_guidelines(database)] == [("rules-1", RULES)]


def test_members_are_added_paused_with_a_reason_and_taken_out(database: sa.Engine) -> None:
    project_id = create_project(database, "pilot")
    for name in ("annotator-1", "annotator-2"):
        find_or_create_annotator(database, name)
    assert set_members(database, project_id, ["annotator-1", "annotator-2"], state="testing") == 2
    assert set_members(database, project_id, ["annotator-1"], state="paused", reason="let us talk") == 1
    assert set_members(database, project_id, ["annotator-1"], state="paused", reason="let us talk") == 0
    assert [(row.name, row.state, row.reason) for row in list_members(database, project_id)] == [
        ("annotator-1", "paused", "let us talk"),
        ("annotator-2", "testing", None),
    ]
    set_members(database, project_id, ["annotator-1"])
    assert [row.reason for row in list_members(database, project_id)] == [None, None]
    assert remove_members(database, project_id, ["annotator-1"]) == 1
    assert get_project(database, "pilot").n_members == 1


def test_known_answers_are_typed_or_taken_from_labels_once_each(solutions: sa.Engine) -> None:
    project_id = create_project(solutions, "pilot")
    answer(solutions, "annotator-1", 1, {0: -1})
    answer(solutions, "annotator-1", 2, {0: 1, 1: 1, 2: 1})
    taken = known_from_labels(solutions, labeller="annotator-*", limit=10)
    assert sorted(taken, key=lambda one: one.solution_id) == [
        Known(1, {"labels": [-1]}),
        Known(2, {"labels": [1, 1, 1]}),
    ]
    typed = [Known(2, {"labels": [1]}), Known(3, {"labels": [None, -1]}, "look twice"), Known(99, {"labels": [1]})]
    first = add_known_tasks(solutions, project_id, taken)
    second = add_known_tasks(solutions, project_id, typed)
    assert (first.read, first.kept, first.dropped) == (2, 2, {})
    assert (second.read, second.kept, second.dropped) == (3, 1, {"already there": 1, "no such solution": 1})
    assert known_counts(solutions, project_id) == {"gold": 3}
    assert get_project(solutions, "pilot").n_open == 0
    with reading(solutions) as session:
        stored = session.execute(
            sa.select(Task.solution_id, KnownAnswer.answer, KnownAnswer.note)
            .join(KnownAnswer, KnownAnswer.task_id == Task.task_id)
            .order_by(Task.solution_id)
        ).all()
    assert [tuple(row) for row in stored] == [
        (1, {"labels": [-1, None, None]}, None),
        (2, {"labels": [1, 1, 1]}, None),
        (3, {"labels": [None, -1, None]}, "look twice"),
    ]
    with pytest.raises(InputError, match="no labeller is named like 'expert'; there are: annotator-1"):
        known_from_labels(solutions, labeller="expert")
    with pytest.raises(InputError, match="label 0 is 5"):
        add_known_tasks(solutions, project_id, [Known(1, {"labels": [5]})], purpose="entry")


def test_tasks_answered_under_older_rules_come_again_once(solutions: sa.Engine) -> None:
    project_id = create_project(solutions, "pilot")
    for solution_id, version in ((1, "rules-1"), (2, "rules-2"), (3, None)):
        task_id = add_task(solutions, solution_id, project_id=project_id, is_open=False)
        answer(solutions, "annotator-1", solution_id, {0: -1}, task_id=task_id, guideline=version)
    assert labels_by_guideline(solutions, project_id) == {"rules-1": 1, "rules-2": 1, None: 1}
    assert count_stale(solutions, project_id) == 0
    add_guideline(solutions, "rules-2", RULES)
    change_project(solutions, project_id, guideline="rules-2")
    assert count_stale(solutions, project_id) == 2
    one = queue_relabel(solutions, project_id, limit=1)
    assert (one.read, one.kept, one.dropped) == (2, 1, {"over the limit": 1})
    two = queue_relabel(solutions, project_id, limit=5)
    assert (two.read, two.kept, two.dropped) == (1, 1, {})
    assert count_stale(solutions, project_id) == 0
    with reading(solutions) as session:
        made = session.execute(
            sa.select(Task.solution_id, Task.reason, Task.is_open).where(Task.purpose == "relabel")
        ).all()
    assert [tuple(row) for row in made] == [(1, "relabel:rules-2", True), (3, "relabel:rules-2", True)]


def test_open_tasks_are_given_to_one_person(solutions: sa.Engine) -> None:
    project_id = create_project(solutions, "pilot", access="members")
    for solution_id in (1, 2, 3):
        add_task(solutions, solution_id, project_id=project_id, n_wanted=3)
    me = find_or_create_annotator(solutions, "annotator-1")
    with pytest.raises(InputError, match="'annotator-1' is no member of 'pilot'"):
        assign_tasks(solutions, project_id, "annotator-1", n=2)
    set_members(solutions, project_id, ["annotator-1"])
    assert assign_tasks(solutions, project_id, "annotator-1", n=2) == 2
    assert assign_tasks(solutions, project_id, "annotator-1", n=2) == 1
    with reading(solutions) as session:
        assert set(session.execute(sa.select(Task.assigned_to_id, Task.n_wanted))) == {(me, 1)}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_commands_do_the_same(solutions: sa.Engine, tmp_path: Path) -> None:
    url = solutions.url.render_as_string()

    def run(*args: str) -> str:
        done = CliRunner().invoke(app, ["projects", *args, "--db", url], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    assert run("list") == "there is no project; make one with `stepmark projects add NAME`\n"
    rules = tmp_path / "rules.txt"
    rules.write_text("# Good (good)\n- It is\n  true.\n\n# Flowchart\n1. Is it?\n   yes: good\n   no: bad\n")
    assert "- It is true." in run("guideline", "rules-1", "--file", str(rules))
    run("add", "pilot", "--n-wanted", "2", "--setting", "gold_share=0.2", "--guideline", "rules-1")
    shown = json.loads(run("show", "pilot", "--json"))
    assert (shown["n_wanted"], shown["guideline"], shown["settings"]["gold_share"]) == (2, "rules-1", 0.2)
    changed = run("set", "pilot", "--closed", "--default-guideline")
    assert changed == "guideline: rules-1 -> None\nis_open: True -> False\n"
    answers = tmp_path / "gold.jsonl"
    answers.write_text('{"solution_id": 1, "labels": [-1]}\n')
    assert run("gold", "pilot", "--file", str(answers), "--purpose", "entry") == "entry: read 1, kept 1, dropped 0\n"
    find_or_create_annotator(solutions, "annotator-1")
    added = json.loads(run("members", "pilot", "--test", "annotator-1", "--json"))
    assert [(row["name"], row["state"]) for row in added] == [("annotator-1", "testing")]
