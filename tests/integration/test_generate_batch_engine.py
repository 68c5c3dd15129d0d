"""The engine `openai-batch` against a real batch service that misbehaves: nothing lost, nothing paid twice."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.batches import BatchLedger
from db.connect import open_database, reading, writing
from db.models import Batch, Problem, ProblemSource
from db.models import Request as RequestRow
from generator.asking import Report
from generator.engines.openai_batch import OpenAIBatchEngine
from generator.solutions import generate_solutions
from stepmark.engine import Completion, Message, Request, Sample, Sampling
from stepmark.problems import family_hash, statement_hash
from stepmark.prompts import Prompt
from tests.batch_server import BatchServer, Fault, Outcome, Row, answered, refused, unfinished

ROOT = Path(__file__).parents[2]
KEY = "sk-not-to-be-seen"
PLAIN = Prompt("plain", "{problem}")
QUESTIONS = [f"question {number}" for number in range(10)]


def add_problems(database: sa.Engine, statements: Iterable[str] = QUESTIONS) -> None:
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
            session.add(ProblemSource(problem_id=problem.problem_id, source="toy", source_key=str(number)))


def open_engine(server: BatchServer, ledger: BatchLedger | None = None, **options: Any) -> OpenAIBatchEngine:
    return OpenAIBatchEngine(
        "m",
        base_url=server.base_url,
        api_key=KEY,
        ledger=ledger,
        **{"first_wait_s": 0.01, "longest_wait_s": 0.05, "settle_s": 0.3, **options},
    )


def generate(
    database: sa.Engine, server: BatchServer, *, n: int = 3, is_dry_run: bool = False, **options: Any
) -> Report:
    with closing(open_engine(server, BatchLedger(database), **options)) as engine:
        return generate_solutions(
            database, engine, n=n, prompt=PLAIN, sampling=Sampling(max_tokens=64), is_dry_run=is_dry_run
        )


def samples(database: sa.Engine) -> dict[tuple[str, int], str]:
    """What is stored, by question and sample index: a text's own question, or the kind of a failure."""
    query = sa.select(Problem.statement, RequestRow).join(Problem, Problem.problem_id == RequestRow.problem_id)
    found = {}
    with reading(database) as session:
        for statement, row in session.execute(query):
            said = row.error_kind or row.response.partition("\n")[0].removeprefix("Step 1: ")
            found[statement, row.sample_index] = said
    return found


def texts(database: sa.Engine) -> list[str]:
    with reading(database) as session:
        return [text for text in session.scalars(sa.select(RequestRow.response)) if text is not None]


def right(n: int = 3, questions: Iterable[str] = QUESTIONS) -> dict[tuple[str, int], str]:
    """What is stored where every sample stands with its own question."""
    return {(question, index): question for question in questions for index in range(n)}


def batches(database: sa.Engine) -> list[tuple[str, str, bool, int]]:
    """The ledger: key, status, whether it is open, and number of samples asked of it (or answered, once read)."""
    with reading(database) as session:
        rows = session.scalars(sa.select(Batch).order_by(Batch.batch_id)).all()
    return [(row.batch_key, row.status, row.is_open, sum(map(len, row.asked.values()))) for row in rows]


def question_of(row: Row) -> str:
    return str(row["body"]["messages"][-1]["content"])


# ------------------------------------------------------------ the whole loop


def test_samples_are_asked_in_batches_and_stored_with_their_problems(database: sa.Engine) -> None:
    add_problems(database)
    with BatchServer() as server:
        report = generate(database, server, n_rows=4)
        assert (report.status, report.n_stored, report.failures) == ("done", 30, {})
        assert samples(database) == right()
        assert len(set(texts(database))) == 30
        assert [len(batch.rows) for batch in server.batches] == [4, 4, 2]
        assert [batch.rows[0]["body"]["n"] for batch in server.batches] == [3, 3, 3]
        assert batches(database) == [
            ("batch_0", "completed", False, 12),
            ("batch_1", "completed", False, 12),
            ("batch_2", "completed", False, 6),
        ]
        assert (report.n_prompt_tokens, report.n_completion_tokens) == (20, 210)
        again = generate(database, server, n_rows=4)
        assert (again.n_stored_before, again.n_stored, len(server.batches)) == (30, 0, 3)
        more = generate(database, server, n=5)
        assert (more.n_stored, len(server.batches)) == (20, 4)
    assert samples(database) == right(5)
    assert len(set(texts(database))) == 50, "the later samples have a seed of their own"
    assert set(server.paid.values()) == {1}
    assert server.keys == {f"Bearer {KEY}"}


