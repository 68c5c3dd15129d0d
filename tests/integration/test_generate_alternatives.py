"""Other next steps: where they are asked for, where they end, and which are stored."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from db.annotations import ImportedAnnotation, add_annotations
from db.connect import open_database, reading, writing
from db.models import Alternative, Problem, Solution
from db.models import Request as RequestRow
from db.problems import add_problems
from generator.alternatives import AlternativesTask, NextStep, Place, read_next_step
from generator.asking import Report, run_task
from generator.domain import draw_problems
from stepmark.cli.main import app
from stepmark.engine import Failure, Request, Sample, Sampling
from stepmark.prompts import Prompt
from stepmark.records import AnnotationRecord, ProblemRecord
from stepmark.steps import render_prefix, render_solution, split_solution
from tests.scripted_engine import ScriptedEngine

MODEL = str(Path(__file__).parents[2] / "examples" / "embedded" / "model")
PLAIN = Prompt("plain", "{problem}")
STEPS = ("9 + 7 = 16", "16 - 3 = 13", "13 * 2 = 26")


def add_solution(database: sa.Engine, *first_errors: int, statement: str = "How many?") -> int:
    with writing(database) as session:
        n = session.scalar(sa.select(sa.func.count()).select_from(Solution))
        problem = session.scalar(sa.select(Problem).where(Problem.statement == statement))
        if problem is None:
            problem = Problem(statement=statement, statement_hash=statement, family="f", kind="original")
            session.add(problem)
            session.flush()
        solution = Solution(
            problem_id=problem.problem_id,
            source="test",
            source_key=str(n),
            text=render_solution(STEPS, "26"),
            text_hash=str(n),
            steps=list(STEPS),
            answer="26",
        )
        session.add(solution)
        session.flush()
        labels = [
            ImportedAnnotation(
                AnnotationRecord(f"labeller-{i}", "program", (*(1,) * error, -1), "found_error"),
                solution.solution_id,
                "test",
                str(n),
            )
            for i, error in enumerate(first_errors)
        ]
        add_annotations(session, labels)
        return solution.solution_id


def alternatives(database: sa.Engine) -> list[tuple[int, int, str, bool]]:
    query = sa.select(Alternative.solution_id, Alternative.step_index, Alternative.text, Alternative.is_answer)
    with reading(database) as session:
        return [(*row,) for row in session.execute(query.order_by(Alternative.alternative_id))]


def run(
    database: sa.Engine, engine: ScriptedEngine, at: Place = "all", *, n: int = 4, annotator: str | None = None
) -> Report:
    return run_task(database, engine, AlternativesTask(PLAIN, Sampling(), n, at, annotator))


def test_other_steps_and_answers_are_stored_once_and_the_rest_is_counted(database: sa.Engine) -> None:
    solution = add_solution(database, 1)
    samples = [
        Sample("Step 2: 16 - 2 = 14", "stop"),
        Sample("\n\nStep 2: 16 - 2 = 14 ", "stop"),
        Sample("Step 2: 16  - 3 = 13", "stop"),
        Sample("# Answer\n\n16", "stop"),
        Sample("Step 2: 16 -", "length"),
        Failure("timeout", "too late"),
    ]
    asked: list[Request] = []

    def reply(request: Request, index: int) -> Sample | Failure:
        asked.append(request)
        return samples[index]

    report = run(database, ScriptedEngine(reply), "first-error", n=6)
    assert alternatives(database) == [(solution, 1, "16 - 2 = 14", False), (solution, 1, "16", True)]
    assert report.counts == {
        "alternatives": 2,
        "sampled before": 1,
        "the solution's own step": 1,
        "without a whole step": 1,
    }
    assert {(r.messages[-1].role, r.messages[-1].content, r.sampling.stop) for r in asked} == {
        ("assistant", render_prefix(STEPS[:1]), ("\n\nStep 3",))
    }
    with reading(database) as session:
        rows = session.execute(
            sa.select(RequestRow.response, Alternative.text).join(
                Alternative, Alternative.request_id == RequestRow.request_id
            )
        ).all()
    assert all(text in response for response, text in rows)


@pytest.mark.parametrize(
    ("at", "annotator", "places"),
    [
        ("all", None, {1: [0, 1, 2], 2: [0, 1, 2], 3: [0, 1, 2]}),
        (2, None, {1: [2], 2: [2], 3: [2]}),
        (3, None, {}),
        ("first-error", None, {1: [0], 2: [1, 2]}),
        ("first-error", "labeller-1", {2: [2]}),
        ("before-error", None, {2: [0, 1]}),
    ],
)
def test_alternatives_stand_where_they_are_wanted(
    database: sa.Engine, at: Place, annotator: str | None, places: dict[int, list[int]]
) -> None:
    ids = [add_solution(database, *errors, statement=str(errors)) for errors in ((0,), (1, 2), ())]
    engine = ScriptedEngine(lambda request, index: "Step 9: something else")
    report = run(database, engine, at, n=1, annotator=annotator)
    found: dict[int, list[int]] = {}
    for solution_id, index, text, _ in alternatives(database):
        assert text == "something else"
        found.setdefault(ids.index(solution_id) + 1, []).append(index)
    assert found == places
    assert report.n_items_done == len(places)
    assert report.dropped.total() == 3 - len(places)


def test_a_second_run_asks_nothing_and_more_samples_add_only_what_is_new(database: sa.Engine) -> None:
    solution = add_solution(database)
    engine = ScriptedEngine(lambda request, index: f"Step 1: try {index % 3}")
    assert run(database, engine, 0, n=2).counts["alternatives"] == 2
    again = run(database, engine, 0, n=2)
    assert (again.n_items, again.n_wanted) == (0, 0)
    more = run(database, engine, 0, n=5)
    assert more.counts == {"alternatives": 1, "sampled before": 4}
    assert set(engine.asked.values()) == {1}
    assert [text for _, _, text, _ in alternatives(database)] == ["try 0", "try 1", "try 2"]
    assert {row[0] for row in alternatives(database)} == {solution}


@given(st.text(st.sampled_from("Step 12:#Answer\n .x")), st.sampled_from(["stop", "length"]))
def test_any_completion_gives_a_bare_step_or_none(text: str, finish_reason: str) -> None:
    found = read_next_step(Sample(text, finish_reason))
    assert found is None or found.text == found.text.strip() != ""
    split = split_solution(text)
    if finish_reason == "stop" and split.steps:
        assert found == NextStep(split.steps[0], is_answer=False)


def test_the_embedded_model_writes_one_step_at_each_place(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    problems = draw_problems(10, 924, part="reserved")
    with writing(database) as session:
        add_problems(
            session, [ProblemRecord(p.statement, "embedded", str(i), p.answer) for i, p in enumerate(problems)]
        )
    flags = ["--engine", "transformers", "--model", MODEL, "--prompt", "plain", "--max-tokens", "128", "--db", url]

    def call(*words: str) -> dict[str, int]:
        result = CliRunner().invoke(app, ["generate", *words, *flags, "--json"])
        assert result.exit_code == 0, result.output
        answer: dict[str, int] = json.loads(result.stdout)
        return answer

    call("solutions", "--n", "1")
    report = call("alternatives", "--at", "all", "--n", "8")
    found = alternatives(database)
    assert len(found) > 10
    with reading(database) as session:
        steps = {s.solution_id: s.steps for s in session.scalars(sa.select(Solution))}
    for solution_id, index, text, is_answer in found:
        assert ("Step" in text, "\n" in text) == (False, False)
        assert is_answer or text != steps[solution_id][index]
    assert len({row[:3] for row in found}) == len(found)
    # One short step each, not the rest of the solution.
    assert report["n_completion_tokens"] / report["n_stored"] < 14
    assert call("alternatives", "--at", "all", "--n", "8")["n_stored"] == 0
    result = CliRunner().invoke(app, ["generate", "alternatives", *flags, "--at", "end"])
    assert "--at is 'end'" in str(result.exception)
    database.dispose()
