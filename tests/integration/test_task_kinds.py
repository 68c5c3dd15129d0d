"""Answers to tasks of each kind and mode: what is stored, and what is refused in a sentence."""

import dataclasses
from typing import Any

import pytest
import sqlalchemy as sa

from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.models import (
    Alternative,
    AlternativeLabel,
    Annotation,
    Critique,
    CritiqueJudgement,
    Preference,
    Problem,
    Request,
    Solution,
    StepLabel,
    WrittenStep,
)
from db.tasks import (
    AddedTasks,
    ClaimedTask,
    CritiqueAnswer,
    PairAnswer,
    Wanted,
    add_tasks,
    claim_tasks,
    submit,
)
from stepmark.errors import InputError
from tests.labelling import add_project, add_run, annotation, answer_of, below, fill


@pytest.fixture
def annotator_id(database: sa.Engine) -> int:
    return find_or_create_annotator(database, "annotator-1")


def pair_task(engine: sa.Engine, annotator_id: int, **settings: Any) -> ClaimedTask:
    fill(engine, 1, n_each=2)
    project_id = add_project(engine, kind="preference", settings=settings)
    add_tasks(engine, [Wanted(1, other_solution_id=2)], project_id=project_id)
    [task] = claim_tasks(engine, annotator_id)
    return task


def critique_task(engine: sa.Engine, annotator_id: int, **fields: Any) -> ClaimedTask:
    fill(engine, 2)
    with writing(engine) as session:
        of = {"solution_id": 1, "problem_id": 1, "source": "critics", "source_key": "1", "kind": "judge"}
        session.add(Critique(**{**of, "text": "Step 2 is wrong.", "verdict": "fail", "first_error": 1, **fields}))
    add_tasks(engine, [Wanted(1, critique_id=1)], kind="critique")
    [task] = claim_tasks(engine, annotator_id)
    return task


def alternatives_task(engine: sa.Engine, annotator_id: int) -> ClaimedTask:
    fill(engine, 1)
    run_id = add_run(engine, "alternatives")
    with writing(engine) as session:
        session.add(
            Request(run_id=run_id, payload_hash="0" * 32, sample_index=0, status="done", response="1 + 1 = 3")
        )
        session.flush()
        for step_index, text in ((1, "2 + 1 = 4"), (0, "1 + 1 = 3")):
            session.add(Alternative(solution_id=1, step_index=step_index, run_id=run_id, request_id=1, text=text))
            session.flush()
    assert add_tasks(
        engine, [Wanted(1, step_index=1), Wanted(1, step_index=7), Wanted(1)], mode="alternatives"
    ) == AddedTasks(3, 1, {"no such step": 2})
    [task] = claim_tasks(engine, annotator_id)
    return task


def refusal(engine: sa.Engine, task: ClaimedTask, annotator_id: int, **changes: Any) -> str:
    """The sentence by which an answer is refused, with nothing stored."""
    refused = submit(engine, dataclasses.replace(answer_of(task, annotator_id), **changes))
    assert (refused.status, refused.annotation_id) == ("invalid", None)
    with reading(engine) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Annotation)) == 0
    return refused.message


def test_a_pair_is_shown_in_an_order_of_its_own_and_stored_in_the_pairs(
    database: sa.Engine, annotator_id: int
) -> None:
    pair_task(database, annotator_id)
    seen = {}
    for number in range(1, 9):
        me = find_or_create_annotator(database, f"annotator-{number}")
        with writing(database) as session:
            session.execute(sa.text("UPDATE tasks SET n_wanted = 9"))
        [task] = claim_tasks(database, me)
        assert task.order in ("ab", "ba")
        assert claim_tasks(database, me) == [task]
        assert task.solution_ids == ((1, 2) if task.order == "ab" else (2, 1))
        answer = submit(database, answer_of(task, me, pair=PairAnswer("first", 3, ("clear", "concise"))))
        [row] = below(database, Preference, answer.annotation_id)
        assert row == {
            "solution_a_id": 1,
            "solution_b_id": 2,
            "choice": task.order[0],
            "strength": 3,
            "shown_first": task.order[0],
            "reasons": ["clear", "concise"],
        }
        seen[task.order] = me
        stored = annotation(database, answer.annotation_id)
        assert (stored.kind, stored.mode, stored.finish_reason, stored.first_error) == (
            "preference",
            None,
            "solution",
            None,
        )
    assert set(seen) == {"ab", "ba"}


