"""Sampling solutions into the database: nothing asked twice, nothing lost but what was in flight, failures named."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from db.connect import open_database, reading, writing
from db.models import Problem, ProblemSource, Run, Solution
from db.models import Request as RequestRow
from db.runs import ProblemSelection, list_runs, set_licence
from generator.asking import Report, run_task
from generator.domain import draw_problems
from generator.solutions import SolutionsTask, generate_solutions
from stepmark.cli.main import app
from stepmark.engine import Completion, EngineIdentity, Failure, Request, Sample, Sampling
from stepmark.errors import InputError
from stepmark.problems import family_hash, statement_hash
from stepmark.prompts import Prompt, read_prompt
from tests.completion_server import NO_FAULT, CompletionServer, Fault
from tests.scripted_engine import ScriptedEngine

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "examples" / "embedded" / "model")
PLAIN = Prompt("plain", "{problem}")
Row = tuple[str, int, str]
"""Statement, sample index, text."""


def add_problems(database: sa.Engine, statements: Iterable[str], source: str = "toy") -> None:
    with writing(database) as session:
        for number, statement in enumerate(statements):
            problem = Problem(
                statement=statement,
                statement_hash=statement_hash(statement),
                family=family_hash(statement),
                kind="original",
            )
            session.add(problem)
            session.flush()
            session.add(ProblemSource(problem_id=problem.problem_id, source=source, source_key=str(number)))


def stored(database: sa.Engine) -> list[Row]:
    """All samples that are there with their solutions; the solution's text is the sample's."""
    query = (
        sa.select(Problem.statement, RequestRow.sample_index, Solution.text, RequestRow.response)
        .select_from(RequestRow)
        .join(Solution, Solution.request_id == RequestRow.request_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .where(RequestRow.status == "done", RequestRow.problem_id == Solution.problem_id)
    )
    with reading(database) as session:
        rows = session.execute(query).all()
    assert all(row.text == row.response for row in rows)
    return sorted((row.statement, row.sample_index, row.text) for row in rows)


class FakeEngine:
    """Answers from a table of troubles, out of order; a text names its question and its sample."""

    def __init__(self, seed: int = 0, window: int = 8, troubles: Callable[[str, int], Failure | None] | None = None):
        self.identity = EngineIdentity("fake", "fake-model")
        self.asked: Counter[tuple[str, int]] = Counter()
        self._random = random.Random(seed)
        self._window = window
        self._troubles = troubles or (lambda question, index: None)

    def answer(self, requests: Iterable[Request | None]) -> Generator[tuple[Request, Completion] | None, None, None]:
        waiting: list[Request] = []
        coming = iter(requests)
        while True:
            while len(waiting) < self._window and (request := next(coming, None)) is not None:
                waiting.append(request)
            if not waiting:
                return
            if self._random.random() < 0.2:
                yield None
            request = waiting.pop(self._random.randrange(len(waiting)))
            question = request.messages[-1].content
            samples = []
            for index in request.sample_indices:
                self.asked[question, index] += 1
                trouble = self._troubles(question, index)
                samples.append(trouble or Sample(f"{question}/{index}", "stop", 3))
            yield request, Completion(tuple(samples), n_prompt_tokens=5, n_completion_tokens=3 * len(samples))

    def close(self) -> None:
        pass


def generate(database: sa.Engine, engine: Any, *, n: int = 3, **options: Any) -> Report:
    return generate_solutions(database, engine, **{"n": n, "prompt": PLAIN, "sampling": Sampling(), **options})


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    window=st.integers(1, 40),
    n_problems=st.integers(0, 25),
    n=st.integers(1, 5),
    share_failing=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_answers_in_any_order_are_joined_to_their_questions(
    seed: int, window: int, n_problems: int, n: int, share_failing: float
) -> None:
    database = open_database("sqlite://", create=True)
    statements = [f"problem {number}" for number in range(n_problems)]
    add_problems(database, statements)
    dice = random.Random(seed)
    failing = {(q, i) for q in statements for i in range(n) if dice.random() < share_failing}
    failure = Failure("timeout", "too late")

    first = FakeEngine(seed, window, lambda q, i: failure if (q, i) in failing else None)
    report = generate(database, first, n=n)
    right = [(q, i, f"{q}/{i}") for q in statements for i in range(n)]
    assert stored(database) == sorted(row for row in right if row[:2] not in failing)
    assert (report.status, report.n_wanted, report.n_stored) == ("done", len(right), len(right) - len(failing))
    assert report.failures == ({"timeout": len(failing)} if failing else {})

    second = FakeEngine(seed + 1, window)
    again = generate(database, second, n=n)
    assert second.asked == Counter(dict.fromkeys(failing, 1))
    assert stored(database) == sorted(right)
    assert (again.n_stored_before, again.n_retried, again.n_stored) == (
        len(right) - len(failing),
        len(failing),
        len(failing),
    )
    database.dispose()


def test_the_run_is_recorded_so_that_it_can_be_repeated_and_is_found_again(database: sa.Engine) -> None:
    add_problems(database, ["a", "b"])
    first = generate(database, FakeEngine(), selection=ProblemSelection("toy", 1))
    second = generate(database, FakeEngine(), selection=ProblemSelection("toy", 1))
    with reading(database) as session:
        (run,) = session.scalars(sa.select(Run)).all()
    assert first.run_id == second.run_id == run.run_id
    assert (run.kind, run.engine, run.model, run.status) == ("solutions", "fake", "fake-model", "done")
    assert run.finished_at is not None
    assert run.record == {
        "engine": {"engine": "fake", "model": "fake-model", "revision": None, "endpoint": None, "extra": {}},
        "prompt": {"name": "plain", "text": "{problem}", "hash": PLAIN.text_hash},
        "sampling": {
            "temperature": 0.7,
            "top_p": 1.0,
            "max_tokens": 1024,
            "stop": [],
            "seed": 0,
            "json_schema": None,
        },
        "selection": {
            "source": "toy",
            "limit": 1,
            "min_pass": None,
            "max_pass": None,
            "with_flagged": False,
        },
        "n": 3,
    }


def test_more_samples_or_problems_ask_only_for_what_is_new(database: sa.Engine) -> None:
    add_problems(database, ["a", "b", "c"])
    generate(database, FakeEngine(), n=2, selection=ProblemSelection(limit=2))
    engine = FakeEngine()
    report = generate(database, engine, n=3)
    assert engine.asked == Counter({("a", 2): 1, ("b", 2): 1, ("c", 0): 1, ("c", 1): 1, ("c", 2): 1})
    assert (report.n_stored_before, report.n_stored) == (4, 5)


def test_what_a_run_sampled_and_has_yet_to_sample_is_under_the_terms_that_were_named(database: sa.Engine) -> None:
    add_problems(database, ["a", "b"])
    failing = FakeEngine(troubles=lambda question, _: Failure("timeout", "slow") if question == "b" else None)
    generate(database, failing, n=2)
    assert set_licence(database, [1], "Apache-2.0") == {1: 2}
    generate(database, FakeEngine(), n=2)
    generate(database, FakeEngine(), n=1, sampling=Sampling(temperature=0.1))
    licences = sa.select(Solution.run_id, Solution.licence).order_by(Solution.solution_id)
    with reading(database) as session:
        assert Counter(map(tuple, session.execute(licences))) == {(1, "Apache-2.0"): 4, (2, None): 2}
    assert [run.licence for run in list_runs(database)] == ["Apache-2.0", None]
    with pytest.raises(InputError, match="there is no run 7"):
        set_licence(database, [2, 7], "MIT")
    with pytest.raises(InputError, match="has 200 characters; give a name of 1 to 128"):
        set_licence(database, [2], "x" * 200)
    assert [run.licence for run in list_runs(database)] == ["Apache-2.0", None]


def test_the_terms_of_runs_are_named_and_taken_back_on_the_command_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'stepmark.db'}"
    database = open_database(url, create=True)
    add_problems(database, ["a"])
    generate(database, FakeEngine(), n=2)
    database.dispose()
    named = CliRunner().invoke(app, ["runs", "licence", "MIT", "1", "--db", url])
    assert (named.exit_code, named.stdout) == (0, "run 1: MIT, 2 solutions\n")
    taken_back = CliRunner().invoke(app, ["runs", "licence", "unknown", "1", "--db", url, "--json"])
    assert json.loads(taken_back.stdout) == {"licence": None, "solutions": {"1": 2}}


def test_another_prompt_or_temperature_is_another_question(database: sa.Engine) -> None:
    add_problems(database, ["a"])
    for options in ({}, {"prompt": Prompt("other", "Do {problem}")}, {"sampling": Sampling(temperature=0.1)}):
        assert generate(database, FakeEngine(), n=1, **options).n_stored == 1
    assert len(stored(database)) == 3


def test_problems_are_selected_by_the_pattern_of_their_source(database: sa.Engine) -> None:
    for source in ("gsm8k/test", "gsm8k/train", "gsm8k_x"):
        add_problems(database, [f"of {source}"], source)
    assert generate(database, FakeEngine(), n=1, selection=ProblemSelection("gsm8k/*")).n_items == 2
    assert [row[0] for row in stored(database)] == ["of gsm8k/test", "of gsm8k/train"]


def test_a_solution_is_split_into_steps_and_its_answer_read(database: sa.Engine) -> None:
    texts = {
        "headed": "Step 1: 9 + 7 = 16\n\nStep 2: 16 - 2 = 14\n\n# Answer\n\n14",
        "hashes": "9 + 7 = 16\n#### 16",
        "none": "I do not know",
        "NUL": "a\x00b\ud800\n\n# Answer\n\n1",
    }

    class Writer(FakeEngine):
        def answer(
            self, requests: Iterable[Request | None]
        ) -> Generator[tuple[Request, Completion] | None, None, None]:
            for request in requests:
                sample = Sample(texts[request.messages[0].content], "length", 9, reasoning="hm\x00")
                yield request, Completion((sample,), n_prompt_tokens=5, latency_ms=2.5)

    add_problems(database, texts)
    report = generate(database, Writer(), n=1)
    assert (report.n_stored, report.n_truncated) == (4, 4)
    assert report.counts == {"solutions": 4, "without a readable answer": 1}
    with reading(database) as session:
        found = {
            statement: (solution.steps, solution.answer, solution.generator, solution.extra, solution.outcome)
            for statement, solution in session.execute(sa.select(Problem.statement, Solution).join(Solution)).all()
        }
        request = session.scalars(sa.select(RequestRow).where(RequestRow.response.like("%\ufffd%"))).one()
    truncated = {"is_truncated": True}
    assert found == {
        "headed": (["9 + 7 = 16", "16 - 2 = 14"], "14", "fake-model", truncated, None),
        "hashes": (["9 + 7 = 16", "#### 16"], "16", "fake-model", truncated, None),
        "none": (["I do not know"], None, "fake-model", truncated, None),
        "NUL": (["a\ufffdb\ufffd"], "1", "fake-model", truncated, None),
    }
    assert (request.reasoning, request.finish_reason, request.n_completion_tokens, request.latency_ms) == (
        "hm\ufffd",
        "length",
        9,
        2.5,
    )


def test_a_fatal_failure_ends_the_run_and_keeps_what_came(database: sa.Engine) -> None:
    add_problems(database, [f"problem {number}" for number in range(20)])
    gone = Failure("connection", "server gone", is_fatal=True)
    engine = FakeEngine(window=1, troubles=lambda q, i: gone if q == "problem 7" else None)
    report = generate(database, engine, n=1)
    assert (report.status, report.n_stored, report.failures) == ("failed", 7, {"connection": 1})
    assert (report.message, report.n_not_asked) == ("connection: server gone", 12)
    with reading(database) as session:
        assert session.scalars(sa.select(Run.status)).all() == ["failed"]
        failed = session.scalars(sa.select(RequestRow).where(RequestRow.status == "failed")).one()
    assert (failed.error_kind, failed.error, failed.response) == ("connection", "server gone", None)
    assert generate(database, FakeEngine(), n=1).status == "done"
    assert len(stored(database)) == 20


def test_ctrl_c_stops_the_run_and_the_next_call_resumes_it(database: sa.Engine) -> None:
    add_problems(database, [f"problem {number}" for number in range(20)])

    def interrupt(question: str, index: int) -> None:
        if question == "problem 12":
            raise KeyboardInterrupt

    report = generate(database, FakeEngine(window=1, troubles=interrupt), n=1)  # type: ignore[arg-type]
    assert (report.status, report.n_stored) == ("stopped", 12)
    engine = FakeEngine()
    assert generate(database, engine, n=1).n_stored == 8
    assert set(engine.asked.values()) == {1}


def test_a_dry_run_counts_and_writes_nothing(database: sa.Engine) -> None:
    add_problems(database, ["a", "b"])
    generate(database, FakeEngine(), n=1, selection=ProblemSelection(limit=1))
    engine = FakeEngine()
    report = generate(database, engine, n=2, is_dry_run=True)
    assert (report.n_wanted, report.n_stored_before, report.n_not_asked) == (4, 1, 3)
    assert engine.asked == Counter()
    with reading(database) as session:
        assert len(session.scalars(sa.select(Run)).all()) == 1


def test_two_runs_that_store_the_same_sample_store_it_once(database: sa.Engine) -> None:
    add_problems(database, ["a", "b"])

    class Late(FakeEngine):
        """While its answers are under way, a run of more samples asks for the same ones too, and stores them."""

        def answer(
            self, requests: Iterable[Request | None]
        ) -> Generator[tuple[Request, Completion] | None, None, None]:
            answers = list(super().answer(requests))
            generate(database, FakeEngine(), n=4)
            yield from answers

    assert generate(database, Late()).status == "done"
    assert len(stored(database)) == 8


def test_a_prompt_without_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Solve {probelm}\n")
    with pytest.raises(InputError, match=r"no place \{problem\}"):
        read_prompt(str(tmp_path / "mine.txt"))
    with pytest.raises(InputError, match=r"one of: .*plain.*, steps"):
        read_prompt("no such prompt")
    (tmp_path / "mine.txt").write_text("Set {x}: {problem}\n")
    assert read_prompt(str(tmp_path / "mine.txt")).fill({"problem": "{problem}"}) == "Set {x}: {problem}"


def command(url: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "stepmark", "generate", "solutions", "--db", url, "--prompt", "plain", *options]


def start(words: list[str]) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_when(process: "subprocess.Popen[str]", is_time: Callable[[], bool], signal_number: int) -> tuple[str, str]:
    deadline = time.monotonic() + 120
    while not is_time():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal_number)
    return process.communicate(timeout=60)


def run(words: list[str]) -> dict[str, Any]:
    process = start([*words, "--json"])
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


def test_a_killed_run_on_a_server_resumes_and_asks_again_only_what_was_in_flight(
    database_url: str, tmp_path: Path
) -> None:
    statements = [f"problem {number} of {{braces}}" for number in range(120)]
    undisturbed = open_database(f"sqlite:///{tmp_path / 'undisturbed.db'}", create=True)
    killed = open_database(database_url, create=True)
    for database in (undisturbed, killed):
        add_problems(database, statements)
    with CompletionServer(latency_s=0.05) as server:
        options = ("--base-url", server.base_url, "--model", "m", "--n", "3", "--concurrency", "4")
        run(command(str(undisturbed.url), *options))
        expected = stored(undisturbed)
        server.asked.clear()

        process = start(command(database_url, *options))
        kill_when(process, lambda: len(stored(killed)) >= 60, signal.SIGKILL)
        survived = {statement for statement, _, _ in stored(killed)}
        time.sleep(0.2)
        asked_first = [body["messages"][-1]["content"] for body in server.asked]
        server.asked.clear()
        report = run(command(database_url, *options))
        asked_then = [body["messages"][-1]["content"] for body in server.asked]

    assert len(expected) == 360
    assert stored(killed) == expected
    assert survived
    assert len(asked_first) == len(set(asked_first))
    assert sorted(asked_then) == sorted(set(statements) - survived)
    in_flight = set(asked_first) - survived
    assert set(asked_first) & set(asked_then) == in_flight
    assert 3 * len(in_flight) <= 3 * 4 + 256  # what is asked at a time, and what may wait to be stored
    assert (report["n_stored_before"], report["n_stored"]) == (3 * len(survived), 3 * len(asked_then))
    for database in (undisturbed, killed):
        database.dispose()


def test_a_killed_run_in_process_resumes_with_the_rows_of_an_undisturbed_one(tmp_path: Path) -> None:
    statements = [problem.statement for problem in draw_problems(80, 3, part="reserved")]
    undisturbed, killed = (
        open_database(f"sqlite:///{tmp_path / name}", create=True) for name in ("undisturbed.db", "killed.db")
    )
    for database in (undisturbed, killed):
        add_problems(database, statements)
    options = ("--engine", "transformers", "--model", MODEL, "--n", "4", "--max-tokens", "128")
    run(command(str(undisturbed.url), *options))
    expected = stored(undisturbed)

    process = start(command(str(killed.url), *options, "--batch-tokens", "1000"))
    kill_when(process, lambda: len(stored(killed)) >= 40, signal.SIGKILL)
    survived = stored(killed)
    report = run(command(str(killed.url), *options))

    assert len(expected) == 320
    assert 40 <= len(survived) < 320
    assert set(survived) <= set(expected)
    assert stored(killed) == expected
    assert (report["n_stored_before"], report["n_stored"]) == (len(survived), 320 - len(survived))
    for database in (undisturbed, killed):
        database.dispose()


def test_ctrl_c_exits_130_and_says_how_to_resume(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'a.db'}", create=True)
    add_problems(database, [f"problem {number}" for number in range(200)])
    with CompletionServer(latency_s=0.05) as server:
        options = ("--base-url", server.base_url, "--model", "m", "--n", "1", "--concurrency", "2")
        process = start(command(str(database.url), *options))
        out, err = kill_when(process, lambda: len(server.asked) >= 10, signal.SIGINT)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert "run the same command again to resume" in err
    assert "not asked" in out
    with reading(database) as session:
        assert session.scalars(sa.select(Run.status)).all() == ["stopped"]
    database.dispose()


def test_a_server_that_dies_ends_the_command_with_a_message(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    add_problems(database, [f"problem {number}" for number in range(30)])

    def fault(number: int, body: dict[str, Any]) -> Fault:
        return NO_FAULT if number < 10 else Fault(status=401)

    with CompletionServer(fault=fault) as server:
        words = [*command(url, "--base-url", server.base_url, "--model", "m", "--n", "1", "--concurrency", "1")]
        process = start(words)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("stepmark: auth: 401")
    assert "kept 10, dropped 20 (1 auth, 19 not asked)" in out
    assert "cost unknown" in out
    database.dispose()


def test_a_dry_run_on_the_command_line_says_what_would_be_asked(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    add_problems(database, ["a", "b"])
    words = command(url, "--model", "m", "--n", "2", "--dry-run")
    result = CliRunner().invoke(app, words[3:])
    assert result.output.splitlines() == [
        "2 problems, 0 of them done before",
        "4 samples wanted: 0 stored, 4 to ask in 2 requests, of which 0 samples failed before",
        "about 66 prompt tokens; sampled tokens: at most 4,096",
        "cost unknown: give --price-in and --price-out (USD per million tokens)",
    ]
    database.dispose()


def test_the_steps_of_a_reasoning_model_may_be_those_of_its_trace(database: sa.Engine) -> None:
    add_problems(database, ["a"])
    thought = "First, 9 + 7 = 16 and so on.\n\nWait, 2 are lost: 16 - 2 = 14."
    samples = [
        Sample("Step 1: It is 14.\n\n# Answer\n\n14", "stop", reasoning=thought),
        Sample("", "length", reasoning="First, 9 +"),
        Sample("Step 1: 9 + 5 = 14\n\n# Answer\n\n14", "stop"),
    ]
    engine = ScriptedEngine(lambda request, index: samples[index])
    run_task(database, engine, SolutionsTask(PLAIN, Sampling(), 3, "m", trace=True))
    with reading(database) as session:
        rows = session.scalars(sa.select(Solution).order_by(Solution.solution_id)).all()
    assert [(row.steps, row.answer, row.extra) for row in rows] == [
        (["First, 9 + 7 = 16 and so on.", "Wait, 2 are lost: 16 - 2 = 14."], "14", {"steps_of": "reasoning"}),
        (["First, 9 +"], None, {"steps_of": "reasoning", "is_truncated": True}),
        (["9 + 5 = 14"], "14", None),
    ]
    assert rows[0].text == f"<think>\n{thought}\n</think>\n\nStep 1: It is 14.\n\n# Answer\n\n14"


def test_without_trace_the_text_after_the_reasoning_is_the_solution(database: sa.Engine) -> None:
    add_problems(database, ["a"])
    engine = ScriptedEngine(lambda request, index: Sample("Step 1: It is 14.", "stop", reasoning="First, ..."))
    run_task(database, engine, SolutionsTask(PLAIN, Sampling(), 1, "m"))
    with reading(database) as session:
        row = session.scalars(sa.select(Solution)).one()
        reasoning = session.scalars(sa.select(RequestRow.reasoning)).one()
    assert (row.text, row.steps, row.extra, reasoning) == ("Step 1: It is 14.", ["It is 14."], None, "First, ...")


def test_a_source_that_nobody_has_is_refused_and_begins_no_run(database: sa.Engine) -> None:
    add_problems(database, ["a"], "gsm8k/test")
    with pytest.raises(InputError, match=r"no source is named like 'gsm8k/tset'; there are: gsm8k/test"):
        generate(database, FakeEngine(), selection=ProblemSelection("gsm8k/tset"))
    with reading(database) as session:
        assert session.scalars(sa.select(Run)).all() == []
