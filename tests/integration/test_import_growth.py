"""What an import costs does not grow with what is there already: SQLite's own count of its steps says so."""

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


@pytest.mark.parametrize(("name", "rows"), [("processbench", processbench_rows), ("preference", preference_rows)])
def test_a_batch_costs_as_much_in_a_full_database_as_in_an_empty_one(
    tmp_path: Path, sqlite_template: Path, name: str, rows: Callable[[int, int], list[dict[str, object]]]
) -> None:
    path = tmp_path / "stepmark.db"
    path.write_bytes(sqlite_template.read_bytes())
    engine = open_database(f"sqlite:///{path}")

    def import_rows(first: int, n: int) -> int:
        file = tmp_path / f"{first}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows(first, n)), encoding="utf-8")
        with steps_of(engine) as counted:
            options = default_options(FORMATS[name], file, source=f"made/{first}")
            report = import_file(engine, FORMATS[name], file, options=options)
        assert report.n_kept == n
        return counted[0]

    early = import_rows(0, 400)
    import_rows(400, 4_000)
    late = import_rows(4_400, 400)
    assert late < 1.2 * early, f"{early} hundred steps with 0 rows there, {late} with 4,400"
