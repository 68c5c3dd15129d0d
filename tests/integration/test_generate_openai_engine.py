"""The engine `openai` against a real server that misbehaves: answers stay with their questions."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa

from db.connect import reading, writing
from db.models import Problem, Solution
from db.models import Request as RequestRow
from generator.asking import Report
from generator.engines import openai as openai_engine
from generator.engines.openai import OpenAIEngine
from generator.solutions import generate_solutions
from stepmark.engine import Completion, Failure, Message, Request, Sample, Sampling, payload_hash
from stepmark.errors import SettingsError
from stepmark.problems import family_hash, statement_hash
from stepmark.prompts import Prompt
from tests.completion_server import NO_FAULT, CompletionServer, Fault, foretold_text

KEY = "sk-not-to-be-seen"
SAMPLING = Sampling(temperature=0.7, max_tokens=64)


def ask(n_questions: int, n: int = 1) -> list[Request]:
    questions = [f"question {number} in {{braces}}" for number in range(n_questions)]
    return [Request(f"key of {q}", (Message("user", q),), SAMPLING, tuple(range(n))) for q in questions]


def open_engine(server: CompletionServer, **options: Any) -> OpenAIEngine:
    return OpenAIEngine("m", base_url=server.base_url, api_key=KEY, **{"first_wait_s": 0.01, **options})


def answers(engine: OpenAIEngine, requests: Sequence[Request]) -> list[tuple[Request, Completion]]:
    with closing(engine):
        return [answer for answer in engine.answer(requests) if answer is not None]


def assert_joined(found: list[tuple[Request, Completion]], requests: Sequence[Request]) -> None:
    """Every request has one answer, and each of its samples is about its own question."""
    assert sorted(request.key for request, _ in found) == sorted(request.key for request in requests)
    for request, completion in found:
        assert len(completion.samples) == len(request.sample_indices)
        for sample in completion.samples:
            assert isinstance(sample, Sample), sample
            assert sample.text.startswith(f"Step 1: {request.messages[0].content}\n")


def once_each(fault: Fault) -> Callable[[int, dict[str, Any]], Fault]:
    """The first call about each question meets the fault."""
    seen: set[str] = set()

    def answer(number: int, body: dict[str, Any]) -> Fault:
        question = body["messages"][-1]["content"]
        is_first = question not in seen
        seen.add(question)
        return fault if is_first else NO_FAULT

    return answer


def test_samples_come_in_order_with_tokens_latency_and_the_key_only_in_the_header() -> None:
    with CompletionServer() as server:
        (request,) = ask(1, n=3)
        engine = open_engine(server)
        ((_, completion),) = answers(engine, [request])
    seed = server.asked[0]["seed"]
    assert completion.samples == tuple(
        Sample(foretold_text(request.messages[0].content, seed, index), "stop") for index in range(3)
    )
    assert (completion.n_prompt_tokens, completion.n_completion_tokens, completion.cost_usd) == (4, 21, None)
    assert completion.latency_ms is not None
    assert server.asked == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": request.messages[0].content}],
            "temperature": 0.7,
            "top_p": 1.0,
            "max_tokens": 64,
            "n": 3,
            "seed": seed,
        }
    ]
    assert server.keys == {f"Bearer {KEY}"}
    assert KEY not in repr(engine.identity)


def test_another_seed_asks_with_another_seed_whatever_the_key() -> None:
    (request,) = ask(1)
    another = replace(request, sampling=replace(request.sampling, seed=1))
    with CompletionServer() as server:
        engine = open_engine(server)
        for one in (request, another, request):
            answers(engine, [one])
    first, second, again = (body["seed"] for body in server.asked)
    assert (first == again, first == second) == (True, False)


def test_many_answers_at_once_stay_with_their_questions_and_the_bound_holds() -> None:
    requests = ask(200, n=2)
    with CompletionServer(latency_s=0.01) as server:
        found = answers(open_engine(server, concurrency=16), requests)
    assert_joined(found, requests)
    assert len(server.asked) == 200
    assert server.most_in_flight <= 16


def test_requests_are_pulled_only_a_few_ahead_of_those_in_flight() -> None:
    pulled = 0

    def requests() -> Any:
        nonlocal pulled
        for request in ask(100):
            pulled += 1
            yield request

    with CompletionServer() as server, closing(open_engine(server, concurrency=4)) as engine:
        coming = engine.answer(requests())
        while next(coming) is None:
            pass
        assert pulled <= 4 + 2
        coming.close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503, headers={"retry-after": "0"}),
        Fault(status=429),
        Fault(is_dropped=True),
        Fault(is_cut_short=True),
        Fault(body=b'{"choices": [{"mess'),
        Fault(body=b"<html>gateway</html>", headers={"content-type": "text/html"}),
        Fault(body=b"[]"),
        Fault(body=b'{"choices": [{"index": 0, "message": {"content": 7}}]}'),
        Fault(n=0),
    ],
    ids=["500", "503", "429", "dropped", "cut short", "half a JSON", "HTML", "a list", "no text", "no choices"],
)
def test_a_passing_trouble_is_asked_again_and_leaves_no_trace(fault: Fault) -> None:
    requests = ask(20, n=2)
    with CompletionServer(fault=once_each(fault)) as server:
        found = answers(open_engine(server), requests)
    assert_joined(found, requests)
    assert len(server.asked) == 40


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=500), ("server_error", False)),
        (Fault(body=b"no JSON"), ("malformed", False)),
        (Fault(n=0), ("wrong_count", False)),
        (Fault(is_dropped=True), ("connection", True)),
        (Fault(status=400), ("bad_request", False)),
        (Fault(status=400, body=b'{"error": {"message": "maximum context length is 9"}}'), ("too_long", False)),
        (Fault(status=401, body=f'{{"error": "no such key {KEY}"}}'.encode()), ("auth", True)),
        (Fault(status=404), ("not_found", True)),
        (Fault(status=402), ("quota", True)),
        (Fault(status=429, body=b'{"error": {"code": "insufficient_quota"}}'), ("quota", True)),
        (Fault(status=429), ("rate_limit", True)),
        (Fault(status=429, headers={"retry-after": "86400"}), ("rate_limit", True)),
    ],
)
def test_a_lasting_trouble_is_a_failure_with_its_kind(fault: Fault, expected: tuple[str, bool]) -> None:
    with CompletionServer(fault=lambda number, body: fault) as server:
        ((_, completion),) = answers(open_engine(server, attempts=3, patience_s=0.2), ask(1, n=2))
    assert [(sample.kind, sample.is_fatal) for sample in completion.samples if isinstance(sample, Failure)] == [
        expected
    ] * 2
    assert KEY not in repr(completion)


def test_a_server_that_is_not_there_is_a_fatal_failure_soon() -> None:
    with CompletionServer() as server:
        pass
    started_at = time.monotonic()
    found = answers(open_engine(server, attempts=3), ask(3))
    assert {
        (s.kind, s.is_fatal) for _, completion in found for s in completion.samples if isinstance(s, Failure)
    } == {("connection", True)}
    assert time.monotonic() - started_at < 10


def test_a_call_without_answer_times_out() -> None:
    with CompletionServer(latency_s=0.5) as server:
        ((_, completion),) = answers(open_engine(server, timeout_s=0.05, attempts=2), ask(1))
    (failure,) = completion.samples
    assert failure == Failure("timeout", "no answer within 0.05 s (2 attempts in 0 s)", is_fatal=True)


def test_retry_after_is_obeyed_by_all_calls() -> None:
    asked_at: list[float] = []

    def fault(number: int, body: dict[str, Any]) -> Fault:
        asked_at.append(time.monotonic())
        return Fault(status=429, headers={"retry-after": "0.6"}) if number == 0 else NO_FAULT

    requests = ask(5)
    with CompletionServer(fault=fault) as server:
        assert_joined(answers(open_engine(server, concurrency=1), requests), requests)
    assert asked_at[1] - asked_at[0] >= 0.6
    assert len(asked_at) == 6


@pytest.mark.parametrize("n_given", [1, 2, 3])
def test_samples_that_the_server_left_out_are_asked_again_and_none_repeats(n_given: int) -> None:
    requests = ask(6, n=4)

    def fault(number: int, body: dict[str, Any]) -> Fault:
        return Fault(n=min(n_given, body["n"]))

    with CompletionServer(fault=fault) as server:
        found = answers(open_engine(server), requests)
    assert_joined(found, requests)
    for _, completion in found:
        assert len({sample.text for sample in completion.samples if isinstance(sample, Sample)}) == 4


def test_a_server_that_gives_more_than_asked_has_the_rest_ignored() -> None:
    requests = ask(3, n=2)
    with CompletionServer(fault=lambda number, body: Fault(n=5)) as server:
        assert_joined(answers(open_engine(server), requests), requests)


def test_a_server_that_refuses_n_is_asked_one_by_one() -> None:
    requests = ask(6, n=3)

    def fault(number: int, body: dict[str, Any]) -> Fault:
        return Fault(status=400) if body["n"] > 1 else NO_FAULT

    with CompletionServer(fault=fault) as server:
        assert_joined(answers(open_engine(server, concurrency=1), requests), requests)
    asked = Counter(body["n"] for body in server.asked)
    assert asked[1] == 18
    assert 1 <= asked[3] <= 2  # one more may start before the first refusal is understood


def test_a_failed_sample_does_not_take_the_others_with_it() -> None:
    (request,) = ask(1, n=3)

    def fault(number: int, body: dict[str, Any]) -> Fault:
        return Fault(n=1) if body["n"] > 1 else Fault(status=500) if number % 2 else NO_FAULT

    with CompletionServer(fault=fault) as server:
        ((_, completion),) = answers(open_engine(server, attempts=1, concurrency=1), [request])
    assert [type(sample).__name__ for sample in completion.samples] == ["Sample", "Failure", "Sample"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "<think>2 + 2</think>\n\n4"}, Sample("4", "stop", 7, "2 + 2")),
        ({"content": "4", "reasoning_content": "2 + 2"}, Sample("4", "stop", 7, "2 + 2")),
        ({"content": None, "refusal": "I will not"}, Failure("refused", "I will not")),
    ],
)
def test_reasoning_and_refusals_are_kept_apart_from_the_text(
    message: dict[str, Any], expected: Sample | Failure
) -> None:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice], "usage": {"completion_tokens": 7}}).encode()
    with CompletionServer(fault=lambda number, asked: Fault(body=body)) as server:
        ((_, completion),) = answers(open_engine(server), ask(1))
    assert completion.samples == (expected,)


def test_secrets_in_the_address_are_not_part_of_the_identity() -> None:
    with_secret = OpenAIEngine("m", base_url="https://user:secret@host/v1/")
    assert with_secret.identity == OpenAIEngine("m", base_url="https://host/v1").identity
    assert payload_hash(with_secret.identity, ask(1)[0].messages, SAMPLING)


@dataclass(frozen=True)
class Case:
    """What the server does, and what becomes of twelve questions of two samples each."""

    fault: Fault = NO_FAULT
    which: str = "first calls"
    """Meets the fault: the `first calls` about each question, `two questions` whenever asked, or `all` calls."""
    n_calls: int = 24
    """Calls about the questions in the first run."""
    status: str = "done"
    kept: int = 24
    failed: dict[str, int] = field(default_factory=dict)
    latency_s: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)


def lasting(kind: str, fault: Fault, *, n_calls: int = 14, **options: Any) -> Case:
    """Two questions of the twelve meet the fault whenever they are asked: their four samples fail, no other does."""
    return Case(fault, "two questions", n_calls, kept=20, failed={kind: 4}, options={"attempts": 2, **options})


def choices(*messages: dict[str, Any], finish_reason: str = "stop") -> bytes:
    found = [{"index": i, "message": m, "finish_reason": finish_reason} for i, m in enumerate(messages)]
    return json.dumps({"choices": found}).encode()


STALLED = Fault(is_stalled=True)
TOO_LONG = Fault(status=400, body=b'{"error": {"message": "This model\'s maximum context length is 9 tokens"}}')
FAULTS = {
    "latency": Case(n_calls=12, latency_s=0.1),
    "429 with Retry-After": Case(Fault(status=429, headers={"retry-after": "0.1"})),
    "429": Case(Fault(status=429)),
    "500": Case(Fault(status=500)),
    "503": Case(Fault(status=503)),
    "dropped": Case(Fault(is_dropped=True)),
    "cut short": Case(Fault(is_cut_short=True)),
    "stalled": Case(STALLED, options={"timeout_s": 3.0}),
    "malformed": Case(Fault(body=b"<html>")),
    "half a JSON": Case(Fault(body=b'{"choices": [{"index": 0, "mess')),
    "no choices": Case(Fault(n=0)),
    "too few": Case(Fault(n=1), "all", n_calls=24),
    "too many": Case(Fault(n=5), "all", n_calls=12),
    "500 for two": lasting("server_error", Fault(status=500)),
    "503 for two": lasting("server_error", Fault(status=503)),
    "dropped for two": lasting("connection", Fault(is_dropped=True)),
    "cut short for two": lasting("connection", Fault(is_cut_short=True)),
    "stalled for two": lasting("timeout", STALLED, timeout_s=1.5),
    "malformed for two": lasting("malformed", Fault(body=b"<html>")),
    "no choices for two": lasting("wrong_count", Fault(n=0)),
    "refusal": lasting("refused", Fault(body=choices(*[{"content": None, "refusal": "No."}] * 2)), n_calls=12),
    "content filter": lasting(
        "refused", Fault(body=choices(*[{"content": "So"}] * 2, finish_reason="content_filter")), n_calls=12
    ),
    "context too long": lasting("too_long", TOO_LONG, n_calls=12),
    "401": Case(Fault(status=401), "all", 1, "failed", 0, {"auth": 2}, options={"concurrency": 1}),
    "404": Case(Fault(status=404), "all", 1, "failed", 0, {"not_found": 2}, options={"concurrency": 1}),
}


def injected(case: Case) -> Callable[[int, dict[str, Any]], Fault]:
    first = once_each(case.fault)

    def fault(number: int, body: dict[str, Any]) -> Fault:
        if not is_question(body):
            return NO_FAULT
        is_hit = case.which == "all" or body["messages"][-1]["content"] in QUESTIONS[3:5]
        return first(number, body) if case.which == "first calls" else case.fault if is_hit else NO_FAULT

    return fault


QUESTIONS = [f"question {number} in {{braces}}" for number in range(12)]


def is_question(body: dict[str, Any]) -> bool:
    return body["messages"][-1]["content"] in QUESTIONS


def add_questions(database: sa.Engine) -> None:
    with writing(database) as session:
        for text in QUESTIONS:
            hashes = {"statement_hash": statement_hash(text), "family": family_hash(text)}
            session.add(Problem(statement=text, kind="original", **hashes))


def generate(database: sa.Engine, server: CompletionServer, **options: Any) -> Report:
    with closing(open_engine(server, **options)) as engine:
        return generate_solutions(database, engine, n=2, prompt=Prompt("plain", "{problem}"), sampling=SAMPLING)


def kept(database: sa.Engine) -> Counter[str]:
    """How many solutions each question has; the first step of each names its question."""
    query = sa.select(Problem.statement, Solution.steps, Solution.text, RequestRow.response)
    query = query.join(Solution, Solution.problem_id == Problem.problem_id)
    query = query.join(RequestRow, Solution.request_id == RequestRow.request_id)
    with reading(database) as session:
        rows = session.execute(query.where(RequestRow.problem_id == Problem.problem_id)).all()
    assert [(row.steps[0], row.text) for row in rows] == [(row.statement, row.response) for row in rows]
    assert len({row.text for row in rows}) == len(rows)
    return Counter(row.statement for row in rows)


def failed(database: sa.Engine) -> Counter[str | None]:
    with reading(database) as session:
        return Counter(session.scalars(sa.select(RequestRow.error_kind).where(RequestRow.status == "failed")))


@pytest.mark.parametrize("name", FAULTS)
def test_what_goes_wrong_is_counted_by_kind_and_the_next_run_asks_for_nothing_else(
    name: str, database: sa.Engine
) -> None:
    case = FAULTS[name]
    add_questions(database)
    with CompletionServer(latency_s=case.latency_s, fault=injected(case)) as server:
        report = generate(database, server, **case.options)
        asked = [body for body in server.asked if is_question(body)]
        assert (report.status, report.n_stored, dict(report.failures)) == (case.status, case.kept, case.failed)
        assert (kept(database).total(), dict(failed(database))) == (case.kept, case.failed)
        assert len(asked) == case.n_calls or (case.n_calls == 1 and len(asked) <= 3)

        server.die()  # calls of the first run that were given up, and still on their way, must not count for the next
        server.fault = lambda number, body: NO_FAULT
        server.asked.clear()
        server.come_back()
        again = generate(database, server)
    assert (again.status, again.n_stored_before, again.n_stored) == ("done", case.kept, 24 - case.kept)
    assert again.n_retried == sum(case.failed.values())
    assert len(server.asked) == (24 - case.kept) / 2
    assert kept(database) == dict.fromkeys(QUESTIONS, 2)
    assert failed(database) == {}


def die_after(server: CompletionServer, n_calls: int, *, back_after_s: float | None) -> threading.Thread:
    """Kills the server when so many calls have come, and lets it come back."""

    def watch() -> None:
        while len(server.asked) < n_calls:
            time.sleep(0.005)
        server.die()
        if back_after_s is not None:
            time.sleep(back_after_s)
            server.come_back()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_server_that_dies_for_good_ends_the_run_in_time_with_all_that_came_stored(database: sa.Engine) -> None:
    add_questions(database)
    with CompletionServer(latency_s=0.05) as server:
        watch = die_after(server, 7, back_after_s=None)
        started_at = time.monotonic()
        report = generate(database, server, concurrency=2, attempts=3, outage_s=1.5)
        assert 1.5 <= time.monotonic() - started_at < 15
        watch.join()
        n_kept = kept(database).total()
        assert (report.status, report.n_stored, list(report.failures)) == ("failed", n_kept, ["connection"])
        assert 8 <= n_kept <= 14
        assert report.message is not None
        assert "Connect" in report.message or "connect" in report.message
        server.come_back()
        server.asked.clear()
        again = generate(database, server)
    assert (again.status, again.n_stored_before, again.n_stored) == ("done", n_kept, 24 - n_kept)
    assert len(server.asked) == (24 - n_kept) / 2
    assert kept(database) == dict.fromkeys(QUESTIONS, 2)


def test_a_server_that_comes_back_in_time_costs_no_sample(database: sa.Engine) -> None:
    add_questions(database)
    with CompletionServer(latency_s=0.05) as server:
        watch = die_after(server, 7, back_after_s=1.0)
        report = generate(database, server, concurrency=2, attempts=3, outage_s=30.0)
        watch.join()
    assert (report.status, report.n_stored, report.failures) == ("done", 24, {})
    assert kept(database) == dict.fromkeys(QUESTIONS, 2)


def with_scripted_posts(
    monkeypatch: pytest.MonkeyPatch, is_lost: Callable[[str], bool], *, late: str | None = None
) -> None:
    """Lets the connection break of each call that a test says, by its question; the answer to `late` is slow."""
    real = OpenAIEngine._post

    async def post(engine: OpenAIEngine, body: bytes) -> Any:
        question = json.loads(body)["messages"][-1]["content"]
        if is_lost(question):
            await asyncio.sleep(0.01)
            return engine._lost("the server is gone")
        if question == late:
            await asyncio.sleep(0.1)
        return await real(engine, body)

    monkeypatch.setattr(OpenAIEngine, "_post", post)
    monkeypatch.setattr(openai_engine, "_LONGEST_WAIT_IN_OUTAGE_S", 0.05)


def test_an_answer_that_was_on_its_way_when_the_server_went_costs_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = requests = ask(2)
    late, began = second.messages[-1].content, time.monotonic()
    # The first call is lost at once, the second is answered a little later, and then nothing for a while.
    with_scripted_posts(monkeypatch, lambda asked: asked != late and time.monotonic() - began < 1.0, late=late)
    with CompletionServer() as server:
        found = answers(open_engine(server, attempts=3, first_wait_s=0.1), requests)
    assert [request.key for request, _ in found] == [second.key, first.key]
    assert_joined(found, requests)


def test_a_server_that_comes_back_between_an_attempt_and_the_probe_costs_no_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def is_lost(question: str) -> bool:
        """The question's own calls until a second probe, which is answered."""
        asked.append(question)
        n_probes = asked.count("Hi")
        return n_probes < 2 and len(asked) > 1

    with_scripted_posts(monkeypatch, is_lost)
    requests = ask(2)
    with CompletionServer() as server:
        assert_joined(answers(open_engine(server, attempts=2, concurrency=1), requests), requests)
    assert asked.count("Hi") == 2


