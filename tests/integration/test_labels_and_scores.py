"""Labels by the checker, scores by reward models, and what is chosen by both, on both databases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import db.scores
from db.annotations import ImportedAnnotation, add_annotations
from db.connect import reading, writing
from db.models import Annotation, Annotator, Score, Solution, StepLabel
from db.problems import add_problems
from db.scores import Example, NewScore, convincing_wrong, example, step_judgements, write_scores
from db.solutions import add_solutions, solution_text_hash
from stepmark.errors import InputError
from stepmark.flows.best_of_n import collect_best_of_n
from stepmark.flows.labels import CHECKER, label_by_checker
from stepmark.flows.scores import score_solutions
from stepmark.flows.verify import verify_solutions
from stepmark.records import AnnotationRecord, ProblemRecord, SolutionRecord
from stepmark.steps import render_segments, render_solution
from tests.tiny_reward_model import save_tiny_lm, write_sums
from trainer.render import TOO_LONG
from trainer.rows import Kind
from trainer.score import RewardModel
from trainer.train import TrainSettings, train_reward_model

NUTS = "Mia has 9 nuts. She loses 5 nuts. She finds 7 nuts. How many nuts are there now?"  # 9 - 5 = 4, 4 + 7 = 11
PENS = "Sam has 8 pens. He sells 3 of the pens. How many pens does he have in the end?"  # 8 - 3 = 5
FREE = "Prove that there are infinitely many primes."
REFERENCES = {NUTS: "11", PENS: "5"}


@dataclass(frozen=True)
class Attempt:
    statement: str
    steps: Sequence[str]
    answer: str | None
    source: str = "attempts"


RIGHT = Attempt(NUTS, ("9 - 5 = 4", "4 + 7 = 11"), "11")
SWAPPED = Attempt(NUTS, ("9 - 5 = 4", "7 + 4 = 11"), "11")
WRONG_FIRST = Attempt(NUTS, ("9 + 5 = 14", "14 + 7 = 21"), "21")
WRONG_SECOND = Attempt(NUTS, ("9 - 5 = 4", "4 + 7 = 12", "12 + 1 = 13"), "13")
RIGHT_BY_WRONG_STEPS = Attempt(NUTS, ("9 - 5 = 3", "3 + 7 = 11"), "11")
ONE_STEP_TOO_MANY = Attempt(PENS, ("8 - 3 = 5", "5 + 1 = 6"), "6")
NO_ANSWER = Attempt(PENS, ("8 - 3 = 5",), None)
FOREIGN = Attempt(FREE, ("Assume there are finitely many.",), "proved")
EMPTY = Attempt(PENS, (), "5")


def fill(database: sa.Engine, *attempts: Attempt) -> list[int]:
    """Puts in the attempts and their problems; returns the ids of the solutions."""
    with writing(database) as session:
        problems = [
            ProblemRecord(
                attempt.statement, "drawn", attempt.statement, reference_answer=REFERENCES.get(attempt.statement)
            )
            for attempt in attempts
        ]
        problem_ids = add_problems(session, problems).problem_ids
        records = [
            SolutionRecord(
                source=attempt.source,
                source_key=str(index),
                text=render_solution(attempt.steps, attempt.answer),
                steps=tuple(attempt.steps),
                answer=attempt.answer,
            )
            for index, attempt in enumerate(attempts)
        ]
        hashes = [
            solution_text_hash(f"{problem_id:032d}", record.text)
            for problem_id, record in zip(problem_ids, records, strict=True)
        ]
        return add_solutions(session, records, problem_ids=problem_ids, text_hashes=hashes).solution_ids


def labels_of(database: sa.Engine) -> dict[int, tuple[str, str, str | None, int | None, dict[int, int]]]:
    """By solution: labeller, its kind, finish reason, first error, and labels by step."""
    with reading(database) as session:
        return {
            row.solution_id: (
                row.name,
                row.kind,
                row.finish_reason,
                row.first_error,
                {
                    label.step_index: label.label
                    for label in session.scalars(
                        sa.select(StepLabel).where(StepLabel.annotation_id == row.annotation_id)
                    )
                },
            )
            for row in session.execute(
                sa.select(
                    Annotation.solution_id,
                    Annotation.annotation_id,
                    Annotation.finish_reason,
                    Annotation.first_error,
                    Annotator.name,
                    Annotator.kind,
                ).join(Annotator)
            )
        }


def scores_of(database: sa.Engine, name: str) -> dict[int, tuple[str, float, list[float] | None]]:
    with reading(database) as session:
        return {
            score.solution_id: (score.kind, score.value, score.step_values)
            for score in session.scalars(sa.select(Score).where(Score.reward_model == name))
        }


# Labels by the checker


def test_the_checker_labels_up_to_the_first_error_as_a_program(database: sa.Engine) -> None:
    attempts = (RIGHT, SWAPPED, WRONG_FIRST, WRONG_SECOND, RIGHT_BY_WRONG_STEPS, ONE_STEP_TOO_MANY, NO_ANSWER)
    ids = fill(database, *attempts, FOREIGN, EMPTY)
    report = label_by_checker(database)
    who = (CHECKER, "program")
    assert labels_of(database) == dict(
        zip(
            ids,
            [
                (*who, "solution", None, {0: 1, 1: 1}),
                (*who, "solution", None, {0: 1, 1: 1}),
                (*who, "found_error", 0, {0: -1}),
                (*who, "found_error", 1, {0: 1, 1: -1}),  # nothing is said of the third step
                (*who, "found_error", 0, {0: -1}),
                (*who, "found_error", 1, {0: 1, 1: -1}),
                (*who, "solution", None, {0: 1}),
            ],
            strict=False,
        )
    )
    assert (report.n_read, report.n_labelled, report.n_step_labels) == (9, 7, 11)
    assert (report.n_right, report.n_right_by_wrong_steps) == (2, 1)
    assert dict(report.faults) == {"rule": 1, "arithmetic": 2, "superfluous": 1}
    assert dict(report.dropped) == {"not of the embedded domain": 1, "no steps": 1}


def test_what_the_checker_has_labelled_it_does_not_label_again(database: sa.Engine) -> None:
    fill(database, RIGHT, WRONG_SECOND, FOREIGN)
    label_by_checker(database)
    before = labels_of(database)
    again = label_by_checker(database)
    assert (again.n_read, again.n_labelled, again.n_step_labels) == (1, 0, 0)
    assert dict(again.dropped) == {"not of the embedded domain": 1}
    assert labels_of(database) == before


def test_only_the_sources_asked_for_are_labelled_and_a_persons_labels_do_not_count(database: sa.Engine) -> None:
    wanted, other = fill(database, RIGHT, Attempt(NUTS, WRONG_FIRST.steps, "21", source="elsewhere"))
    with writing(database) as session:
        record = AnnotationRecord("annotator-1", "person", (1, 1), "solution")
        add_annotations(session, [ImportedAnnotation(record, wanted, "attempts", "0")])
    shares: list[tuple[int, int | None]] = []
    report = label_by_checker(
        database, source="attempt*", progress=lambda done, total, note="": shares.append((done, total))
    )
    assert (report.n_read, report.n_labelled) == (1, 1)
    assert shares == [(1, 1)]
    with reading(database) as session:
        names = session.execute(
            sa.select(Annotation.solution_id, Annotator.name).join(Annotator).order_by(Annotation.annotation_id)
        )
        assert [tuple(row) for row in names] == [(wanted, "annotator-1"), (wanted, CHECKER)]
    assert label_by_checker(database).n_labelled == 1
    assert labels_of(database)[other][:2] == (CHECKER, "program")


# Scores


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    folder = tmp_path_factory.mktemp("models")
    base, data = save_tiny_lm(folder / "base"), write_sums(folder / "data", n=20)
    kinds: list[Kind] = ["prm", "bt"]
    for kind in kinds:
        train_reward_model(kind, data=data, model=base, out=folder / kind, settings=TrainSettings(epochs=1))
    return {kind: folder / kind for kind in kinds}


def test_each_solution_gets_the_score_of_the_model_and_equal_texts_go_through_once(
    database: sa.Engine, models: dict[Kind, Path]
) -> None:
    attempts = [NO_ANSWER, RIGHT, WRONG_FIRST, RIGHT, NO_ANSWER, RIGHT]
    ids = fill(database, *attempts)
    report = score_solutions(database, models["prm"])
    assert (report.reward_model, report.kind) == ("prm", "prm")
    assert (report.n_read, report.n_scored, report.n_forwarded, dict(report.dropped)) == (6, 6, 3, {})
    found = scores_of(database, "prm")
    alone = RewardModel.load(models["prm"])
    for solution_id, attempt in zip(ids, attempts, strict=True):
        (wanted,) = alone.score([(0, attempt.statement, render_segments(attempt.steps, attempt.answer))])
        kind, value, step_values = found[solution_id]
        assert kind == "prm"
        assert value == pytest.approx(wanted.score, abs=1e-6)
        assert step_values == pytest.approx(list(wanted.step_scores), abs=1e-6)
        assert len(step_values or ()) == len(attempt.steps) + (attempt.answer is not None)
    assert found[ids[1]] == found[ids[3]] == found[ids[5]]


def test_what_is_scored_is_not_scored_again_under_that_name(database: sa.Engine, models: dict[Kind, Path]) -> None:
    ids = fill(database, RIGHT, WRONG_FIRST)
    score_solutions(database, models["bt"], source="attempts")
    before = scores_of(database, "bt")
    assert [before[solution_id][::2] for solution_id in ids] == [("bt", None)] * 2
    again = score_solutions(database, models["bt"])
    assert (again.n_read, again.n_scored, again.n_forwarded) == (0, 0, 0)
    assert scores_of(database, "bt") == before
    renamed = score_solutions(database, models["bt"], name="bt-round-2")
    assert (renamed.reward_model, renamed.n_scored) == ("bt-round-2", 2)
    assert {i: s[1] for i, s in scores_of(database, "bt-round-2").items()} == {i: s[1] for i, s in before.items()}


def test_a_solution_that_is_too_long_or_empty_has_no_score_and_a_reason(
    database: sa.Engine, models: dict[Kind, Path]
) -> None:
    long = Attempt(NUTS, ("9 - 5 = 4",) * 100, "4")
    nothing = Attempt(PENS, (), None)
    ids = fill(database, long, nothing, RIGHT)
    report = score_solutions(database, models["prm"])
    assert (report.n_read, report.n_scored) == (3, 1)
    assert dict(report.dropped) == {TOO_LONG: 1, "no segments": 1}
    assert list(scores_of(database, "prm")) == [ids[2]]


def test_scoring_that_was_interrupted_half_way_goes_on_there(
    database: sa.Engine, models: dict[Kind, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.scores, "_BATCH", 2)  # so that six solutions are several batches
    pears = NUTS.replace("nuts", "pears")
    ids = fill(database, RIGHT, WRONG_FIRST, SWAPPED, NO_ANSWER, ONE_STEP_TOO_MANY, Attempt(pears, RIGHT.steps, "11"))

    def stop(done: int, total: int | None, note: str = "") -> None:
        assert (done, total) == (3, 6)  # all of the first problem, though a batch is two
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_solutions(database, models["prm"], progress=stop)
    first = scores_of(database, "prm")
    assert sorted(first) == ids[:3]
    report = score_solutions(database, models["prm"])
    assert (report.n_read, report.n_scored) == (3, 3)
    both = scores_of(database, "prm")
    assert {solution_id: both[solution_id] for solution_id in first} == first
    score_solutions(database, models["prm"], name="at once")
    assert {i: s[1] for i, s in scores_of(database, "at once").items()} == pytest.approx(
        {i: s[1] for i, s in both.items()}, abs=1e-6
    )


def test_a_folder_without_a_finished_model_is_refused(database: sa.Engine, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished reward model"):
        score_solutions(database, tmp_path)


# What is chosen by labels and scores


def give(database: sa.Engine, values: dict[int, Any], *, name: str = "prm", kind: str = "prm") -> None:
    """Stores these scores; a list is step scores, whose last is the solution's."""
    rows = [
        NewScore(i, value[-1], tuple(value)) if isinstance(value, list) else NewScore(i, value)
        for i, value in values.items()
    ]
    assert write_scores(database, rows, reward_model=name, kind=kind) == len(rows)


