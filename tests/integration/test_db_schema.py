"""The schema on both databases: migrations, clock, constraints, look-ups, and what is refused."""

import datetime as dt
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from db import migrate
from db.bulk import is_among
from db.connect import create_engine, open_database, reading, writing
from db.models import Alternative, AlternativeLabel, Annotator, Problem, Solution
from db.schema import Base, utc_now
from stepmark.errors import DatabaseError

PROBLEM = {"statement_hash": "0" * 32, "family": "1" * 32, "statement": "What is 1 + 1?", "kind": "original"}


def test_migrations_arrive_at_the_models(database: sa.Engine) -> None:
    with database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_a_row_of_the_first_schema_survives_the_way_to_the_newest(database_url: str) -> None:
    engine = create_engine(database_url)
    migrate.upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO annotators (name, kind, role, is_active) VALUES (:n, 'person', 'admin', true)"),
            {"n": "annotator-1"},
        )
        connection.execute(
            sa.text(
                "INSERT INTO problems (statement_hash, family, statement, kind) "
                "VALUES ('h', 'f', 'What is 1 + 1?', 'original')"
            )
        )
    migrate.upgrade(engine)
    with reading(engine) as session:
        assert session.scalars(sa.select(Annotator.name)).all() == ["annotator-1"]
        assert session.scalars(sa.select(Problem.statement)).all() == ["What is 1 + 1?"]
    engine.dispose()


def test_a_table_that_is_made_anew_keeps_its_rows_and_what_refers_to_them(database_url: str) -> None:
    engine = create_engine(database_url)
    migrate.upgrade(engine, "0003")
    rows = (
        "INSERT INTO annotators (annotator_id, name, kind, role, is_active) VALUES (1, 'a', 'person', 'admin', true)",
        "INSERT INTO problems (problem_id, statement_hash, family, statement, kind) "
        "VALUES (1, 'h', 'f', 'What is 1 + 1?', 'original')",
        "INSERT INTO solutions (solution_id, problem_id, source, source_key, text, text_hash, steps) "
        "VALUES (1, 1, 's', '1', 't', 'h', '[]')",
        "INSERT INTO runs (run_id, run_key, kind, engine, model, record, status) "
        "VALUES (1, 'k', 'alternatives', 'openai', 'm', '{}', 'done')",
        "INSERT INTO requests (request_id, run_id, payload_hash, sample_index, status, response) "
        "VALUES (1, 1, 'p', 0, 'done', 'r')",
        "INSERT INTO alternatives (alternative_id, solution_id, step_index, run_id, request_id, text, is_answer) "
        "VALUES (1, 1, 0, 1, 1, 'another step', false)",
        "INSERT INTO annotations (annotation_id, submission_id, kind, annotator_id, solution_id) "
        "VALUES (1, 'x', 'steps', 1, 1)",
        "INSERT INTO alternative_labels (annotation_id, alternative_id, label, is_chosen) VALUES (1, 1, -1, false)",
    )
    with engine.begin() as connection:
        for row in rows:
            connection.exec_driver_sql(row)
    migrate.upgrade(engine)
    with reading(engine) as session:
        labelled = sa.select(Alternative.text, AlternativeLabel.label).join(
            AlternativeLabel, AlternativeLabel.alternative_id == Alternative.alternative_id
        )
        assert session.execute(labelled).all() == [("another step", -1)]
    with pytest.raises(sa.exc.IntegrityError), writing(engine) as session:
        session.execute(sa.insert(AlternativeLabel).values(annotation_id=1, alternative_id=99, label=1))
    engine.dispose()


def test_a_database_without_tables_is_refused_and_left_as_it_was(database_url: str) -> None:
    with pytest.raises(DatabaseError, match="stepmark db upgrade"):
        open_database(database_url)
    if database_url.startswith("sqlite"):
        assert not Path(database_url.removeprefix("sqlite:///")).exists()
    engine = open_database(database_url, create=True)
    assert migrate.status(engine).is_current
    engine.dispose()


def test_the_clock_is_the_databases_and_aware(database: sa.Engine) -> None:
    with reading(database) as session:
        now, later = session.execute(sa.select(utc_now(), utc_now(1800))).one()
    assert abs(now - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=5)
    assert abs(later - now - dt.timedelta(seconds=1800)) < dt.timedelta(seconds=1)


def test_an_error_inside_a_unit_of_writing_rolls_all_of_it_back(database: sa.Engine) -> None:
    two_of_one_name = [{"name": "annotator-1"}, {"name": "annotator-1"}]
    with pytest.raises(sa.exc.IntegrityError), writing(database) as session:
        session.execute(sa.insert(Annotator), two_of_one_name)
    with reading(database) as session:
        assert session.scalars(sa.select(Annotator)).all() == []


def test_more_values_are_looked_up_than_a_statement_takes_parameters_and_none_is_cut(database: sa.Engine) -> None:
    with writing(database) as session:
        session.add(Problem(problem_id=1, **PROBLEM))
        hashes = [f"{number:032x}" for number in range(100_000)]
        found = sa.select(Problem.problem_id).where(is_among(session, Problem.statement_hash, hashes))
        assert session.scalars(found).all() == [1]
        assert session.scalars(sa.select(sa.true()).where(is_among(session, Problem.problem_id, []))).all() == []
        longer = sa.select(Problem.problem_id).where(is_among(session, Problem.statement_hash, [hashes[0] + "0"]))
        assert session.scalars(longer).all() == []


@pytest.mark.parametrize(
    "row",
    [
        {"problem_id": 1, "text": "t", "text_hash": "h", "steps": []},
        {"problem_id": 1, "text": "t", "text_hash": "h", "steps": [], "source": "s"},
        {"problem_id": 99, "text": "t", "text_hash": "h", "steps": [], "source": "s", "source_key": "1"},
    ],
    ids=["neither sampled nor imported", "source without key", "unknown problem"],
)
def test_a_solution_that_breaks_a_rule_is_refused(database: sa.Engine, row: dict[str, object]) -> None:
    with writing(database) as session:
        session.add(Problem(problem_id=1, **PROBLEM))
    with pytest.raises(sa.exc.IntegrityError), writing(database) as session:
        session.execute(sa.insert(Solution).values(**row))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is not a database URL"),
        ("mysql://localhost/x", "is not supported"),
        ("sqlite:////no/such/folder/x.db", "does not exist"),
        ("postgresql://127.0.0.1:1/x", "cannot open"),
    ],
)
def test_an_unusable_url_is_named_in_one_message(url: str, message: str) -> None:
    with pytest.raises(DatabaseError, match=message):
        open_database(url)
