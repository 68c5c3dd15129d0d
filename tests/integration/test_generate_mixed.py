"""Models and temperatures mixed in one command: each a run of its own, all under one budget."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db.connect import open_database, reading, writing
from db.models import Problem, Run, Solution
from db.models import Request as RequestRow
from db.runs import list_runs
from generator.asking import Report, run_task
from generator.budget import NO_LIMITS, Limits
from generator.engines.openai import OpenAIEngine
from generator.mixing import MixedModel, Part, run_mix, total
from generator.solutions import SolutionsTask
from stepmark.cli.main import app
from stepmark.engine import Engine, Failure, Request, Sampling
from stepmark.errors import EngineError, LimitReached, SettingsError
from stepmark.problems import family_hash, statement_hash
from stepmark.prompts import read_prompt
from tests.completion_server import NO_FAULT, CompletionServer, Fault
from tests.scripted_engine import Reply, ScriptedEngine

ROOT = Path(__file__).parents[2]
PROBLEMS = ("one", "two", "three")
TEMPERATURES = (0.7, 1.0)
Asked = Counter[tuple[str, float, str]]
"""Calls by model, temperature and question."""


@pytest.fixture
def filled(database: sa.Engine) -> sa.Engine:
    """A database of each kind with the problems."""
    return fill(database)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file of SQLite with the problems, for commands."""
    url = f"sqlite:///{tmp_path / 'stepmark.db'}"
    fill(open_database(url, create=True)).dispose()
    return url


@pytest.fixture
def in_memory() -> Iterator[sa.Engine]:
    """A database with the problems, where its kind does not matter."""
    database = fill(open_database("sqlite://", create=True))
    yield database
    database.dispose()


def fill(database: sa.Engine, statements: Sequence[str] = PROBLEMS) -> sa.Engine:
    with writing(database) as session:
        for text in statements:
            hashes = {"statement_hash": statement_hash(text), "family": family_hash(text)}
            session.add(Problem(statement=text, kind="original", **hashes))
    return database


def reply(request: Request, index: int) -> str:
    return f"Step 1: {request.messages[0].content} {index}\n\n# Answer\n\n{index}"


def tasks(model: str, *, n: int = 2) -> dict[float, SolutionsTask]:
    def sampling(temperature: float) -> Sampling:
        return Sampling(temperature=temperature, max_tokens=100)

    return {t: SolutionsTask(read_prompt("plain"), sampling(t), n, model) for t in TEMPERATURES}


class Scripted(ScriptedEngine):
    """Notes each call's temperature, and whether it was closed."""

    def __init__(self, model: str, script: Reply = reply, *, window: int = 1) -> None:
        self.calls: Asked = Counter()
        self.is_closed = False

        def noted(request: Request, index: int) -> Any:
            if index == request.sample_indices[0]:
                self.calls[model, request.sampling.temperature, request.messages[0].content] += 1
            return script(request, index)

        super().__init__(noted, window=window, model=model)

    def close(self) -> None:
        self.is_closed = True


def mixed(engines: Sequence[Engine], limits: Sequence[Limits] | Limits = NO_LIMITS) -> list[MixedModel]:
    each = [limits] * len(engines) if isinstance(limits, Limits) else limits
    return [
        MixedModel(engine, limit, tasks(engine.identity.model)) for engine, limit in zip(engines, each, strict=True)
    ]


def statuses(parts: Sequence[Part]) -> dict[str, str]:
    return {f"{part.model} {part.temperature:g}": part.report.status for part in parts}