def test_a_json_schema_goes_to_the_server_as_its_response_format() -> None:
    schema = {"type": "object", "properties": {"verdict": {"enum": ["pass", "fail"]}}, "required": ["verdict"]}
    request = Request("k", (Message("user", "q"),), Sampling(json_schema=json.dumps(schema)))
    with CompletionServer() as server:
        answers(open_engine(server), [request])
    assert server.asked[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


def test_an_assistant_turn_that_stands_last_is_continued() -> None:
    messages = (Message("user", "q"), Message("assistant", "Step 1:"))
    with CompletionServer() as server:
        answers(open_engine(server), [Request("k", messages, SAMPLING)])
    (body,) = server.asked
    assert (body["add_generation_prompt"], body["continue_final_message"]) == (False, True)


def test_five_hundred_calls_are_in_flight_at_once() -> None:
    requests = ask(1000)
    with CompletionServer(latency_s=1.0) as server:
        assert_joined(answers(open_engine(server, concurrency=500), requests), requests)
    assert 300 <= server.most_in_flight <= 500


def test_the_queue_of_a_vllm_server_is_kept_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generator.engines.openai._LOOK_AT_QUEUE_EVERY_S", 0.1)
    in_flight: list[int] = []

    def fault(number: int, body: dict[str, Any]) -> Fault:
        in_flight.append(server._in_flight)
        return NO_FAULT

    with CompletionServer(latency_s=0.2, fault=fault) as server:
        server.metrics = "vllm:num_requests_running 4.0\nvllm:num_requests_waiting 60.0\n"
        assert_joined(answers(open_engine(server, concurrency=64), ask(300)), ask(300))
    assert max(in_flight[:64]) > 32
    assert max(in_flight[-20:]) <= 8


def test_a_body_without_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generator.engines.openai._LARGEST_BODY", 100_000)
    with CompletionServer(fault=lambda number, body: Fault(body=b" " * 2_000_000)) as server:
        ((_, completion),) = answers(open_engine(server), ask(1))
    assert completion.samples == (Failure("malformed", "the answer is larger than 100,000 bytes"),)


def test_an_answer_that_stops_half_way_is_a_timeout_though_the_call_may_take_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("generator.engines.openai._STALL_S", 0.1)
    with CompletionServer(fault=lambda number, body: STALLED) as server:
        ((_, completion),) = answers(open_engine(server, attempts=1), ask(1))
    message = "the answer stopped half-way: nothing came for 0.1 s"
    assert [sample for sample in completion.samples if isinstance(sample, Failure)] == [
        Failure("timeout", f"{message} (1 attempts in 0 s)", is_fatal=True)
    ]


@pytest.mark.parametrize(
    ("base_url", "message"),
    [
        ("http://localhost:1/v1", "http://localhost:1/v1: cannot connect: "),
        (
            "http://no.such.host.invalid/v1",
            "http://no.such.host.invalid/v1: the name of the host cannot be resolved: ",
        ),
    ],
)
def test_what_keeps_us_from_connecting_is_said(base_url: str, message: str) -> None:
    engine = OpenAIEngine("m", base_url=base_url, first_wait_s=0.01, attempts=2)
    ((_, completion),) = answers(engine, ask(1))
    (failure,) = completion.samples
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.is_fatal, failure.message[: len(message)]) == ("connection", True, message)


def test_a_proxy_of_the_environment_is_asked_and_one_that_is_excepted_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with CompletionServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/v1"))
        requests = ask(1)
        assert_joined(answers(OpenAIEngine("m", base_url="http://behind.invalid/v1"), requests), requests)
        monkeypatch.setenv("no_proxy", "behind.invalid")
        ((_, completion),) = answers(
            OpenAIEngine("m", base_url="http://behind.invalid/v1", attempts=2, first_wait_s=0.01), requests
        )
        assert len(proxy.asked) == 1
    assert isinstance(completion.samples[0], Failure)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "socks5://localhost:1080")
    with pytest.raises(SettingsError, match="socks5 proxy"):
        OpenAIEngine("m", base_url="http://behind.invalid/v1")


@pytest.mark.parametrize("address", ["localhost:8000/v1", "ftp://host/v1", "", "http:///v1"])
def test_an_address_that_is_none_is_refused_at_once(address: str) -> None:
    with pytest.raises(SettingsError, match="no address of a server"):
        OpenAIEngine("m", base_url=address)