def test_convincingly_wrong_are_the_best_scored_wrong_solutions_one_a_problem(database: sa.Engine) -> None:
    pears = NUTS.replace("nuts", "pears")
    ids = fill(
        database,
        RIGHT,  # right: the highest score does not help it
        WRONG_FIRST,
        WRONG_SECOND,
        ONE_STEP_TOO_MANY,
        Attempt(PENS, ("8 + 3 = 11",), "11"),
        NO_ANSWER,  # unknown is not wrong
        Attempt(pears, WRONG_FIRST.steps, "21", source="elsewhere"),
    )
    give(database, dict(zip(ids, [0.99, 0.4, 0.7, 0.9, 0.9, 0.95, 0.8], strict=True)))
    give(database, {ids[1]: 1.0}, name="other")
    with writing(database) as session:
        for solution_id, outcome in zip(ids, [True, False, False, False, False, None, False], strict=True):
            session.execute(sa.update(Solution).where(Solution.solution_id == solution_id).values(outcome=outcome))
    assert convincing_wrong(database, "prm", limit=10) == [(ids[3], 0.9), (ids[6], 0.8), (ids[2], 0.7)]
    assert convincing_wrong(database, "prm", limit=1) == [(ids[3], 0.9)]
    assert convincing_wrong(database, "prm", limit=10, source="attempts") == [(ids[3], 0.9), (ids[2], 0.7)]
    assert convincing_wrong(database, "nobody", limit=10) == []