def samples(database: sa.Engine) -> Counter[tuple[str, float, str]]:
    """Samples that are there with their solutions, by model, temperature and problem."""
    query = (
        sa.select(Solution.generator, Run.record, Problem.statement)
        .select_from(RequestRow)
        .join(Solution, Solution.request_id == RequestRow.request_id)
        .join(Run, Run.run_id == Solution.run_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .where(RequestRow.status == "done", RequestRow.run_id == Solution.run_id)
    )
    with reading(database) as session:
        rows = session.execute(query).all()
    return Counter((model, record["sampling"]["temperature"], statement) for model, record, statement in rows)


def every(models: Sequence[str], times: int) -> Asked:
    return Counter({(model, t, text): times for model in models for t in TEMPERATURES for text in PROBLEMS})


def keys(database: sa.Engine) -> set[tuple[Any, ...]]:
    """What runs are found again by, their records, and the keys of what they asked."""
    query = sa.select(Run.run_key, Run.record, RequestRow.payload_hash, RequestRow.sample_index)
    with reading(database) as session:
        rows = session.execute(query.join(RequestRow, RequestRow.run_id == Run.run_id)).all()
    return {(key, json.dumps(record, sort_keys=True), payload, index) for key, record, payload, index in rows}


# ------------------------------------------------------------ runs as if each were asked alone


def test_a_mix_makes_the_runs_of_its_parts_asked_alone_and_asks_nothing_of_them_again(
    filled: sa.Engine, in_memory: sa.Engine
) -> None:
    for model in ("a", "b"):
        for task in tasks(model).values():
            run_task(in_memory, Scripted(model), task)
    first = run_task(filled, Scripted("a"), tasks("a")[0.7])

    engines = [Scripted("a"), Scripted("b")]
    parts = run_mix(filled, mixed(engines))
    assert statuses(parts) == {"a 0.7": "done", "a 1": "done", "b 0.7": "done", "b 1": "done"}
    assert (parts[0].report.run_id, parts[0].report.n_stored_before, parts[0].report.n_stored) == (first.run_id, 6, 0)
    assert engines[0].calls + engines[1].calls == every(["a", "b"], 1) - Counter(
        {("a", 0.7, text): 1 for text in PROBLEMS}
    )
    assert samples(filled) == every(["a", "b"], 2)
    assert keys(filled) == keys(in_memory)
    assert all(engine.is_closed for engine in engines)

    later = Scripted("a")
    assert run_task(filled, later, tasks("a")[1.0]).n_stored == 0
    assert later.calls == Counter()


def test_progress_says_which_run_is_under_way(in_memory: sa.Engine) -> None:
    seen: list[str] = []
    run_mix(in_memory, mixed([Scripted("a"), Scripted("b")]), on_progress=lambda part: seen.append(part.name))
    assert list(dict.fromkeys(seen)) == [
        "a at temperature 0.7",
        "a at temperature 1",
        "b at temperature 0.7",
        "b at temperature 1",
    ]


# ------------------------------------------------------------ one budget


@pytest.mark.parametrize("window", [1, 7])
def test_a_budget_holds_for_all_runs_together_and_a_larger_one_goes_on(filled: sa.Engine, window: int) -> None:
    engines = [Scripted("a", window=window), Scripted("b", window=window)]
    # A question takes 20 + 2 x 10 tokens, at most (about 35) + 2 x 100; so 360 hold one run of three and a bit.
    parts = run_mix(filled, mixed(engines, Limits(budget_tokens=360)))
    assert statuses(parts) == {"a 0.7": "done", "a 1": "budget", "b 0.7": "not begun", "b 1": "not begun"}
    whole = total(parts)
    assert (whole.status, whole.n_prompt_tokens + whole.n_completion_tokens) == ("budget", 160)
    assert whole.message is not None
    assert whole.message.startswith("a at temperature 1: the budget of 360 tokens is reached: 160 are used")
    assert engines[1].calls == Counter()

    # What earlier calls used counts, in whichever run of the mix.
    again = run_mix(filled, mixed(engines, Limits(budget_tokens=360)))
    assert (statuses(again)["a 1"], total(again).n_stored) == ("budget", 0)
    assert statuses(run_mix(filled, mixed(engines[1:] + engines[:1], Limits(budget_tokens=360))))["b 0.7"] == "budget"
    assert sum((engine.calls for engine in engines), Counter()) == Counter(
        {("a", 0.7, text): 1 for text in PROBLEMS} | {("a", 1.0, "one"): 1}
    )

    assert total(run_mix(filled, mixed(engines, Limits(budget_tokens=9_000)))).status == "done"
    assert engines[0].calls + engines[1].calls == every(["a", "b"], 1)
    assert samples(filled) == every(["a", "b"], 2)


def test_a_budget_in_money_counts_each_model_at_its_own_price(filled: sa.Engine) -> None:
    engines = [Scripted("a"), Scripted("b")]
    budget = 0.05
    # A question costs 20 x 10 + 20 x 50 millionths of `a`, ten times as much of `b`, where it may cost about 0.1035.
    parts = run_mix(filled, mixed(engines, [Limits(10, 50, budget), Limits(100, 500, budget)]))
    assert statuses(parts) == {"a 0.7": "done", "a 1": "done", "b 0.7": "budget", "b 1": "not begun"}
    assert total(parts).cost_usd == pytest.approx(6 * 1200e-6)
    parts = run_mix(filled, mixed(engines, [Limits(10, 50, 0.13), Limits(100, 500, 0.13)]))
    assert statuses(parts)["b 0.7"] == "budget"
    assert total(parts).cost_usd == pytest.approx(2 * 12_000e-6)
    spent = sum(run.cost_usd or 0.0 for run in list_runs(filled))
    assert 0.13 - 0.104 < spent <= 0.13


# ------------------------------------------------------------ troubles


def test_where_one_server_dies_the_other_models_still_run(filled: sa.Engine) -> None:
    def dying(number: int, body: dict[str, Any]) -> Fault:
        if number == 2:
            first.die()
        return NO_FAULT if number < 2 else Fault(is_dropped=True)

    def engines() -> list[OpenAIEngine]:
        options: dict[str, Any] = {"concurrency": 1, "first_wait_s": 0.01, "outage_s": 0.2}
        return [OpenAIEngine(model, base_url=on.base_url, **options) for model, on in (("a", first), ("b", second))]

    with CompletionServer(fault=dying) as first, CompletionServer() as second:
        parts = run_mix(filled, mixed(engines()))
        assert statuses(parts) == {"a 0.7": "failed", "a 1": "not begun", "b 0.7": "done", "b 1": "done"}
        assert samples(filled) == every(["b"], 2) + Counter({("a", 0.7, "one"): 2, ("a", 0.7, "two"): 2})
        whole = total(parts)
        assert (whole.status, whole.n_stored, whole.failures) == ("failed", 16, {"connection": 2})
        assert whole.message is not None
        assert whole.message.startswith("a at temperature 0.7: connection: ")

        first.fault = lambda number, body: NO_FAULT
        first.come_back()
        for server in (first, second):
            server.asked.clear()
        assert total(run_mix(filled, mixed(engines()))).status == "done"
        asked = [(body["temperature"], body["messages"][0]["content"]) for body in first.asked]
        assert asked == [(0.7, "three"), *((1.0, text) for text in PROBLEMS)]
        assert second.asked == []
    assert samples(filled) == every(["a", "b"], 2)


def test_a_model_that_cannot_be_loaded_stops_no_other_and_alone_is_a_mistake(in_memory: sa.Engine) -> None:
    def missing(request: Request, index: int) -> str:
        raise SettingsError("no such model")

    parts = run_mix(in_memory, mixed([Scripted("a", missing), Scripted("b")]))
    assert statuses(parts) == {"a 0.7": "failed", "a 1": "not begun", "b 0.7": "done", "b 1": "done"}
    assert total(parts).message == "a at temperature 0.7: no such model"
    assert {run.run_id: run.status for run in list_runs(in_memory)}[parts[0].report.run_id or 0] == "failed"
    alone = MixedModel(Scripted("a", missing), NO_LIMITS, {0.7: tasks("a")[0.7]})
    with pytest.raises(SettingsError, match="no such model"):
        run_mix(in_memory, [alone])


def test_a_run_of_which_every_sample_failed_fails_the_mix_and_stops_no_other(in_memory: sa.Engine) -> None:
    late = Failure("timeout", "too late")
    failing = Scripted(
        "a", lambda request, index: late if request.sampling.temperature == 0.7 else reply(request, index)
    )
    parts = run_mix(in_memory, mixed([failing, Scripted("b")]))
    assert [part.status for part in parts] == ["failed", "done", "done", "done"]
    whole = total(parts)
    assert (whole.status, whole.n_stored, whole.failures) == ("failed", 18, {"timeout": 6})
    assert whole.message == "a at temperature 0.7: every sample failed"


def test_ctrl_c_stops_the_whole_mix(filled: sa.Engine) -> None:
    def interrupted(request: Request, index: int) -> str:
        if request.sampling.temperature == 1.0 and request.messages[0].content == "two":
            raise KeyboardInterrupt
        return reply(request, index)

    engines = [Scripted("a", interrupted), Scripted("b")]
    parts = run_mix(filled, mixed(engines))
    assert statuses(parts) == {"a 0.7": "done", "a 1": "stopped", "b 0.7": "not begun", "b 1": "not begun"}
    assert (total(parts).status, total(parts).n_stored) == ("stopped", 8)
    again = [Scripted("a"), Scripted("b")]
    assert total(run_mix(filled, mixed(again))).n_stored == 16
    assert samples(filled) == every(["a", "b"], 2)


# ------------------------------------------------------------ the command


def words(url: str, *options: str) -> list[str]:
    return ["generate", "solutions", "--db", url, "--prompt", "plain", "--n", "2", *options]


def of_servers(*servers: CompletionServer) -> list[str]:
    names = [("--model", name) for name in "abc"[: len(servers)]]
    addresses = [("--base-url", server.base_url) for server in servers]
    temperatures = [("--temperature", str(temperature)) for temperature in TEMPERATURES]
    return [word for pair in (*names, *addresses, *temperatures) for word in pair]


def asked(*servers: CompletionServer) -> Asked:
    return Counter(
        (body["model"], body["temperature"], body["messages"][0]["content"])
        for server in servers
        for body in server.asked
    )


def test_the_command_asks_each_server_for_its_model_and_prints_one_document(url: str) -> None:
    with CompletionServer() as first, CompletionServer() as second:
        alone = CliRunner().invoke(
            app, [*words(url, "--model", "a", "--base-url", first.base_url), "--concurrency", "1", "--json"]
        )
        single = json.loads(alone.stdout)
        assert set(single) == {*Report.__dataclass_fields__, "n_not_asked"}
        assert asked(first) == {("a", 0.7, text): 1 for text in PROBLEMS}
        first.asked.clear()

        prices = ("--price-in", "1", "--price-out", "10", "--price-out", "20")
        command = words(url, *of_servers(first, second), *prices)
        result = CliRunner().invoke(app, [*command, "--json"], env={"FORCE_COLOR": "1", "COLUMNS": "200"})
        assert asked(first) == {("a", 1.0, text): 1 for text in PROBLEMS}
        assert asked(second) == every(["b"], 1)
        whole = json.loads(result.stdout)
        text = CliRunner().invoke(app, command)
    assert (result.exit_code, text.exit_code) == (0, 0)
    assert set(whole) == {*single, "runs"}
    assert [(run["model"], run["temperature"], run["n_stored_before"], run["n_stored"]) for run in whole["runs"]] == [
        ("a", 0.7, 6, 0),
        ("a", 1.0, 0, 6),
        ("b", 0.7, 0, 6),
        ("b", 1.0, 0, 6),
    ]
    assert whole["runs"][0]["run_id"] == single["run_id"]
    assert (whole["status"], whole["run_id"], whole["n_items"], whole["n_stored"]) == ("done", None, 12, 18)
    # The server counts one word to a prompt and 14 tokens to two samples.
    assert whole["cost_usd"] == pytest.approx(3 * (1 + 140) / 1e6 + 6 * (1 + 280) / 1e6)
    assert "b at temperature 1 " in result.stderr
    lines = text.output.splitlines()
    assert [line for line in lines if line.endswith(":")] == [
        f"{name} at temperature {t}:" for name in "ab" for t in ("0.7", "1")
    ]
    assert lines[-4:-1] == [
        "runs: read 4, kept 4, dropped 0",
        "samples: read 24, kept 24, dropped 0",
        "0 samples stored now, 0 of them truncated; 24 stored before, 0 asked again after a failure",
    ]


def test_the_command_fails_where_one_server_refuses_and_says_which_at_the_end(url: str) -> None:
    refusing = CompletionServer(fault=lambda number, body: Fault(status=401))
    with refusing, CompletionServer() as second:
        result = CliRunner().invoke(app, words(url, *of_servers(refusing, second)))
        document = CliRunner().invoke(app, words(url, *of_servers(refusing, second), "--json"))
    assert isinstance(result.exception, EngineError)
    assert str(result.exception).startswith("a at temperature 0.7: auth: 401")
    assert str(result.exception).endswith("run the same command again to resume.")
    assert "a at temperature 1: not begun\n" in result.output
    assert "runs: read 4, kept 2, dropped 2 (1 failed, 1 not begun)\n" in result.output
    assert isinstance(document.exception, EngineError)
    runs = [run["status"] for run in json.loads(document.stdout)["runs"]]
    assert (json.loads(document.stdout)["status"], runs) == ("failed", ["failed", "not begun", "done", "done"])


def test_the_command_says_that_the_budget_is_reached_and_what_was_not_begun(url: str) -> None:
    with CompletionServer() as first, CompletionServer() as second:
        options = (*of_servers(first, second), "--max-tokens", "100", "--concurrency", "1")
        result = CliRunner().invoke(app, words(url, *options, "--budget-tokens", "290"))
        assert second.asked == []
        assert isinstance(result.exception, LimitReached)
        assert str(result.exception).startswith("a at temperature 1: the budget of 290 tokens is reached")
        assert "runs: read 4, kept 1, dropped 3 (1 budget, 2 not begun)\n" in result.output
        assert CliRunner().invoke(app, words(url, *options, "--budget-tokens", "2900")).exit_code == 0
        assert asked(first, second) == every(["a", "b"], 1)


def test_a_dry_run_estimates_each_run_and_their_total(url: str) -> None:
    with CompletionServer() as first, CompletionServer() as second:
        prices = ("--price-in", "1", "--price-in", "2", "--price-out", "10", "--max-tokens", "100", "--dry-run")
        command = words(url, *of_servers(first, second), *prices)
        lines = CliRunner().invoke(app, command).output.splitlines()
        whole = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
        assert asked(first, second) == Counter()
    # Three prompts of 32 tokens and half their letters, 2 or 3 each; six samples of 100.
    assert lines[:5] == [
        "a at temperature 0.7:",
        "3 problems, 0 of them done before",
        "6 samples wanted: 0 stored, 6 to ask in 3 requests, of which 0 samples failed before",
        "about 103 prompt tokens; sampled tokens: at most 600",
        "cost: at most 0.0061 USD",
    ]
    assert lines[-4:] == [
        "runs: read 4, kept 4, dropped 0",
        "24 samples wanted: 0 stored, 24 to ask in 12 requests, of which 0 samples failed before",
        "about 412 prompt tokens; sampled tokens: at most 2,400",
        "cost: at most 0.0246 USD",
    ]
    assert (whole["status"], whole["estimate"]["n_samples"]) == ("dry run", 24)
    assert whole["estimate"]["cost_usd_at_most"] == pytest.approx((206 * 1 + 206 * 2 + 2400 * 10) / 1e6)
    assert whole["estimate"]["cost_usd_likely"] is None


THREE = ("--model", "a", "--model", "b", "--model", "c")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((*THREE, "--base-url", "http://x/v1", "--base-url", "http://y/v1"), "--base-url has 2 values and --model 3"),
        ((*THREE, "--price-in", "1", "--price-in", "2", "--price-out", "3"), "--price-in has 2 values and --model 3"),
        (("--model", "a", "--price-in", "1", "--price-out", "2", "--price-out", "3"), "has 2 values and --model 1"),
        ((*THREE, "--model", "b"), "--model b is given 2 times; give each once"),
        (("--model", "a", "--temperature", "1", "--temperature", "1.0"), "--temperature 1.0 is given 2 times"),
        ((*THREE, "--budget-usd", "5"), "give --price-in and --price-out"),
    ],
)
def test_values_that_do_not_fit_the_models_are_refused(url: str, options: Sequence[str], message: str) -> None:
    result = CliRunner().invoke(app, words(url, *options))
    assert isinstance(result.exception, SettingsError)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    "command", ["alternatives", "critiques --kind judge", "preferences", "refinements", "rollouts", "variants"]
)
def test_other_commands_refuse_several_models_and_temperatures(url: str, command: str) -> None:
    always = ["generate", *command.split(), "--db", url]
    always += ["--kind", "rephrased"] if command == "variants" else []
    for options, message in (
        (["--model", "a", "--model", "b"], "--model is given 2 times (a, b); this command takes one"),
        (["--model", "a", "--temperature", "0", "--temperature", "1"], "--temperature is given 2 times (0.0, 1.0)"),
    ):
        result = CliRunner().invoke(app, [*always, *options])
        assert isinstance(result.exception, SettingsError)
        assert message in str(result.exception)


