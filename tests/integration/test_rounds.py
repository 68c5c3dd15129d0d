"""Rounds of a loop in the database, on both kinds."""

import pytest
import sqlalchemy as sa

from db import migrate
from db.connect import create_engine, reading, writing
from db.models import Round, Run
from db.rounds import Generation, finish_round, generation_of, list_loops, list_rounds, start_round
from db.runs import start_run

GUARD = {"name": "verified", "value": 1.0, "bound": 0.95, "direction": "min", "tripped": False, "words": "all"}


def test_runs_of_a_schema_without_rounds_are_kept_and_belong_to_none(database_url: str) -> None:
    engine = create_engine(database_url)
    migrate.upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO runs (run_id, run_key, kind, engine, model, record, status) "
            "VALUES (1, 'k', 'solutions', 'openai', 'm', '{}', 'done')"
        )
    migrate.upgrade(engine)
    with reading(engine) as session:
        assert session.execute(sa.select(Run.run_key, Run.round_id)).all() == [("k", None)]
        assert session.scalars(sa.select(Round)).all() == []
    with pytest.raises(sa.exc.IntegrityError), writing(engine) as session:
        session.execute(sa.update(Run).values(round_id=99))
    engine.dispose()


def test_a_round_is_opened_once_and_listed_with_what_it_came_to(database: sa.Engine) -> None:
    first = start_round(database, "a", 0, plan={"model": "m"})
    assert start_round(database, "a", 0, plan={"model": "another"}) == first
    assert [(r.plan, r.finished_at, r.selected, r.metrics) for r in list_rounds(database, "a")] == [
        ({"model": "m"}, None, [], {})
    ]
    selected = [{"reason": "verified", "n": 2, "examples": [1, 2]}]
    counts = {"export": {"read": 3, "kept": 2, "dropped": {"outcome": 1}}}
    finish_round(
        database, first, selected=selected, metrics={"pass@1": 0.5}, guards=[GUARD], counts=counts, stop_reason="why"
    )
    second = start_round(database, "a", 1, plan={})
    start_round(database, "b", 0, plan={})
    (done, open_one) = list_rounds(database, "a")
    assert (done.selected, done.metrics, done.guards, done.counts, done.stop_reason) == (
        selected,
        {"pass@1": 0.5},
        [GUARD],
        counts,
        "why",
    )
    assert done.finished_at is not None
    assert (open_one.round_id, open_one.number, open_one.finished_at) == (second, 1, None)
    assert {(one.loop, one.n_rounds, one.n_finished, one.stop_reason) for one in list_loops(database)} == {
        ("a", 2, 1, None),
        ("b", 1, 0, None),
    }
    assert list_rounds(database, "c") == []


def test_a_solution_is_traced_to_the_round_whose_run_sampled_it(database: sa.Engine) -> None:
    round_id = start_round(database, "a", 3, plan={})
    run_id = start_run(database, "k", kind="solutions", engine_name="openai", model="m", record={}, round_id=round_id)
    later = start_round(database, "a", 4, plan={})
    again = start_run(database, "k", kind="solutions", engine_name="openai", model="m", record={}, round_id=later)
    assert again == run_id
    with writing(database) as session:
        for statement in (
            "INSERT INTO problems (problem_id, statement_hash, family, statement, kind) "
            "VALUES (1, 'h', 'f', 'What is 1 + 1?', 'original')",
            "INSERT INTO requests (request_id, run_id, payload_hash, sample_index, status, response) "
            f"VALUES (1, {run_id}, 'p', 0, 'done', 'r')",
            "INSERT INTO solutions (solution_id, problem_id, run_id, request_id, text, text_hash, steps) "
            f"VALUES (1, 1, {run_id}, 1, 't', 'h', '[]')",
            "INSERT INTO solutions (solution_id, problem_id, source, source_key, text, text_hash, steps) "
            "VALUES (2, 1, 's', '1', 't', 'h2', '[]')",
        ):
            session.execute(sa.text(statement))
    assert generation_of(database, solution_id=1) == Generation("a", 3)
    assert generation_of(database, solution_id=2) is None