def test_a_batch_is_no_larger_than_its_limits_in_bytes(database: sa.Engine) -> None:
    add_problems(database)
    with BatchServer() as server:
        assert generate(database, server, n=1, n_bytes=700).status == "done"
    sizes = [len(content) for name, content in server.files.items() if name.startswith("file-in")]
    assert len(sizes) > 1
    assert max(sizes) <= 700
    assert samples(database) == right(1)


def test_no_more_batches_are_under_way_than_allowed(database: sa.Engine) -> None:
    add_problems(database)
    with BatchServer(n_looks=3) as server:
        generate(database, server, n=1, n_rows=1, n_open=2)
    made = [number for number, call in enumerate(server.calls) if call == "POST /batches"]
    assert len(made) == 10
    for number, call in enumerate(made[2:], 2):
        ended = sum(name.endswith("/content") for name in server.calls[:call])
        assert number - ended < 2
    assert samples(database) == right(1)


def test_questions_that_depend_on_answers_are_handed_over_together() -> None:
    """Three questions, then three that need their answers: two batches, though every answer comes by itself."""
    sampling = Sampling(max_tokens=64)
    answered_first: list[Request] = []
    seen: list[tuple[str, Completion]] = []

    def requests() -> Iterator[Request | None]:
        for number in range(3):
            yield Request(f"first {number}", (Message("user", f"first {number}"),), sampling)
        while len(seen) < 6:
            if answered_first:
                key = answered_first.pop().key.replace("first", "second")
                yield Request(key, (Message("user", key),), sampling)
            else:
                yield None

    with BatchServer() as server, closing(open_engine(server)) as engine:
        for answer in engine.answer(requests()):
            if answer is not None:
                seen.append((answer[0].key, answer[1]))
                if answer[0].key.startswith("first"):
                    answered_first.append(answer[0])
    assert [len(batch.rows) for batch in server.batches] == [3, 3]
    assert sorted(key for key, _ in seen) == [
        f"{word} {number}" for word in ("first", "second") for number in range(3)
    ]
    for key, completion in seen:
        (sample,) = completion.samples
        assert isinstance(sample, Sample)
        assert sample.text.startswith(f"Step 1: {key}\n")


def test_a_dry_run_hands_nothing_over(database: sa.Engine) -> None:
    add_problems(database)
    with BatchServer() as server:
        report = generate(database, server, is_dry_run=True)
        assert (report.n_not_asked, server.calls, batches(database)) == (30, [], [])


def test_while_it_waits_the_caller_is_called_twice_a_second_even_when_the_service_hangs() -> None:
    def hang(method: str, path: str, number: int) -> Fault | None:
        return Fault(delay_s=1.5) if method == "GET" and number == 2 else None

    request = Request("k", (Message("user", "q"),), Sampling(max_tokens=64))
    beats = [time.monotonic()]
    with BatchServer(fault=hang) as server, closing(open_engine(server)) as engine:
        for _ in engine.answer([request]):
            beats.append(time.monotonic())
    assert len(beats) >= 4
    assert max(later - earlier for earlier, later in itertools.pairwise(beats)) < 1.0


# ------------------------------------------------------------ files that are not as they should be


def shuffled(number: int, rows: list[Row]) -> Outcome:
    lines = [answered(row) for row in rows]
    random.Random(number).shuffle(lines)
    return Outcome(lines)


def doubled(number: int, rows: list[Row]) -> Outcome:
    return Outcome([line for row in rows for line in (answered(row), answered(row, 1))], [refused(rows[0], 500)])


def foreign(number: int, rows: list[Row]) -> Outcome:
    strange = [{"custom_id": "request-1"}, {"custom_id": f"{'0' * 32}-0-3"}]
    other = {**rows[1], "custom_id": rows[1]["custom_id"].removesuffix("-0-3") + "-3-999999999"}
    found = [answered({**row, "body": rows[0]["body"]}) for row in [*strange, other]]
    return Outcome(found + [answered(row) for row in rows])