def test_an_undone_choice_supersedes_and_a_skipped_pair_has_none(database: sa.Engine, annotator_id: int) -> None:
    task = pair_task(database, annotator_id)
    submit(database, answer_of(task, annotator_id, pair=PairAnswer("first"), submission_id="one"))
    again = answer_of(task, annotator_id, pair=PairAnswer("equal"), submission_id="two", corrects="one")
    second = submit(database, again)
    assert second.status == "corrected"
    [row] = below(database, Preference, second.annotation_id)
    assert (row["choice"], row["strength"], row["reasons"]) == ("equal", None, None)
    third = submit(
        database, answer_of(task, annotator_id, submission_id="three", corrects="two", finish_reason="skipped")
    )
    assert third.status == "corrected"
    assert below(database, Preference, third.annotation_id) == []
    other = find_or_create_annotator(database, "annotator-2")
    assert [open_again.task_id for open_again in claim_tasks(database, other)] == [task.task_id]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "no choice was made"),
        ({"pair": PairAnswer("a")}, "choice 'a' is unknown; use one of first, second, equal, both_bad"),
        ({"pair": PairAnswer("equal", 2)}, "choice 'equal' has no strength"),
        ({"pair": PairAnswer("first", 4)}, "strength is 4; use 1, 2 or 3"),
        ({"pair": PairAnswer("first", reasons=["nice"])}, "reason 'nice' is none that this project offers"),
        ({"labels": [1, 1, 1]}, "a preference task has no steps to label"),
        ({"critique": CritiqueAnswer("right")}, "this is not the answer to a preference task"),
        ({"finish_reason": "found_error"}, "finish reason 'found_error' does not go with a preference task"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(
    database: sa.Engine, annotator_id: int, changes: dict[str, Any], message: str
) -> None:
    task = pair_task(database, annotator_id)
    assert refusal(database, task, annotator_id, **changes) == message


def test_a_project_that_asks_no_strength_takes_none(database: sa.Engine, annotator_id: int) -> None:
    task = pair_task(database, annotator_id, asks_strength=False)
    assert task.project.asks_strength is False
    said = refusal(database, task, annotator_id, pair=PairAnswer("first", 1))
    assert said == "this project does not ask how much better a solution is"


def test_a_critique_is_judged_with_its_variant_beside_it(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 2)
    with writing(database) as session:
        session.execute(sa.update(Problem).where(Problem.problem_id == 2).values(kind="template", parent_id=1))
    with writing(database) as session:
        session.add(
            Critique(
                solution_id=1,
                problem_id=2,
                source="c",
                source_key="1",
                kind="apply",
                text="It fails.",
                verdict="fail",
            )
        )
    add_tasks(database, [Wanted(1, critique_id=1)], kind="critique")
    [task] = claim_tasks(database, annotator_id)
    assert task.critique is not None
    assert task.critique.variant is not None
    assert (task.critique.text, task.critique.variant.statement) == ("It fails.", "Problem 1: what is 1 + 1 + 1?")
    assert task.steps == ("1 + 1 = 2", "2 + 1 = 3")
    answer = submit(
        database,
        answer_of(task, annotator_id, critique=CritiqueAnswer("partly", True, False, " It passes. ")),
    )
    assert below(database, CritiqueJudgement, answer.annotation_id) == [
        {
            "critique_id": 1,
            "judgement": "partly",
            "is_helpful": True,
            "is_verdict_right": False,
            "correction": "It passes.",
        }
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "no judgement was made"),
        ({"critique": CritiqueAnswer("good")}, "judgement 'good' is unknown; use one of right, partly, wrong"),
        (
            {"critique": CritiqueAnswer("right", is_verdict_right=True)},
            "the critique has no readable verdict that could be right or wrong",
        ),
    ],
)
def test_a_judgement_that_does_not_fit_is_refused(
    database: sa.Engine, annotator_id: int, changes: dict[str, Any], message: str
) -> None:
    task = critique_task(database, annotator_id, verdict="unreadable")
    assert refusal(database, task, annotator_id, **changes) == message


