"""Known answers and calibration rounds of pairs and critiques: added, handed out, scored, compared."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db.annotators import find_or_create_annotator
from db.calibration import compare_round, list_rounds, start_round
from db.connect import reading, writing
from db.guidelines import add_guideline
from db.known_tasks import Known, add_known_tasks, known_counts, known_from_labels
from db.models import Annotation, Critique, KnownAnswer, Task
from db.own_quality import OwnQuality, own_quality
from db.projects import change_project
from db.relabelling import count_stale, queue_relabel
from db.tasks import CritiqueAnswer, PairAnswer, Wanted, add_tasks, claim_tasks, gold_score, submit
from stepmark.cli.main import app
from stepmark.errors import InputError
from tests.labelling import add_project, annotation, answer_of, fill


@pytest.fixture
def material(database: sa.Engine) -> sa.Engine:
    """Three problems with two solutions each (1 and 2, 3 and 4, 5 and 6), a critique of each problem's first."""
    fill(database, 3, n_each=2)
    with writing(database) as session:
        for number in (1, 2, 3):
            session.add(
                Critique(solution_id=2 * number - 1, problem_id=number, kind="judge", text="No.", verdict="fail")
            )
    return database


def known(engine: sa.Engine) -> list[tuple[Any, ...]]:
    with reading(engine) as session:
        rows = session.execute(
            sa.select(Task.solution_id, Task.other_solution_id, Task.critique_id, KnownAnswer.answer)
            .join(KnownAnswer, KnownAnswer.task_id == Task.task_id)
            .order_by(Task.task_id)
        )
        return [tuple(row) for row in rows]


def pick(task: Any, choice: str) -> PairAnswer:
    """A choice in the pair's own terms as the screen has it."""
    return PairAnswer({task.order[0]: "first", task.order[1]: "second"}.get(choice, choice))


def test_known_pairs_are_added_once_whatever_their_order_and_are_scored(material: sa.Engine) -> None:
    project_id = add_project(material, kind="preference")
    added = add_known_tasks(
        material,
        project_id,
        [
            Known(1, {"choice": "a"}, "B skips a step", other_solution_id=2),
            Known(2, {"choice": "b"}, other_solution_id=1),
            Known(1, {"choice": "a"}, other_solution_id=3),
            Known(1, {"choice": "a"}),
            Known(3, {"choice": "equal"}, other_solution_id=4),
        ],
        purpose="calibration",
    )
    dropped = {"already there": 1, "of different problems": 1, "no such solution": 1}
    assert (added.read, added.kept, added.dropped) == (5, 2, dropped)
    assert known(material) == [(1, 2, None, {"choice": "a"}), (3, 4, None, {"choice": "equal"})]
    assert known_counts(material, project_id) == {"calibration": 2}
    me = find_or_create_annotator(material, "annotator-1")
    first, second = claim_tasks(material, me)
    assert first.known is not None
    assert (first.purpose, first.known.note) == ("calibration", "B skips a step")
    assert first.known.answer == {"choice": "first" if first.order == "ab" else "second"}
    right = submit(material, answer_of(first, me, pair=pick(first, "a")))
    wrong = submit(material, answer_of(second, me, pair=pick(second, "b")))
    assert [annotation(material, one.annotation_id).checks for one in (right, wrong)] == [
        None,
        ["missed_known_answer"],
    ]
    with pytest.raises(InputError, match="known answer: choice is None; use one of a, b, equal, both_bad"):
        add_known_tasks(material, project_id, [Known(5, {"labels": [1]}, other_solution_id=6)])