@pytest.mark.parametrize("plan", [shuffled, doubled, foreign])
def test_rows_in_any_order_number_and_company_find_their_questions(
    plan: Callable[[int, list[Row]], Outcome], database: sa.Engine
) -> None:
    add_problems(database)
    with BatchServer(plan) as server:
        report = generate(database, server)
    assert (report.n_stored, report.failures, len(server.batches)) == (30, {}, 1)
    assert samples(database) == right()
    assert batches(database) == [("batch_0", "completed", False, 30)]


def without_two(rows: list[Row]) -> Outcome:
    return Outcome([answered(row) for row in rows[2:]])


def garbled(rows: list[Row]) -> Outcome:
    return Outcome([b"", b"}{", b"[1]", b'{"custom_id": 7}', b"\xff\xfe", *(answered(row) for row in rows[2:])])


def cut_off(rows: list[Row]) -> Outcome:
    lines = [answered(row) for row in rows]
    return (
        Outcome([*lines[2:-2], lines[0][:-20], b""]) if len(rows) == 2 else Outcome([*lines[2:], lines[0][:80], b""])
    )


def passing_errors(rows: list[Row]) -> Outcome:
    return Outcome([answered(row) for row in rows[2:]], [refused(rows[0], 500), refused(rows[1], 429)])


def no_completions(rows: list[Row]) -> Outcome:
    bad = [{"status_code": 200, "body": body} for body in ("oops", {"choices": [{"message": {"content": 7}}]})]
    odd = [
        json.dumps({"custom_id": row["custom_id"], "response": r}).encode() for row, r in zip(rows, bad, strict=False)
    ]
    return Outcome([*odd, *(answered(row) for row in rows[2:])])


def too_few(rows: list[Row]) -> Outcome:
    return Outcome([answered(row, 1 if number < 2 else None) for number, row in enumerate(rows)])


def number_refused(rows: list[Row]) -> Outcome:
    return Outcome([answered(row) for row in rows[2:]], [refused(row, 400, "n must be 1") for row in rows[:2]])


def expired(rows: list[Row]) -> Outcome:
    return Outcome([answered(row) for row in rows[2:]], [unfinished(row) for row in rows[:2]], "expired")


def expired_without_a_word(rows: list[Row]) -> Outcome:
    return Outcome([answered(row) for row in rows[2:]], [], "expired")


def cancelled(rows: list[Row]) -> Outcome:
    errors = [unfinished(row, "batch_cancelled") for row in rows[:2]]
    return Outcome([answered(row) for row in rows[2:]], errors, "cancelled")


FAULTS = [
    (without_two, "malformed", [3, 3]),
    (garbled, "malformed", [3, 3]),
    (cut_off, "malformed", [3, 3]),
    (passing_errors, "server_error, rate_limit", [3, 3]),
    (no_completions, "malformed", [3, 3]),
    (too_few, "wrong_count", [1, 1, 1, 1]),
    (number_refused, "bad_request", [1, 1, 1, 1, 1, 1]),
    (expired, "timeout", [3, 3]),
    (expired_without_a_word, "timeout", [3, 3]),
    (cancelled, "cancelled", [3, 3]),
]


@pytest.mark.parametrize(("fault", "kind", "n_each"), FAULTS)
def test_only_what_failed_is_handed_over_again_once(
    fault: Callable[[list[Row]], Outcome], kind: str, n_each: list[int], database: sa.Engine
) -> None:
    add_problems(database)

    def at_first(number: int, rows: list[Row]) -> Outcome:
        return fault(rows) if number == 0 else Outcome([answered(row) for row in rows])

    with BatchServer(at_first) as server:
        report = generate(database, server)
    assert (report.status, report.n_stored, report.failures) == ("done", 30, {})
    assert samples(database) == right()
    first, second = server.batches
    assert {question_of(row) for row in second.rows} == {question_of(row) for row in first.rows[:2]}
    assert [row["body"]["n"] for row in second.rows] == n_each
    assert len(set(texts(database))) == 30
    assert [(status, is_open) for _, status, is_open, _ in batches(database)] == [
        (first.outcome.status, False),
        ("completed", False),
    ]