def test_ctrl_c_stops_the_command_with_130_and_says_how_to_resume(url: str) -> None:
    def interrupting(number: int, body: dict[str, Any]) -> Fault:
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return NO_FAULT

    with CompletionServer(fault=interrupting, latency_s=0.05) as first, CompletionServer() as second:
        result = CliRunner().invoke(app, words(url, *of_servers(first, second), "--concurrency", "1"))
        assert second.asked == []
    assert (result.exit_code, result.stderr) == (130, "stepmark: stopped; run the same command again to resume\n")
    assert "runs: read 4, kept 0, dropped 4 (3 not begun, 1 stopped)\n" in result.stdout


def test_a_mix_that_is_killed_resumes_where_it_was(database_url: str) -> None:
    database = fill(open_database(database_url, create=True))
    with CompletionServer() as first, CompletionServer(latency_s=0.4) as second:
        command = words(database_url, *of_servers(first, second), "--max-tokens", "100", "--concurrency", "1")
        process = subprocess.Popen([sys.executable, "-m", "stepmark", *command], cwd=ROOT, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while not every(["a"], 2) < samples(database):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate()
        survived = samples(database)
        assert survived < every(["a", "b"], 2)

        for server in (first, second):
            server.asked.clear()
        second.latency_s = 0.0
        engines = [OpenAIEngine(model, base_url=on.base_url) for model, on in (("a", first), ("b", second))]
        assert total(run_mix(database, mixed(engines))).status == "done"
        assert asked(first, second) == Counter(set(every(["a", "b"], 1)) - set(survived))
    assert samples(database) == every(["a", "b"], 2)
    database.dispose()