def test_an_example_is_the_clearest_one_of_its_kind(database: sa.Engine) -> None:
    clear, unclear, wrong, trick = fill(database, RIGHT, SWAPPED, WRONG_SECOND, RIGHT_BY_WRONG_STEPS)
    label_by_checker(database)
    verify_solutions(database)
    give(
        database,
        {clear: [0.9, 0.8, 0.7], unclear: [0.6, 0.6, 0.5], wrong: [0.9, 0.2, 0.1, 0.1], trick: [0.5, 0.5, 0.4]},
    )

    def found(*, outcome: bool, has_error: bool, source: str | None = None) -> Example | None:
        return example(database, "prm", outcome=outcome, has_error=has_error, source=source)

    assert found(outcome=True, has_error=False) == Example(
        NUTS, "11", ("9 - 5 = 4", "4 + 7 = 11"), "11", (1, 1), (0.9, 0.8, 0.7), 0.7
    )
    assert found(outcome=False, has_error=True) == Example(
        NUTS,
        "11",
        ("9 - 5 = 4", "4 + 7 = 12", "12 + 1 = 13"),
        "13",
        (1, -1, None),
        (0.9, 0.2, 0.1, 0.1),
        0.1,
    )
    trap = found(outcome=True, has_error=True)
    assert trap is not None
    assert (trap.steps, trap.labels) == (("9 - 5 = 3", "3 + 7 = 11"), (-1, None))
    assert found(outcome=False, has_error=False) is None
    assert found(outcome=True, has_error=False, source="elsewhere") is None


