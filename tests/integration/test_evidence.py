"""Evidence beside the steps of solutions, on both databases: all there is, bounded, in a few queries, no model."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db.connect import open_database, writing
from db.evidence import MAX_APPLICATIONS, MAX_OPINIONS, MAX_REWARD_MODELS, MAX_RUNS
from db.models import Critique, Problem, Run, Score, Solution, StepValue
from db.subjects import SolutionSelection
from generator.critiques.replays import replay_solutions
from stepmark.cli.main import app
from stepmark.evidence import Evidence
from stepmark.flows.evidence import MAX_CHECKED, MAX_TEXT, evidence_of
from stepmark.flows.verdicts import verify_verdicts

HATS = "Paul has {} hats. He loses {} hats. He gives away half of the hats. How many hats are there now?"
RIGHT = ("11 - 7 = 4", "4 / 2 = 2")
OVERFIT = ("11 - 7 = 4", "4 - 2 = 2")
"""Halves by taking two away: the answer is right all the same."""


def add_problem(database: sa.Engine, problem_id: int = 1, *, kind: str = "original", **columns: Any) -> None:
    row = {
        "statement": HATS.format(11, 7),
        "reference_answer": "2",
        "reference_solution": "\n".join(RIGHT),
        "statement_hash": f"{problem_id:032d}",
        "family": "0" * 32,
        "kind": kind,
        **columns,
    }
    with writing(database) as session:
        session.add(Problem(problem_id=problem_id, **row))


def add_variant(database: sa.Engine, problem_id: int, has: int, loses: int) -> None:
    add_problem(
        database,
        problem_id,
        kind="template",
        parent_id=1,
        statement=HATS.format(has, loses),
        reference_answer=str((has - loses) // 2),
        reference_solution=None,
        reference_trust="template",
    )


def add_solution(database: sa.Engine, solution_id: int, steps: Sequence[str], answer: str | None = "2") -> None:
    with writing(database) as session:
        session.add(
            Solution(
                solution_id=solution_id,
                problem_id=1,
                source="toy",
                source_key=str(solution_id),
                generator="writer",
                text="\n".join(steps),
                text_hash=f"{solution_id:032d}",
                steps=list(steps),
                answer=answer,
                outcome=True,
            )
        )


def add_critiques(database: sa.Engine, *rows: dict[str, Any]) -> None:
    with writing(database) as session:
        for number, row in enumerate(rows):
            said = {"kind": "judge", "critic": "model", "text": "Fine.", "verdict": "pass", "problem_id": 1, **row}
            key = f"{row['solution_id']}/{said['kind']}/{said['problem_id']}/{number}"
            session.add(Critique(source="toy", source_key=key, **said))


@pytest.fixture
def hats(database: sa.Engine) -> sa.Engine:
    """A problem with two variants, a right chain (1) and an overfit one (2)."""
    add_problem(database)
    add_variant(database, 2, 15, 5)
    add_variant(database, 3, 20, 8)
    add_solution(database, 1, RIGHT)
    add_solution(database, 2, OVERFIT)
    return database


@contextmanager
def counted_queries(database: sa.Engine) -> Iterator[list[str]]:
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    sa.event.listen(database, "before_cursor_execute", note)
    yield said
    sa.event.remove(database, "before_cursor_execute", note)


def test_an_overfit_chain_is_seen_to_break_on_a_variant_without_any_model(hats: sa.Engine) -> None:
    found = evidence_of(hats, [1, 2, 99])
    assert set(found) == {1, 2}
    right, overfit = found[1].applications, found[2].applications
    assert [(one.found, one.expected, one.agrees, one.verdict, one.leaves_at) for one in right] == [
        ("5", "5", True, "pass", None),
        ("6", "6", True, "pass", None),
    ]
    first, _ = overfit
    assert (first.found, first.expected, first.agrees, first.verdict, first.leaves_at) == ("8", "5", False, "fail", 1)
    assert (first.critique_id, first.variant_id, first.reference_trust) == (None, 2, "template")
    assert (first.is_confirmed, first.confirmation_rule) == (True, "variant answer")
    assert [(one.here, one.there, one.text, one.state) for one in first.steps] == [
        ("4", "10", "15 - 5 = 10", "carried"),
        ("2", "8", "10 - 2 = 8", "carried"),
    ]


def test_what_was_stored_by_the_program_is_shown_as_what_is_worked_out_now(hats: sa.Engine) -> None:
    now = evidence_of(hats, [1, 2])
    replay_solutions(hats, SolutionSelection())
    verify_verdicts(hats)
    stored = evidence_of(hats, [1, 2])
    for solution_id in (1, 2):
        assert all(one.critique_id for one in stored[solution_id].applications)
        assert [dataclasses.replace(one, critique_id=None) for one in stored[solution_id].applications] == list(
            now[solution_id].applications
        )


STOPPED: dict[int, tuple[tuple[str, ...], str | None, list[str], str | None]] = {
    # solution: steps, answer, what becomes of each step, why the chain is not carried to its end
    11: (("He loses some.", "11 - 7 = 5"), "5", ["no equation", "wrong as it stands"], None),
    12: (
        ("11 - 7 = 4", "4 * 9 = 36", "36 - 7 = 29"),
        "29",
        ["carried", "cannot be carried", "not reached"],
        "operand from nowhere",
    ),
    13: (
        ("x = 11 - 7", "4 / 2 = 2"),
        "2",
        ["cannot be carried", "not reached"],
        "an equation that cannot be read",
    ),
    14: (("11 - 7 = 4",), None, ["carried"], "no answer that is a number"),
    15: ((), "2", [], "no equation"),
}


def test_steps_that_a_program_could_not_carry_over_say_so(hats: sa.Engine) -> None:
    for solution_id, (steps, answer, _, _) in STOPPED.items():
        add_solution(hats, solution_id, steps, answer)
    found = evidence_of(hats, list(STOPPED))
    first = {solution_id: found[solution_id].applications[0] for solution_id in STOPPED}
    assert {solution_id: ([step.state for step in one.steps], one.reason) for solution_id, one in first.items()} == {
        solution_id: (states, reason) for solution_id, (_, _, states, reason) in STOPPED.items()
    }


CARRIED = "Step 1: 15 - 5 = 10\nStep 2: 10 - 2 = 7\nAnswer: 7\nFirst error: step 2\nVerdict: fail"
STUCK = "Step 1: 15 - 5 = 10\nStep 2: cannot be carried over: why 2?\nAnswer: none\nFirst error: none\nVerdict: fail"


def test_a_models_words_on_a_variant_are_split_by_step_with_what_it_could_not_carry(hats: sa.Engine) -> None:
    extra = {"carried": [{"step": 0, "text": "15 - 5 = 10", "value": "10"}]}
    on_variant = {"solution_id": 2, "problem_id": 2, "kind": "variant", "verdict": "fail"}
    add_critiques(
        hats,
        {**on_variant, "text": STUCK, "first_error": 1, "extra": extra},
        {**on_variant, "text": CARRIED, "first_error": 1, "answer": "7", "is_confirmed": True},
    )
    confirmed, *replayed, stuck = evidence_of(hats, [2])[2].applications
    assert [(one.state, one.there, one.text) for one in confirmed.steps] == [
        ("carried", "10", "15 - 5 = 10"),
        ("carried", "7", "10 - 2 = 7"),
    ]
    assert [found.result for found in confirmed.steps[1].arithmetic] == ["fails"]
    assert (confirmed.agrees, confirmed.leaves_at, confirmed.text) == (False, 1, CARRIED)
    assert [(one.state, one.text) for one in stuck.steps] == [
        ("carried", "15 - 5 = 10"),
        ("cannot be carried", "cannot be carried over: why 2?"),
    ]
    assert (stuck.found, stuck.expected, stuck.agrees) == (None, "5", None)
    assert [one.kind for one in replayed] == ["replay", "replay"]


def test_rollouts_scores_and_judges_stand_beside_the_segments(hats: sa.Engine) -> None:
    with writing(hats) as session:
        for run_id, model in ((1, "old"), (2, "new")):
            session.add(Run(run_id=run_id, run_key=str(run_id), kind="rollouts", engine="e", model=model, record={}))
        session.flush()
        for run_id, step, n_right in ((1, 1, 0), (2, -1, 6), (2, 0, 4), (2, 1, 8)):
            session.add(StepValue(solution_id=2, step_index=step, run_id=run_id, n_right=n_right, n_rollouts=8))
        session.add(Score(solution_id=2, reward_model="prm", kind="prm", value=0.5, step_values=[0.9, 0.2, 0.7]))
        session.add(Score(solution_id=2, reward_model="orm", kind="orm", value=0.4))
    add_critiques(
        hats,
        {
            "solution_id": 2,
            "verdict": "fail",
            "first_error": 1,
            "is_confirmed": True,
            "confirmation_rule": "step labels",
        },
        {"solution_id": 2, "verdict": "fail", "first_error": 1},
        {"solution_id": 2, "verdict": "fail", "first_error": 0},
        {"solution_id": 2, "verdict": "unreadable", "extra": {"reason": "no box"}},
        {"solution_id": 2, "kind": "self", "critic": None},
    )
    found = evidence_of(hats, [2])[2]
    assert [(one.text, one.is_answer) for one in found.segments] == [
        (OVERFIT[0], False),
        (OVERFIT[1], False),
        ("2", True),
    ]
    assert [[(value.run_id, value.model, value.n_right) for value in one.values] for one in found.segments] == [
        [(2, "new", 4)],
        [(2, "new", 8), (1, "old", 0)],
        [],
    ]
    half = found.segments[0].values[0]
    assert (half.value, round(half.low, 3), round(half.high, 3)) == (0.5, 0.215, 0.785)
    assert [value.n_right for value in found.start_values] == [6]
    assert [[(score.reward_model, score.value) for score in one.scores] for one in found.segments] == [
        [("prm", 0.9)],
        [("prm", 0.2)],
        [("prm", 0.7)],
    ]
    assert [(one.reward_model, one.kind, one.value) for one in found.scores] == [
        ("orm", "orm", 0.4),
        ("prm", "prm", 0.5),
    ]
    assert [[one.result for one in segment.arithmetic] for segment in found.segments] == [["holds"], ["holds"], []]
    by_kind = {one.kind: (one.n_pass, one.n_fail, one.n_unreadable, one.first_errors) for one in found.votes}
    assert by_kind == {"judge": (0, 3, 1, ((0, 1), (1, 2))), "self": (1, 0, 0, ())}
    assert [(one.verdict, one.first_error, one.is_confirmed, one.reason) for one in found.opinions] == [
        ("fail", 1, True, None),
        ("fail", 1, None, None),
        ("fail", 0, None, None),
        ("pass", None, None, None),
        ("unreadable", None, None, "no box"),
    ]
    assert found.left_out == {}


def test_two_large_solutions_take_few_queries_and_what_is_too_much_is_counted(hats: sa.Engine) -> None:
    for solution_id in (11, 12):
        add_solution(hats, solution_id, [f"{n} + 1 = {n + 1}, " + "and so on. " * 80 for n in range(300)])
    with writing(hats) as session:
        for run_id in range(1, MAX_RUNS + 2):
            session.add(Run(run_id=run_id, run_key=str(run_id), kind="rollouts", engine="e", model="m", record={}))
        session.flush()
        for run_id in range(1, MAX_RUNS + 2):
            session.add(StepValue(solution_id=11, step_index=0, run_id=run_id, n_right=1, n_rollouts=8))
        for number in range(MAX_REWARD_MODELS + 3):
            session.add(Score(solution_id=11, reward_model=f"orm-{number}", kind="orm", value=0.1))
    add_critiques(hats, *({"solution_id": 11, "text": "x" * 5_000} for _ in range(MAX_OPINIONS + 5)))
    add_critiques(
        hats, *({"solution_id": 11, "problem_id": 2, "kind": "variant"} for _ in range(MAX_APPLICATIONS + 2))
    )
    with counted_queries(hats) as queries:
        found = evidence_of(hats, [11, 12])
    assert len([one for one in queries if one.lstrip().startswith("SELECT")]) <= 7
    n_checked = MAX_CHECKED // len(found[11].segments[0].text)
    unchecked = sum(not one.arithmetic for one in found[12].segments)
    assert 0 < 300 - n_checked <= unchecked
    assert found[11].left_out == {
        "critiques": 5,
        "critiques on variants": 2,
        "runs of rollouts": 1,
        "reward models": 3,
        "segments whose arithmetic is not checked": found[12].left_out["segments whose arithmetic is not checked"],
    }
    assert max(len(one.text) for one in found[11].opinions) == MAX_TEXT
    assert json.loads(json.dumps(dataclasses.asdict(found[11])))["solution_id"] == 11


def test_the_command_shows_where_the_chain_breaks_as_lines_and_as_json(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    add_problem(database)
    add_variant(database, 2, 15, 5)
    add_solution(database, 2, OVERFIT)
    expected: Evidence = evidence_of(database, [2])[2]
    database.dispose()
    shown = CliRunner().invoke(app, ["evidence", "2", "--db", url])
    assert shown.exit_code == 0, shown.output
    assert "step 2    2 here,  8 there:  10 - 2 = 8" in shown.stdout
    assert "found 8, expected 5: THE CHAIN BREAKS" in shown.stdout
    told = CliRunner().invoke(app, ["evidence", "2", "--db", url, "--json"])
    assert json.loads(told.stdout) == json.loads(json.dumps(dataclasses.asdict(expected)))