def test_alternatives_are_rated_one_is_chosen_and_one_may_be_written(database: sa.Engine, annotator_id: int) -> None:
    task = alternatives_task(database, annotator_id)
    assert (task.step_index, [(one.alternative_id, one.text) for one in task.alternatives]) == (1, [(1, "2 + 1 = 4")])
    first = submit(
        database,
        answer_of(
            task,
            annotator_id,
            [None, 1, None],
            alternatives={1: 0},
            chosen=1,
            submission_id="one",
        ),
    )
    assert below(database, AlternativeLabel, first.annotation_id) == [
        {"alternative_id": 1, "label": 0, "is_chosen": True}
    ]
    own = submit(
        database,
        answer_of(
            task,
            annotator_id,
            [None, -1, None],
            alternatives={1: -1},
            chosen="own",
            written={1: " 2 + 1 is 3 "},
            submission_id="two",
            corrects="one",
        ),
    )
    assert own.status == "corrected"
    assert below(database, AlternativeLabel, own.annotation_id) == [
        {"alternative_id": 1, "label": -1, "is_chosen": False}
    ]
    assert below(database, WrittenStep, own.annotation_id) == [{"step_index": 1, "text": "2 + 1 is 3"}]
    assert [row["label"] for row in below(database, StepLabel, own.annotation_id)] == [-1]
    assert annotation(database, own.annotation_id).extra == {"chosen": "own"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [None, 1, None]}, "alternative 1 has no label"),
        ({"labels": [None, None, None], "alternatives": {1: 1}}, "segment 1 has no label"),
        (
            {"labels": [1, 1, None], "alternatives": {1: 1}},
            "segment 0 is labelled; only step 1 and its alternatives are rated",
        ),
        ({"labels": [None, 1, None], "alternatives": {1: 1, 2: 1}}, "alternative 2 is none of this step's"),
        (
            {"labels": [None, 1, None], "alternatives": {1: -1}, "chosen": 1},
            "alternative 1 was chosen, but is not labelled good or neutral",
        ),
        (
            {"labels": [None, 1, None], "alternatives": {1: 1}, "chosen": "own"},
            "the chosen step is your own, but none was written",
        ),
        ({"labels": [None, 1, None], "written": {0: "x"}}, "step 0 was written; only step 1 can be"),
    ],
)
def test_ratings_that_do_not_fit_are_refused(
    database: sa.Engine, annotator_id: int, changes: dict[str, Any], message: str
) -> None:
    task = alternatives_task(database, annotator_id)
    assert refusal(database, task, annotator_id, **changes) == message