@pytest.mark.parametrize(("fault", "kind", "n_each"), FAULTS)
def test_what_fails_again_is_a_failure_of_its_kind_which_the_next_run_asks_again(
    fault: Callable[[list[Row]], Outcome], kind: str, n_each: list[int], database: sa.Engine
) -> None:
    add_problems(database)

    def twice(number: int, rows: list[Row]) -> Outcome:
        if number > 1:
            return Outcome([answered(row) for row in rows])
        if number == 1 and fault is too_few:
            return Outcome([answered(row, 0) for row in rows])
        if number == 1 and fault is number_refused:
            return Outcome([], [refused(row, 400) for row in rows])
        return fault(rows)

    with BatchServer(twice) as server:
        report = generate(database, server)
        n_failed = 4 if fault is too_few else 6
        assert (report.status, report.n_stored, report.failures.total()) == ("done", 30 - n_failed, n_failed)
        assert ", ".join(sorted(report.failures, reverse=True)) == kind
        found = samples(database)
        assert {key: said for key, said in found.items() if said in QUESTIONS} == {
            key: said for key, said in right().items() if found[key] == said
        }
        assert len(server.batches) == 2
        again = generate(database, server)
    assert (again.n_retried, again.n_stored, again.failures) == (n_failed, n_failed, {})
    assert samples(database) == right()