def test_judged_steps_stand_beside_their_scores_and_neutral_ones_are_left_out(database: sa.Engine) -> None:
    ids = fill(database, RIGHT, WRONG_SECOND, SWAPPED)
    label_by_checker(database, source="attempts")
    with writing(database) as session:
        said = AnnotationRecord("annotator-1", "person", (0, 1), "solution")
        add_annotations(session, [ImportedAnnotation(said, ids[0], "attempts", "0")])
    give(database, {ids[0]: [0.9, 0.8, 0.7], ids[1]: [0.6, 0.3, 0.2, 0.1]})  # the third has no score
    assert step_judgements(database, "prm", source=None) == {
        ids[0]: [(True, 0.9), (True, 0.8), (True, 0.8)],  # the checker's two, and the person's second
        ids[1]: [(True, 0.6), (False, 0.3)],
    }
    assert step_judgements(database, "prm", source="elsewhere") == {}
    assert step_judgements(database, "other", source=None) == {}


def test_best_of_n_says_what_is_missing(database: sa.Engine) -> None:
    names = {"prm": ["prm"]}
    with pytest.raises(
        InputError, match=r"there are no solutions of sources like 'attempts'; run `stepmark generate"
    ):
        collect_best_of_n(database, names, source="attempts")
    ids = fill(database, RIGHT, WRONG_FIRST, NO_ANSWER)
    give(database, {ids[0]: 0.9})
    with pytest.raises(InputError, match="2 of 3 solutions have no score by 'prm'; run `stepmark score`"):
        collect_best_of_n(database, names, source="attempts")
    with pytest.raises(InputError, match="1 of 1 solutions are not verified; run `stepmark verify`"):
        collect_best_of_n(database, names, source="attempts", skip_unscored=True)
    give(database, {ids[1]: 0.2, ids[2]: 0.5})
    with pytest.raises(InputError, match="3 of 3 solutions are not verified; run `stepmark verify`"):
        collect_best_of_n(database, names, source="attempts")


def test_best_of_n_gathers_answers_outcomes_scores_and_judged_steps(database: sa.Engine) -> None:
    ids = fill(database, RIGHT, Attempt(NUTS, WRONG_FIRST.steps, "21.0"), RIGHT, NO_ANSWER)
    label_by_checker(database)
    verify_solutions(database)
    give(database, {i: [0.9, 0.8] for i in ids})
    give(database, dict(zip(ids, [1.5, -2.0, 1.5, 0.0], strict=True)), name="bt-0", kind="bt")
    give(database, dict(zip(ids, [1.0, -1.0, 1.0, 0.5], strict=True)), name="bt-1", kind="bt")
    nuts, pens = collect_best_of_n(database, {"prm": ["prm"], "bt": ["bt-0", "bt-1"]}, source="attempts")
    first, second, third = nuts["solutions"]
    right = {"answer": "11", "is_correct": True, "scores": {"prm": [0.8], "bt": [1.5, 1.0]}}
    steps = [{"is_correct": True, "scores": {"prm": 0.9}}, {"is_correct": True, "scores": {"prm": 0.8}}]
    assert first == {"text": first["text"], **right, "steps": steps}
    assert third == {"text": first["text"], **right}  # the same text: its steps stand there once
    assert second == {
        "text": second["text"],
        "answer": "21",
        "is_correct": False,
        "scores": {"prm": [0.8], "bt": [-2.0, -1.0]},
        "steps": [{"is_correct": False, "scores": {"prm": 0.9}}],
    }
    assert [(s["answer"], s["is_correct"]) for s in pens["solutions"]] == [(None, None)]
    assert first["text"] != second["text"]
