"""`stepmark queue rank` on a small database: what each rule goes by, what is never selected again, what is shown."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db.annotators import find_or_create_annotator
from db.connect import open_database, reading, writing
from db.models import Annotation, Annotator, Score, Solution, Task
from db.queue import queue_solutions, queue_state, rank_queue
from db.tasks import add_tasks
from stepmark.cli.main import app
from stepmark.errors import InputError
from stepmark.selection import RANDOM_STREAM
from tests.labelling import add_project, fill

SEED = 0
"""With this seed no text of the first eight solutions is set apart for the random stream."""


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[tuple[sa.Engine, str]]:
    """What a command opens too, and its URL."""
    url = f"sqlite:///{tmp_path / 'stepmark.db'}"
    engine = open_database(url, create=True)
    yield engine, url
    engine.dispose()


def outcomes(engine: sa.Engine, known: dict[int, bool]) -> None:
    with writing(engine) as session:
        for solution_id, outcome in known.items():
            session.get_one(Solution, solution_id).outcome = outcome


def scored(engine: sa.Engine, model: str, steps: dict[int, list[float]], *, kind: str = "prm") -> None:
    """The score of a solution is its last step's, which is exact."""
    with writing(engine) as session:
        for solution_id, values in steps.items():
            session.add(
                Score(solution_id=solution_id, reward_model=model, kind=kind, value=values[-1], step_values=values)
            )


def labelled(engine: sa.Engine, annotator: str, first_errors: dict[int, int | None], *, kind: str = "person") -> None:
    annotator_id = find_or_create_annotator(engine, annotator)
    with writing(engine) as session:
        session.get_one(Annotator, annotator_id).kind = kind
        for solution_id, error in first_errors.items():
            session.add(
                Annotation(
                    submission_id=f"{annotator}-{solution_id}",
                    kind="steps",
                    annotator_id=annotator_id,
                    solution_id=solution_id,
                    finish_reason="solution" if error is None else "found_error",
                    first_error=error,
                )
            )


def tasks(engine: sa.Engine) -> list[tuple[int, str | None, float]]:
    with reading(engine) as session:
        rows = session.execute(
            sa.select(Task.solution_id, Task.reason, Task.priority).order_by(Task.priority.desc(), Task.task_id)
        )
        return [(solution_id, reason, priority) for solution_id, reason, priority in rows]


def test_convincing_wrong_solutions_go_by_the_newest_score_and_are_not_selected_twice(database: sa.Engine) -> None:
    fill(database, 6)
    outcomes(database, {1: False, 2: False, 3: False, 4: True})
    scored(database, "old", {1: [0.875], 2: [0.25], 3: [0.5], 4: [1.0]})
    scored(database, "new", {1: [0.25], 2: [0.5], 3: [0.75]})
    found = rank_queue(database, "convincing-wrong", limit=2, random_share=0, seed=SEED)
    assert (found.reward_models, found.selection.n_read) == (("new",), 6)
    assert found.selection.dropped == {"no score": 3, "ranked lower": 1}
    assert tasks(database) == [(3, "convincing wrong", 0.75), (2, "convincing wrong", 0.5)]
    again = rank_queue(database, "convincing-wrong", limit=9, random_share=0, seed=SEED, reward_models=["old"])
    assert [one.solution_id for one in again.selection.chosen] == [4, 1]
    assert again.selection.dropped == {"already queued": 2, "no score": 2}
    assert [(state.reason, state.n_open) for state in queue_state(database)] == [("convincing wrong", 4)]


def test_what_a_person_labelled_is_left_out_and_what_a_program_labelled_is_not(database: sa.Engine) -> None:
    fill(database, 3)
    labelled(database, "annotator-1", {1: 0})
    labelled(database, "checker", {1: 0, 2: 0}, kind="program")
    found = rank_queue(database, "random", limit=9, random_share=0, seed=SEED).selection
    assert sorted(one.solution_id for one in found.chosen) == [2, 3]
    assert found.dropped == {"already labelled": 1}


def test_disagreement_is_among_programs_judges_and_the_reward_model(database: sa.Engine) -> None:
    fill(database, 4)
    labelled(database, "rollouts:1:hard", {1: 0, 2: 1, 3: None}, kind="model")
    labelled(database, "judge", {1: 1, 2: 1}, kind="model")
    alone = rank_queue(database, "disagreement", limit=9, random_share=0, seed=SEED, is_dry_run=True)
    assert [(one.solution_id, one.why) for one in alone.selection.chosen] == [
        (1, "judge step 2, rollouts:1:hard step 1")
    ]
    assert alone.selection.dropped == {"fewer than two labellers": 2, "labellers agree": 1}
    assert (alone.added, tasks(database)) == (None, [])
    scored(database, "prm", {1: [0.9, 0.1], 2: [0.9, 0.1], 3: [0.2, 0.1]})
    found = rank_queue(database, "disagreement", limit=9, random_share=0, seed=SEED)
    assert [(one.solution_id, one.step_index, one.priority) for one in found.selection.chosen] == [
        (3, 0, 0.5),
        (1, 0, pytest.approx(1 / 3)),
    ]
    assert [solution_id for solution_id, _, _ in tasks(database)] == [3, 1]