def test_known_critiques_are_silent_gold_and_name_their_solution_by_themselves(material: sa.Engine) -> None:
    project_id = add_project(material, kind="critique", settings={"gold_share": 1.0})
    answers = [Known(None, {"judgement": "wrong"}, critique_id=number) for number in (1, 2, 9)]
    added = add_known_tasks(material, project_id, answers)
    assert (added.read, added.kept, added.dropped) == (3, 2, {"no such solution": 1})
    assert known(material) == [(1, None, 1, {"judgement": "wrong"}), (3, None, 2, {"judgement": "wrong"})]
    add_tasks(material, [Wanted(5, critique_id=3)], project_id=project_id)
    me = find_or_create_annotator(material, "annotator-1")
    for judgement in ("wrong", "right"):
        [task] = claim_tasks(material, me, n=1)
        assert (task.purpose, task.known) == ("label", None)
        submit(material, answer_of(task, me, critique=CritiqueAnswer(judgement)))
    with reading(material) as session:
        assert gold_score(session, project_id, me) == (1, 2)


def test_known_answers_are_taken_from_choices_and_judgements_that_are_there(material: sa.Engine) -> None:
    me = find_or_create_annotator(material, "annotator-1")
    pairs, critiques = add_project(material, "pairs", kind="preference"), add_project(material, kind="critique")
    add_tasks(material, [Wanted(1, other_solution_id=2)], project_id=pairs)
    add_tasks(material, [Wanted(3, critique_id=2)], project_id=critiques)
    for project_id in (pairs, critiques):
        [task] = claim_tasks(material, me, project_id=project_id)
        said: dict[str, Any] = {"pair": pick(task, "b")} if task.order else {"critique": CritiqueAnswer("partly")}
        submit(material, answer_of(task, me, **said))
    assert known_from_labels(material, labeller="annotator-*", kind="preference") == [
        Known(1, {"choice": "b"}, other_solution_id=2)
    ]
    assert known_from_labels(material, labeller="annotator-1", kind="critique", source="sums/*") == [
        Known(3, {"judgement": "partly"}, critique_id=2)
    ]
    assert known_from_labels(material, labeller="annotator-1", kind="steps") == []
    with pytest.raises(InputError, match="kind is 'pairs'; use one of steps, preference, critique"):
        known_from_labels(material, labeller="annotator-1", kind="pairs")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("steps", ["no error", "step 1"]),
        ("preference", ["A", "both bad"]),
        ("critique", ["right", "wrong"]),
    ],
)
def test_a_round_gives_everybody_the_same_and_the_next_round_draws_others(
    material: sa.Engine, kind: str, words: list[str]
) -> None:
    project_id = add_project(material, kind=kind)
    assert start_round(material, project_id, n=2) == "calibration 1"
    assert start_round(material, project_id, n=1, source="sums/*") == "calibration 2"
    assert list_rounds(material, project_id) == {"calibration 2": 1, "calibration 1": 2}
    said = {
        "steps": [{"labels": (1, 1, 1)}, {"labels": (-1, None, None)}],
        "preference": ["a", "both_bad"],
        "critique": [{"critique": CritiqueAnswer(word)} for word in ("right", "wrong")],
    }[kind]
    handed_out = []
    for number in (1, 2):
        me = find_or_create_annotator(material, f"annotator-{number}")
        tasks = claim_tasks(material, me, n=3)
        handed_out.append([task.task_id for task in tasks])
        mine: Any = said[number - 1]
        fields = {"pair": pick(tasks[0], mine)} if kind == "preference" else mine
        assert submit(material, answer_of(tasks[0], me, **fields)).status == "stored"
    assert handed_out[0] == handed_out[1]
    first, second = compare_round(material, project_id, "calibration 1")
    assert dict(first.answers) == dict(zip(("annotator-1", "annotator-2"), words, strict=True))
    assert (first.is_unanimous, second.answers, second.is_unanimous, first.known) == (False, {}, True, None)
    with reading(material) as session:
        things = session.execute(
            sa.select(Task.solution_id, Task.other_solution_id, Task.critique_id).where(Task.kind == kind)
        ).all()
    assert len(set(things)) == 3
    if kind == "critique":
        with pytest.raises(InputError, match=r"no critique of source '\*' is left for a round of 'sums'"):
            start_round(material, project_id)


