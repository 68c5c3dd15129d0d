"""Which answers of people become training data, and rows of labellers who split or merged steps."""

from collections.abc import Sequence

import sqlalchemy as sa

from annotator.practice import practice_for
from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.models import Annotation, Solution, StepLabel, Task
from db.tasks import submit
from exports.queries.orm_rows import orm_rows
from exports.queries.preference_rows import PreferenceOptions, first_error_rows
from exports.queries.prm_rows import PrmOptions, prm_rows
from exports.queries.selection import Counts, Selection
from tests.labelling import answer_of, fill


def label(
    engine: sa.Engine,
    annotator_id: int,
    solution_id: int,
    labels: Sequence[int],
    *,
    purpose: str = "label",
    segments: list[str] | None = None,
    mode: str = "all_steps",
) -> None:
    with writing(engine) as session:
        task = Task(kind="steps", solution_id=solution_id, purpose=purpose)
        session.add(task)
        session.flush()
        error = next((index for index, one in enumerate(labels) if one == -1), None)
        row = Annotation(
            submission_id=f"t{task.task_id}",
            kind="steps",
            annotator_id=annotator_id,
            task_id=task.task_id,
            solution_id=solution_id,
            mode=mode,
            finish_reason="solution" if error is None else "found_error",
            first_error=error,
            segments=segments,
        )
        session.add(row)
        session.flush()
        session.add_all(
            StepLabel(annotation_id=row.annotation_id, step_index=index, label=one)
            for index, one in enumerate(labels)
        )


def rows(engine: sa.Engine, options: PrmOptions) -> tuple[list[tuple[list[str], list[bool]]], dict[str, int]]:
    counts = Counts()
    with reading(engine) as session:
        found = [
            (row.row["completions"], row.row["labels"]) for row in prm_rows(session, Selection(), options, counts)
        ]
    return found, dict(counts.dropped)


def test_answers_that_measure_people_are_no_training_data(database: sa.Engine) -> None:
    fill(database, 7)
    me = find_or_create_annotator(database, "annotator-1")
    purposes = ("label", "relabel", "gold", "entry", "practice", "calibration", "repeat")
    for solution_id, purpose in enumerate(purposes, start=1):
        label(database, me, solution_id, [1, -1, 1], purpose=purpose)
    found, dropped = rows(database, PrmOptions())
    assert found == [(["Step 1: 1 + 1 = 2", "Step 2: 2 + 1 = 3"], [True, False])] * 2
    assert dropped == {}
    assert rows(database, PrmOptions(labellers="majority")) == (found, {})


def test_who_split_or_merged_steps_has_a_row_of_their_own_segments_and_no_vote(database: sa.Engine) -> None:
    fill(database, 1)
    merged = ["1 + 1 = 2\n2 + 1 = 3"]
    label(database, find_or_create_annotator(database, "annotator-1"), 1, [-1, 1], segments=merged)
    assert rows(database, PrmOptions()) == ([([f"Step 1: {merged[0]}"], [False])], {})
    assert rows(database, PrmOptions(labellers="majority")) == ([], {"steps_split_or_merged": 1})
    for number in (2, 3):
        label(database, find_or_create_annotator(database, f"annotator-{number}"), 1, [1, -1, 1])
    found, _ = rows(database, PrmOptions(labellers="majority"))
    assert found == [(["Step 1: 1 + 1 = 2", "Step 2: 2 + 1 = 3"], [True, False])]


def test_only_first_errors_of_whole_solutions_as_they_are_make_pairs(database: sa.Engine) -> None:
    fill(database, 1, n_each=3)
    with writing(database) as session:
        for solution_id, steps in ((1, ["a", "b"]), (2, ["c", "d"]), (3, ["e", "f"])):
            session.execute(sa.update(Solution).where(Solution.solution_id == solution_id).values(steps=steps))
    me = find_or_create_annotator(database, "annotator-1")
    label(database, me, 1, [1, 1, 1])
    label(database, me, 2, [-1], mode="alternatives")
    label(database, me, 3, [-1, 1], segments=["e f"])
    counts = Counts()
    with reading(database) as session:
        assert list(first_error_rows(session, Selection(), PreferenceOptions(origin="first-errors"), counts)) == []
    assert counts.n_read == 0


def test_what_comes_with_the_app_to_practise_on_is_never_exported_unless_it_is_named(database: sa.Engine) -> None:
    me = find_or_create_annotator(database, "annotator-1")
    task = practice_for(database, me)
    assert task.known is not None
    assert submit(database, answer_of(task, me, task.known.answer["labels"])).is_accepted
    with writing(database) as session:
        session.execute(sa.update(Solution).values(outcome=True))
    for sources, n_rows in (((), 0), (("*",), 0), (("stepmark/practice",), 6)):
        with reading(database) as session:
            assert len(list(orm_rows(session, Selection(sources), "steps", Counts()))) == n_rows
    assert rows(database, PrmOptions()) == ([], {})