def test_steps_can_be_split_merged_and_written(database: sa.Engine, annotator_id: int) -> None:
    fill(database, 1, steps=["1 + 1 = 2, so 2 + 1 = 4", "it is 4"])
    add_tasks(database, [(1, 0.0)], mode="verify")
    [task] = claim_tasks(database, annotator_id)
    answer = submit(
        database,
        answer_of(
            task,
            annotator_id,
            [1, -1, None, None],
            segments=["1 + 1 = 2, ", "so 2 + 1 = 4", "it is 4"],
            written={1: "so 2 + 1 = 3"},
            suggestion_shown=True,
            extra={"labels_before": [1, 1, 1, 1]},
        ),
    )
    stored = annotation(database, answer.annotation_id)
    assert (stored.segments, stored.first_error, stored.mode, stored.suggestion_shown, stored.extra) == (
        ["1 + 1 = 2, ", "so 2 + 1 = 4", "it is 4"],
        1,
        "verify",
        True,
        {"labels_before": [1, 1, 1, 1]},
    )
    assert below(database, WrittenStep, answer.annotation_id) == [{"step_index": 1, "text": "so 2 + 1 = 3"}]


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        (
            {},
            {"labels": [1, 1], "segments": ["1 + 1 = 2"]},
            "the segments are not the solution's steps, split or merged",
        ),
        ({}, {"labels": [1, 1, 1, 1], "segments": ["1 + 1 = 2", " ", "2 + 1 = 3"]}, "a segment is empty"),
        ({}, {"labels": [1, 1, 1], "alternatives": {1: 1}}, "this task has no alternatives to rate"),
        ({}, {"labels": [1, 1, 1], "written": {3: "x"}}, "step 3 was written, but there are 3 segments"),
        (
            {},
            {"labels": [1, 1, 1], "unsure": frozenset({3})},
            "segment 3 is marked as unsure, but there are 3 segments",
        ),
        ({}, {"labels": [1, 1, 1], "pair": PairAnswer("first")}, "this is not the answer to a step task"),
        (
            {},
            {"labels": [-1, 1, 1], "repaired": frozenset({0})},
            "this project does not tell mended errors from others",
        ),
        (
            {"repaired_steps": "self_corrected"},
            {"labels": [1, 1, 1], "repaired": frozenset({0})},
            "segment 0 is said to be mended later, but is not labelled bad",
        ),
        (
            {"label_scheme": "good_bad"},
            {"labels": [1, 0, 1]},
            "segment 1 has label 0, which this project does not offer",
        ),
    ],
)
def test_step_answers_that_do_not_fit_are_refused(
    database: sa.Engine, annotator_id: int, settings: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    fill(database, 1)
    add_tasks(database, [(1, 0.0)], project_id=add_project(database, settings=settings))
    [task] = claim_tasks(database, annotator_id)
    answer = {"finish_reason": "solution", **changes}
    if "repaired" not in changes and -1 in changes["labels"]:
        answer["finish_reason"] = "found_error"
    assert refusal(database, task, annotator_id, **answer) == message


def test_a_mended_error_is_not_the_first_one_where_the_project_says_so(
    database: sa.Engine, annotator_id: int
) -> None:
    fill(database, 1)
    project_id = add_project(database, settings={"repaired_steps": "self_corrected"})
    add_tasks(database, [(1, 0.0)], project_id=project_id)
    [task] = claim_tasks(database, annotator_id)
    answer = submit(
        database,
        answer_of(task, annotator_id, [-1, 1, 1], repaired=frozenset({0}), finish_reason="solution"),
    )
    assert answer.is_accepted, answer
    assert annotation(database, answer.annotation_id).first_error is None
    rows = below(database, StepLabel, answer.annotation_id)
    assert [(row["label"], row["is_repaired"]) for row in rows] == [(-1, True), (1, False), (1, False)]


def test_adding_pairs_and_critiques_counts_what_it_leaves_out(database: sa.Engine) -> None:
    fill(database, 2, n_each=2)
    with writing(database) as session:
        session.execute(sa.update(Solution).where(Solution.solution_id == 4).values(text_hash=f"{2:032x}"))
        session.add(
            Critique(solution_id=1, problem_id=1, source="c", source_key="1", kind="judge", text="x", verdict="pass")
        )
    pairs = [
        Wanted(1, other_solution_id=2),
        Wanted(2, other_solution_id=1),
        Wanted(1, other_solution_id=3),
        Wanted(3, other_solution_id=4),
        Wanted(1, other_solution_id=9),
    ]
    assert add_tasks(database, pairs, kind="preference") == AddedTasks(
        5, 1, {"already queued": 1, "of different problems": 1, "equal texts": 1, "no such solution": 1}
    )
    critiques = [Wanted(1, critique_id=1), Wanted(2, critique_id=1), Wanted(1, critique_id=1)]
    assert add_tasks(database, critiques, kind="critique") == AddedTasks(
        3, 1, {"no such critique": 1, "already queued": 1}
    )
    project_id = add_project(database)
    with pytest.raises(InputError, match="project 'sums' labels steps, not critique"):
        add_tasks(database, critiques, kind="critique", project_id=project_id)
    with pytest.raises(InputError, match="there is no project 7"):
        add_tasks(database, [(1, 0.0)], project_id=7)
