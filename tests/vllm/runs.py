"""What the tests with a real vLLM share: problems, stored rows, and the command in a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.connect import open_database, reading, writing
from db.models import Problem, Request, Solution
from generator.domain import draw_problems
from stepmark.problems import family_hash, statement_hash

ROOT = Path(__file__).parents[2]
COMPACT_JSON = {"backend": "xgrammar", "disable_any_whitespace": True}
"""Left to itself, a model as small as ours fills its JSON with blanks up to the token limit."""
OPTIONS = {
    "dtype": "float32",
    "max_model_len": 512,
    "enforce_eager": True,
    "kv_cache_memory_bytes": 64 << 20,
    "structured_outputs_config": COMPACT_JSON,
}
VLLM = ("--engine", "vllm", *(f"--engine-option={name}={json.dumps(value)}" for name, value in OPTIONS.items()))
"""The flags that open the engine vllm on this machine's CPU."""
Row = tuple[str, int, str]
"""Statement, sample index, text."""


def statements(n: int) -> list[str]:
    return [problem.statement for problem in draw_problems(n, 5, part="reserved")]


def database_with(url: str, problems: Sequence[str]) -> sa.Engine:
    database = open_database(url, create=True)
    with writing(database) as session:
        session.add_all(
            Problem(statement=text, statement_hash=statement_hash(text), family=family_hash(text), kind="original")
            for text in problems
        )
    return database


def stored(database: sa.Engine) -> list[Row]:
    """All samples that are there with their solutions; the solution's text is the sample's."""
    query = (
        sa.select(Problem.statement, Request.sample_index, Solution.text, Request.response)
        .select_from(Request)
        .join(Solution, Solution.request_id == Request.request_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .where(Request.status == "done", Request.problem_id == Solution.problem_id)
    )
    with reading(database) as session:
        rows = session.execute(query).all()
    assert all(row.text == row.response for row in rows)
    return sorted((row.statement, row.sample_index, row.text) for row in rows)


def start(database: sa.Engine, *flags: str) -> "subprocess.Popen[str]":
    """Starts `stepmark generate solutions`."""
    words = [sys.executable, "-m", "stepmark", "generate", "solutions", "--db", str(database.url), "--json", *flags]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(database: sa.Engine, *flags: str) -> dict[str, Any]:
    """Runs it to its end; returns its report."""
    process = start(database, *flags)
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


def signal_when(process: "subprocess.Popen[str]", is_time: Callable[[], bool], number: int) -> tuple[str, str]:
    """Sends a signal once something is so; returns what the process printed."""
    deadline = time.monotonic() + 240
    while not is_time():
        assert process.poll() is None, process.communicate()
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate())
        time.sleep(0.2)
    process.send_signal(number)
    return process.communicate(timeout=60)