def test_critiques_of_one_solution_are_relabelled_each(material: sa.Engine) -> None:
    """A new task for one critique says nothing of the other, though both are of one solution."""
    with writing(material) as session:
        session.add(Critique(solution_id=1, problem_id=1, kind="judge", text="Yes.", verdict="pass"))
    project_id = add_project(material, kind="critique")
    add_tasks(material, [Wanted(1, critique_id=1), Wanted(1, critique_id=4)], project_id=project_id)
    me = find_or_create_annotator(material, "annotator-1")
    for task in claim_tasks(material, me):
        submit(material, answer_of(task, me, critique=CritiqueAnswer("right"), guideline="rules-1"))
    add_guideline(material, "rules-2", {"sections": [{"title": "Good", "kind": "good", "rules": ["True."]}]})
    change_project(material, project_id, guideline="rules-2")
    assert count_stale(material, project_id) == 2
    assert queue_relabel(material, project_id, limit=1).kept == 1
    assert count_stale(material, project_id) == 1
    assert queue_relabel(material, project_id).kept == 1
    assert count_stale(material, project_id) == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_known_answers_of_every_kind_are_read_from_a_file(material: sa.Engine, tmp_path: Path) -> None:
    add_project(material, "pairs", kind="preference")
    add_project(material, "critiques", kind="critique")
    file = tmp_path / "known.jsonl"

    def run(project: str, *rows: dict[str, Any] | str) -> str:
        file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
        url = material.url.render_as_string()
        command = ["projects", "gold", project, "--file", str(file), "--purpose", "entry", "--db", url]
        done = CliRunner().invoke(app, command)
        return done.stdout if done.exit_code == 0 else str(done.exception)

    assert run("pairs", {"solution_id": 1, "other_solution_id": 2, "choice": "a"}) == (
        "entry: read 1, kept 1, dropped 0\n"
    )
    assert run("critiques", {"critique_id": 1, "judgement": "wrong", "note": "why"}) == (
        "entry: read 1, kept 1, dropped 0\n"
    )
    assert 'nor of a critique {"critique_id": 1, "judgement": "wrong"}' in run("pairs", '{"choice": "a"}')
    assert "known answer: choice is 'c'" in run("pairs", {"solution_id": 3, "other_solution_id": 4, "choice": "c"})


def test_annotators_see_their_own_quality_only_where_the_project_shows_it_and_five_gold_answers_at_a_time(
    database: sa.Engine,
) -> None:
    fill(database, 9)
    me, other = (find_or_create_annotator(database, f"annotator-{number}") for number in (1, 2))
    shown = add_project(database, "shown", settings={"shows_own_quality": True, "n_entry_tasks": 2})
    silent = add_project(database, "silent")
    add_known_tasks(database, shown, [Known(1, {"labels": [1]}), Known(2, {"labels": [1]})], purpose="entry")
    wrong, right = {"labels": (-1, None, None)}, {"labels": (1, 1, 1)}
    for said in (wrong, right):
        [task] = claim_tasks(database, me, n=1)
        submit(database, answer_of(task, me, **said))
    assert own_quality(database, me) == [OwnQuality("shown", n_entry=2, n_entry_right=1)]
    for project_id in (shown, silent):
        added = add_known_tasks(database, project_id, [Known(id_, {"labels": [1]}) for id_ in range(3, 9)])
        assert added.kept == 6
    with writing(database) as session:
        for place, task in enumerate(session.scalars(sa.select(Task).where(Task.purpose == "gold"))):
            row = Annotation(
                submission_id=f"gold-{place}",
                kind="steps",
                annotator_id=me,
                task_id=task.task_id,
                solution_id=task.solution_id,
                finish_reason="skipped" if place == 0 else "solution",
                checks=["too_fast", "missed_known_answer"] if place == 2 else None,
            )
            session.add(row)
    assert own_quality(database, me) == [OwnQuality("shown", 5, 4, 2, 1)]
    with writing(database) as session:  # the last of them is taken back: the group is not full any more
        last = session.scalars(sa.select(Annotation).where(Annotation.submission_id == "gold-5")).one()
        last.finish_reason = "skipped"
    assert own_quality(database, me) == [OwnQuality("shown", 0, 0, 2, 1)]
    assert own_quality(database, other) == []