def test_an_ensemble_needs_two_reward_models_that_scored_the_steps(database: sa.Engine) -> None:
    fill(database, 3)
    scored(database, "prm-0", {1: [0.75, 0.5], 2: [1.0, 1.0], 3: [0.5, 0.5]})
    with pytest.raises(InputError, match="name at least two"):
        rank_queue(database, "ensemble", limit=1, reward_models=["prm-0", "prm-0"])
    with pytest.raises(InputError, match="no solution has a score by 'prm-1'; there are: prm-0"):
        rank_queue(database, "ensemble", limit=1, reward_models=["prm-0", "prm-1"])
    scored(database, "prm-1", {1: [0.75, 0.0], 2: [1.0, 1.0]})
    found = rank_queue(
        database, "ensemble", limit=9, random_share=0, seed=SEED, reward_models=["prm-0", "prm-1"]
    ).selection
    assert [(one.solution_id, one.why) for one in found.chosen] == [(1, "step 2: mean score 0.250, spread 0.250")]
    assert found.dropped == {"no step scores": 1, "sure": 1}


def test_the_most_doubtful_step_is_where_the_score_falls_most(database: sa.Engine) -> None:
    fill(database, 2)
    scored(database, "prm", {1: [1.0, 0.25], 2: [0.75, 0.75]})
    found = rank_queue(database, "jump", limit=1, random_share=0, seed=SEED).selection
    assert [(one.solution_id, one.step_index, one.priority) for one in found.chosen] == [(1, 1, 0.75)]


def test_without_scores_a_rule_says_what_to_run(database: sa.Engine) -> None:
    fill(database, 1)
    for rule in ("convincing-wrong", "jump"):
        with pytest.raises(InputError, match="run `stepmark score` first"):
            rank_queue(database, rule, limit=1)  # type: ignore[arg-type]
    scored(database, "orm", {1: [0.5]}, kind="orm")
    with pytest.raises(InputError, match="'orm' is of kind orm; jump goes by the scores of a PRM"):
        rank_queue(database, "jump", limit=1, reward_models=["orm"])
    with pytest.raises(InputError, match="mode is 'alternatives'"):
        rank_queue(database, "random", limit=1, mode="alternatives")


def test_a_project_has_a_queue_of_its_own(database: sa.Engine) -> None:
    fill(database, 2)
    add_project(database, "sums")
    add_tasks(database, [(1, 0.0)])
    found = rank_queue(database, "random", limit=9, random_share=0, seed=SEED, project="sums")
    assert len(found.selection.chosen) == 2
    with pytest.raises(InputError, match="there is no project 'other'"):
        rank_queue(database, "random", limit=1, project="other")


def test_pages_of_problems_join_without_a_gap(database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.queue.ranking._PROBLEMS", 2)
    fill(database, 5, n_each=2)
    found = rank_queue(database, "random", limit=99, per_problem=2, is_dry_run=True).selection
    assert found.n_read == 10
    assert len(found.chosen) == 10 - sum(found.dropped.values())


def test_the_command_shows_what_was_selected_and_why_and_queues_the_random_stream_apart(
    sqlite_database: tuple[sa.Engine, str],
) -> None:
    database, database_url = sqlite_database
    fill(database, 60)
    outcomes(database, dict.fromkeys(range(1, 61), False))
    scored(database, "prm", {n: [n / 64] for n in range(1, 61)})
    command = ["queue", "rank", "--db", database_url, "--rule", "convincing-wrong", "--limit", "10"]
    dry = CliRunner().invoke(app, [*command, "--dry-run", "--json"])
    shown = json.loads(dry.stdout)
    assert (shown["read"], shown["kept"], shown["queued"]) == (60, 10, None)
    assert tasks(database) == []
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert "why\n" in result.stdout
    assert "wrong answer, score 0.9" in result.stdout
    assert "queue: read 10, kept 10, dropped 0" in result.stdout
    queued = tasks(database)
    assert [one["solution_id"] for one in shown["chosen"]] == [solution_id for solution_id, _, _ in queued]
    assert sum(reason == RANDOM_STREAM for _, reason, _ in queued) == 1
    assert {(state.reason, state.n_open) for state in queue_state(database)} == {
        ("convincing wrong", 9),
        ("random stream", 1),
    }
    unknown = CliRunner().invoke(app, ["queue", "rank", "--db", database_url, "--rule", "best"])
    assert isinstance(unknown.exception, InputError)
    assert str(unknown.exception).startswith("rule 'best' is unknown; use one of convincing-wrong")


def test_what_queue_add_took_is_not_ranked(database: sa.Engine) -> None:
    fill(database, 2)
    queue_solutions(database, limit=1)
    found = rank_queue(database, "random", limit=9, random_share=0, seed=SEED).selection
    assert found.dropped == {"already queued": 1}