def test_a_refused_row_is_not_asked_again_and_is_no_text(database: sa.Engine) -> None:
    add_problems(database, QUESTIONS[:3])

    def plan(number: int, rows: list[Row]) -> Outcome:
        body = {"choices": [{"index": 0, "message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}]}
        no = json.dumps({"custom_id": rows[0]["custom_id"], "response": {"status_code": 200, "body": body}}).encode()
        return Outcome([no, answered(rows[2])], [refused(rows[1], 400, "maximum context length")])

    with BatchServer(plan) as server:
        report = generate(database, server, n=1)
    assert (report.failures, len(server.batches)) == ({"refused": 1, "too_long": 1}, 1)
    assert samples(database) == {
        ("question 0", 0): "refused",
        ("question 1", 0): "too_long",
        ("question 2", 0): "question 2",
    }


def test_a_batch_over_the_token_limit_is_halved_until_it_is_taken(database: sa.Engine) -> None:
    add_problems(database)

    def plan(number: int, rows: list[Row]) -> Outcome:
        if len(rows) > 3:
            return Outcome(status="failed", reasons=[{"code": "token_limit_exceeded", "message": "too many"}])
        return Outcome([answered(row) for row in rows])

    with BatchServer(plan) as server:
        report = generate(database, server)
    assert (report.status, report.n_stored, report.failures) == ("done", 30, {})
    assert samples(database) == right()
    assert [len(batch.rows) for batch in server.batches if batch.outcome.output] == [2, 2, 2, 2, 2]


def test_a_batch_that_fails_whole_is_handed_over_again_once_then_its_rows_failed(database: sa.Engine) -> None:
    add_problems(database, QUESTIONS[:2])
    reasons = [{"code": "invalid_json_line", "message": "This line is not parseable", "line": 1}]
    with BatchServer(lambda number, rows: Outcome(status="failed", reasons=reasons)) as server:
        report = generate(database, server)
    assert (report.status, report.failures, len(server.batches)) == ("done", {"server_error": 6}, 2)
    assert batches(database) == [("batch_0", "failed", False, 0), ("batch_1", "failed", False, 0)]
    with reading(database) as session:
        errors = set(session.scalars(sa.select(RequestRow.error)))
    assert errors == {"batch batch_1 failed: invalid_json_line: This line is not parseable"}


# ------------------------------------------------------------ a service in trouble


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [(401, f"wrong key {KEY}", "auth"), (429, "insufficient_quota", "quota"), (404, "no files here", "not_found")],
)
def test_a_refusal_ends_the_run_at_once_and_the_next_run_asks(
    status: int, message: str, kind: str, database: sa.Engine
) -> None:
    add_problems(database)
    with BatchServer(fault=lambda method, path, number: Fault(status, message)) as server:
        report = generate(database, server)
        assert (report.status, report.n_stored, report.failures) == ("failed", 0, {kind: 3})
        assert report.message is not None
        assert KEY not in report.message
        assert (server.calls, batches(database)) == (["POST /files"], [])
        server.fault = lambda method, path, number: None
        assert generate(database, server).n_stored == 30
    assert set(server.paid.values()) == {1}


@pytest.mark.parametrize("path", ["/batches", "/batches/batch_0"])
def test_a_key_refused_later_ends_the_run_and_what_is_under_way_is_picked_up(path: str, database: sa.Engine) -> None:
    add_problems(database)

    def fault(method: str, called: str, number: int) -> Fault | None:
        return Fault(401, "revoked") if called == path else None

    with BatchServer(fault=fault) as server:
        assert generate(database, server).message == 'auth: 401: {"error": {"message": "revoked"}}'
        assert [is_open for _, _, is_open, _ in batches(database)] == [path != "/batches"]
        server.fault = lambda method, path, number: None
        assert generate(database, server).n_stored == 30
    assert (len(server.batches), samples(database)) == (1, right())


def test_a_quota_that_runs_out_in_a_row_ends_the_run_and_keeps_what_came(database: sa.Engine) -> None:
    add_problems(database)

    def plan(number: int, rows: list[Row]) -> Outcome:
        if number:
            return Outcome([answered(row) for row in rows])
        return Outcome(
            [answered(row) for row in rows[3:]], [refused(row, 429, "insufficient_quota") for row in rows[:3]]
        )

    with BatchServer(plan) as server:
        report = generate(database, server)
        assert (report.status, report.n_stored) == ("failed", 21)
        assert report.message is not None
        assert report.message.startswith("quota: 429")
        assert generate(database, server).n_stored == 9
    assert samples(database) == right()
    assert [len(batch.rows) for batch in server.batches] == [10, 3]


def test_a_service_that_fails_now_and_then_is_asked_again_without_a_second_batch(database: sa.Engine) -> None:
    add_problems(database)

    def fault(method: str, path: str, number: int) -> Fault | None:
        kinds = (Fault(500), Fault(429), Fault(is_dropped_before=True), Fault(is_dropped_after=True))
        return kinds[number // 2 % 4] if number % 2 == 0 else None

    with BatchServer(fault=fault) as server:
        report = generate(database, server, n_rows=5)
    assert (report.status, report.n_stored, report.failures) == ("done", 30, {})
    assert samples(database) == right()
    assert set(server.paid.values()) == {1}


def test_a_service_that_restarts_finds_its_batches_and_so_do_we(database: sa.Engine) -> None:
    add_problems(database)
    with BatchServer() as server:
        server.is_held = True

        def restart() -> None:
            wait_until(lambda: len(server.batches) == 1)
            server.stop()
            time.sleep(0.5)
            server.is_held = False
            server.start()

        thread = threading.Thread(target=restart)
        thread.start()
        report = generate(database, server)
        thread.join()
    assert (report.status, report.n_stored, len(server.batches)) == ("done", 30, 1)


def test_a_service_that_is_gone_ends_the_run_which_can_be_resumed(database: sa.Engine) -> None:
    add_problems(database)
    server = BatchServer()
    server.start()
    server.is_held = True

    def stop() -> None:
        wait_until(lambda: len(server.batches) == 1)
        time.sleep(0.2)
        server.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    report = generate(database, server, patience_s=0.5)
    thread.join()
    assert (report.status, report.n_stored) == ("failed", 0)
    assert report.message is not None
    assert report.message.startswith("connection: ")
    server.is_held = False
    with server:
        assert generate(database, server).n_stored == 30
    assert len(server.batches) == 1


# ------------------------------------------------------------ the ledger


def test_the_ledger_says_at_each_moment_what_is_under_way(database: sa.Engine) -> None:
    add_problems(database)
    states: list[tuple[str, str, bool, int]] = []
    notes: list[dict[str, str]] = []
    ledger = BatchLedger(database)

    class Watched(BatchServer):
        def handle(self, method: str, target: str, body: bytes, headers: Any) -> tuple[int, bytes]:
            if method == "POST" and target.endswith("/batches"):
                states.extend(("before", *rest) for _, *rest in batches(database))  # type: ignore[misc]
            return super().handle(method, target, body, headers)

    def note(report: Report) -> None:
        for state in batches(database):
            if state not in states:
                states.append(state)
        if ledger.under_way and ledger.under_way not in notes:
            notes.append(dict(ledger.under_way))

    with Watched(n_looks=4) as server, closing(open_engine(server, ledger, first_wait_s=0.2)) as engine:
        generate_solutions(database, engine, n=3, prompt=PLAIN, sampling=Sampling(max_tokens=64), on_progress=note)
    assert states[:3] == [
        ("before", "submitting", True, 30),
        ("batch_0", "in_progress", True, 30),
        ("batch_0", "completed", True, 30),
    ]
    assert batches(database) == [("batch_0", "completed", False, 30)]
    assert notes[0] == {"batch_0": "in_progress 0 of 10 done"}
    assert ledger.under_way == {}


def test_answers_that_were_read_and_not_stored_are_read_again_and_not_paid_again(database: sa.Engine) -> None:
    """A process that dies after it has read a batch and before all of it is stored."""
    add_problems(database)
    requests = [
        Request(question, (Message("user", question),), Sampling(max_tokens=64), (0, 1, 2)) for question in QUESTIONS
    ]
    with BatchServer() as server:
        engine = open_engine(server, BatchLedger(database))
        read = [answer for answer in engine.answer(requests) if answer is not None]
        assert len(read) == 10
        assert batches(database) == [("batch_0", "completed", True, 30)]
        report = generate(database, server)
        assert (report.n_stored, len(server.batches)) == (30, 1)
    assert batches(database) == [("batch_0", "completed", False, 30)]
    assert samples(database) == right()


def test_a_batch_may_be_asked_for_in_parts_and_for_more(database: sa.Engine) -> None:
    """What a batch was asked for is joined to whoever asks now: fewer problems, other runs, and more samples."""
    add_problems(database)
    requests = [
        Request(question, (Message("user", question),), Sampling(max_tokens=64), (0, 1, 2)) for question in QUESTIONS
    ]
    with BatchServer() as server:
        server.is_held = True
        answers = open_engine(server, BatchLedger(database)).answer(requests)
        while not server.batches:
            next(answers)
        answers.close()
        server.is_held = False
        with closing(open_engine(server, BatchLedger(database), n_rows=3)) as engine:
            few = [answer for answer in engine.answer(requests[:4]) if answer is not None]
        assert sorted(request.key for request, _ in few) == QUESTIONS[:4]
        assert (len(server.batches), batches(database)) == (1, [("batch_0", "completed", True, 30)])
        report = generate(database, server, n=4)
    assert (report.n_stored, samples(database)) == (40, right(4))
    assert [row["custom_id"][-4:] for row in server.batches[1].rows] == ["-3-1"] * 10
    assert set(server.paid.values()) == {1}


def test_a_batch_that_the_service_has_forgotten_is_handed_over_anew(database: sa.Engine) -> None:
    add_problems(database)
    with reading(database) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Batch)) == 0
    with BatchServer() as server:
        server.is_held = True
        engine = open_engine(server, BatchLedger(database))
        answers = engine.answer(
            [Request(q, (Message("user", q),), Sampling(max_tokens=64), (0, 1, 2)) for q in QUESTIONS]
        )
        while not server.batches:
            next(answers)
        answers.close()
        server.batches[0].batch_key = "batch_lost"
        server.is_held = False
        report = generate(database, server)
    assert (report.status, report.n_stored, report.failures, len(server.batches)) == ("done", 30, {}, 2)
    assert batches(database) == [("batch_0", "gone", False, 0), ("batch_1", "completed", False, 30)]


@pytest.mark.parametrize("is_made", [True, False])
def test_a_batch_whose_making_got_no_answer_is_looked_for_before_it_is_made_again(
    is_made: bool, database: sa.Engine
) -> None:
    add_problems(database)

    def fault(method: str, path: str, number: int) -> Fault | None:
        is_first = method == "POST" and path == "/batches" and server.calls.count("POST /batches") == 1
        return Fault(is_dropped_before=not is_made, is_dropped_after=is_made) if is_first else None

    with BatchServer(fault=fault) as server:
        report = generate(database, server)
    assert (report.status, report.n_stored) == ("done", 30)
    assert (len(server.batches), server.calls.count("POST /batches")) == ((1, 1) if is_made else (1, 2))
    assert "GET /batches" in server.calls


# ------------------------------------------------------------ processes that die


def wait_until(is_time: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_time():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def command(url: str, server: BatchServer, *options: str) -> "subprocess.Popen[str]":
    words = ["generate", "solutions", "--db", url, "--prompt", "plain", "--engine", "openai-batch", "--model", "m"]
    words += ["--base-url", server.base_url, "--n", "3", "--poll-s", "0.1", "--json", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "STEPMARK_API_KEY": KEY}
    return subprocess.Popen(
        [sys.executable, "-m", "stepmark", *words],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


@pytest.mark.parametrize("moment", ["uploading", "making", "waiting", "reading"])
def test_a_process_killed_at_any_moment_pays_nothing_twice(
    moment: str, database: sa.Engine, database_url: str
) -> None:
    add_problems(database)
    paths = {"uploading": "/files", "making": "/batches", "waiting": "/batches/batch_0"}
    path = paths.get(moment, "/files/file-out-0/content")
    is_slow = True

    def fault(method: str, called: str, number: int) -> Fault | None:
        return Fault(delay_s=3) if called == path and is_slow else None

    with BatchServer(fault=fault, n_looks=1) as server:
        process = command(database_url, server)
        wait_until(lambda: any(call.endswith(f" {path}") for call in server.calls))
        if moment == "making":
            wait_until(lambda: len(server.batches) == 1)
        process.kill()
        process.communicate()
        is_slow = False
        assert [status for _, status, _, _ in batches(database)] == {
            "uploading": [],
            "making": ["submitting"],
            "waiting": ["validating"],
            "reading": ["completed"],
        }[moment]
        report = finish(command(database_url, server))
    assert (report["status"], report["n_stored"], len(server.batches)) == ("done", 30, 1)
    assert samples(database) == right()
    assert batches(database) == [("batch_0", "completed", False, 30)]
    assert set(server.paid.values()) == {1}


def test_a_process_killed_again_and_again_gets_there_and_pays_nothing_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'stepmark.db'}"
    database = open_database(url, create=True)
    add_problems(database)
    dice = random.Random(5)
    with BatchServer(fault=lambda method, path, number: Fault(delay_s=0.05), n_looks=3) as server:
        n_killed = 0
        while n_killed < 4:
            process = command(url, server, "--batch-requests", "3")
            n_calls = len(server.calls) + dice.randrange(1, 6)
            wait_until(lambda p=process, n=n_calls: p.poll() is not None or len(server.calls) >= n)  # type: ignore[misc]
            time.sleep(dice.random() * 0.1)
            if process.poll() is not None:
                break
            process.kill()
            process.communicate()
            n_killed += 1
        finish(command(url, server, "--batch-requests", "3"))
    assert n_killed >= 2
    assert samples(database) == right()
    assert server.paid == Counter(dict.fromkeys(right(), 1))
    assert not any(is_open for _, _, is_open, _ in batches(database))
    database.dispose()


def test_ctrl_c_says_which_batch_goes_on_and_the_same_command_picks_it_up(
    database: sa.Engine, database_url: str
) -> None:
    add_problems(database)
    with BatchServer() as server:
        server.is_held = True
        process = command(database_url, server)
        wait_until(lambda: bool(server.batches) and server.batches[0].n_looks >= 3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert err == (
            "stepmark: batch batch_0 goes on at the service (in_progress 0 of 10 done); "
            "the same command picks its answers up, and hands nothing over twice\n"
            "stepmark: stopped; run the same command again to resume\n"
        )
        assert batches(database) == [("batch_0", "in_progress", True, 30)]
        server.is_held = False
        assert finish(command(database_url, server))["n_stored"] == 30
    assert len(server.batches) == 1
    assert samples(database) == right()
