"""What an import costs does not grow with what is there already, by the databases' own counts of what they do."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.connect import open_database
from exports.queries.importing import default_options, import_file
from exports.queries.sources import FORMATS

PER_CALL = 100
"""Steps of SQLite's machine between two calls of the handler that counts them."""

Rows = Callable[[int, int], list[dict[str, object]]]
"""So many rows of a format, from a number on."""


@contextmanager
def steps_of(engine: sa.Engine) -> Iterator[list[int]]:
    """Counts what SQLite does meanwhile, in hundreds of steps."""
    n = [0]

    def count() -> int:
        n[0] += 1
        return 0

    def watch(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(count, PER_CALL)

    engine.dispose()
    sa.event.listen(engine, "connect", watch)
    try:
        yield n
    finally:
        sa.event.remove(engine, "connect", watch)
        engine.dispose()


def processbench_rows(first: int, n: int) -> list[dict[str, object]]:
    return [
        {
            "id": f"row-{key}",
            "generator": "model",
            "problem": f"What is {key} + 1?",
            "steps": [f"Add 1 to {key}.", f"{key} + 1 = {key + 1}"],
            "final_answer_correct": True,
            "label": -1,
        }
        for key in range(first, first + n)
    ]


def preference_rows(first: int, n: int) -> list[dict[str, object]]:
    return [
        {"prompt": f"What is {key} + 1?", "chosen": f"It is {key + 1}.", "rejected": f"It is {key}."}
        for key in range(first, first + n)
    ]


def import_rows(engine: sa.Engine, folder: Path, name: str, rows: Rows, first: int, n: int) -> None:
    file = folder / f"{first}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(first, n)), encoding="utf-8")
    options = default_options(FORMATS[name], file, source=f"made/{first}")
    assert import_file(engine, FORMATS[name], file, options=options).n_kept == n


@pytest.mark.parametrize(("name", "rows"), [("processbench", processbench_rows), ("preference", preference_rows)])
def test_a_batch_costs_as_much_in_a_full_database_as_in_an_empty_one(
    tmp_path: Path, sqlite_template: Path, name: str, rows: Rows
) -> None:
    path = tmp_path / "stepmark.db"
    path.write_bytes(sqlite_template.read_bytes())
    engine = open_database(f"sqlite:///{path}")
    with steps_of(engine) as early:
        import_rows(engine, tmp_path, name, rows, 0, 400)
    import_rows(engine, tmp_path, name, rows, 400, 4_000)
    with steps_of(engine) as late:
        import_rows(engine, tmp_path, name, rows, 4_400, 400)
    engine.dispose()
    assert late[0] < 1.2 * early[0], f"{early[0]} hundred steps with 0 rows there, {late[0]} with 4,400"


@pytest.mark.parametrize("has_statistics", [True, False])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_reads_few_rows_though_it_planned_for_small_tables(
    database: sa.Engine, tmp_path: Path, *, has_statistics: bool
) -> None:
    n = 6_000
    import_rows(database, tmp_path, "processbench", processbench_rows, 0, 5)
    if has_statistics:
        with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
    import_rows(database, tmp_path, "processbench", processbench_rows, 5, n)
    database.dispose()  # what its server process counted is there once it has ended
    with database.connect() as connection:
        whole = connection.execute(
            sa.text("SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE seq_tup_read > 200")
        ).all()
        by_index = connection.execute(
            sa.text("SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE idx_tup_read > :most"),
            {"most": 3 * n},
        ).all()
    assert not whole, f"rows read by going through whole tables: {dict(map(tuple, whole))}"
    assert not by_index, f"rows read by indexes, of {n}: {dict(map(tuple, by_index))}"
