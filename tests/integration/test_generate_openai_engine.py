"""The engine `openai` against a real server that misbehaves: answers stay with their questions."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pytest

from generator.engines.openai import OpenAIEngine
from stepmark.engine import Completion, Failure, Message, Request, Sample, Sampling, payload_hash
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
