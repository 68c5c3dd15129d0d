"""The workers: order, limits that really kill, replacement, threads, no process left behind."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stepmark.answers import AnswerVerifier, Comparison
from stepmark.answers.pool import WINDOW
from stepmark.errors import JobError

_ROOT = Path(__file__).resolve().parents[2]

# Within the size limits and out of reach for sympy.
STUCK = r"\prod_{k=1}^{9999} (x+k)^{999}"
STUCK_REFERENCE = r"\sum_{k=1}^{9999} x^{k}"


def _children() -> set[int]:
    """Direct ones, as workers are: a database server of other tests starts and ends its own when it likes."""
    return {child.pid for child in psutil.Process().children()}


def _workers(verifier: AnswerVerifier) -> set[int]:
    return {worker.process.pid for worker in verifier._alive}


@pytest.fixture(autouse=True)
def _leaves_no_process() -> Iterator[None]:
    before = _children()
    yield
    assert _children() <= before


def test_results_come_in_the_order_of_the_pairs_with_their_keys() -> None:
    pairs = [
        ("a", "x+1", "1+x"),
        ("b", "18", "$18"),
        ("c", None, "18"),
        ("d", "2y", "y"),
        ("e", "19", "18"),
        ("f", "x+1", "1+x"),
    ]
    with AnswerVerifier(workers=2, timeout_s=60) as verifier:
        results = [(key, comparison.result) for key, comparison in verifier.verify(pairs)]
    assert results == [
        ("a", "correct"),
        ("b", "correct"),
        ("c", "unparsable"),
        ("d", "incorrect"),
        ("e", "incorrect"),
        ("f", "correct"),
    ]


def test_plain_answers_start_no_worker_and_an_endless_stream_is_fine() -> None:
    before = _children()
    taken = 0

    def endless() -> Iterator[tuple[int, str, str]]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield number, str(number), f"{number:,}"

    with AnswerVerifier() as verifier:
        first = list(itertools.islice(verifier.verify(endless()), 5000))
        assert first == [(number, Comparison("correct", first[number][1].rule)) for number in range(5000)]
        assert _children() == before
    assert taken <= 5000 + WINDOW


def test_a_stuck_worker_is_killed_in_time_and_replaced() -> None:
    pairs = [("stuck", STUCK, STUCK_REFERENCE), ("after", "x+1", "1+x"), ("plain", "5", "5")]
    with AnswerVerifier(workers=1, timeout_s=60) as warm:
        list(warm.verify(pairs[1:2]))  # load time is not what is measured
        warm.timeout_s = 1.0
        (stuck_worker,) = _workers(warm)
        started = time.monotonic()
        first = next(warm.verify(pairs))
        took_s = time.monotonic() - started
        assert first == ("stuck", Comparison("limit", "time"))
        assert took_s < 10
        assert not psutil.pid_exists(stuck_worker)
        warm.timeout_s = 60
        assert list(warm.verify(pairs)) == [
            ("stuck", Comparison("limit", "time")),
            ("after", Comparison("correct", "math_verify")),
            ("plain", Comparison("correct", "same_text")),
        ]


def test_an_item_that_fills_the_memory_is_a_limit_and_not_a_wrong_answer() -> None:
    """Math-Verify swallows the MemoryError of this expansion (1.4 million terms) and answers `False`."""
    with AnswerVerifier(workers=1, timeout_s=200, memory_mb=160) as verifier:
        pairs = [(0, "x+1", "1+x"), (1, "(a+b+c+d)^{200}", "a+x"), (2, "x+2", "2+x")]
        results = list(verifier.verify(pairs))
    assert results == [
        (0, Comparison("correct", "math_verify")),
        (1, Comparison("limit", "memory")),
        (2, Comparison("correct", "math_verify")),
    ]


def test_what_the_caller_holds_in_memory_is_not_counted_against_its_workers(tmp_path: Path) -> None:
    """A process that starts another by vfork hands it its own `ru_maxrss`: a trainer holds gigabytes."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            from stepmark.answers import AnswerVerifier
            held = b"x" * (512 << 20)
            with AnswerVerifier(workers=1, timeout_s=100, memory_mb=400) as verifier:
                for key, comparison in verifier.verify([(0, "2y", "y"), (1, "x+1", "1+x")]):
                    print(key, comparison.result, len(verifier._alive))
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, env=environment, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == ["0 incorrect 1", "1 correct 1"]


def test_a_worker_killed_from_outside_costs_its_item_and_nothing_else() -> None:
    with AnswerVerifier(workers=1, timeout_s=60) as verifier:
        list(verifier.verify([(0, "x+1", "1+x")]))
        (worker,) = _workers(verifier)
        os.kill(worker, signal.SIGKILL)
        results = list(verifier.verify([(1, "x+2", "2+x"), (2, "x+3", "3+x")]))
    assert results == [(1, Comparison("limit", "worker_ended")), (2, Comparison("correct", "math_verify"))]


def test_several_threads_share_one_verifier() -> None:
    results: dict[int, list[str]] = {}

    def verify(thread: int) -> None:
        pairs = [(number, f"x+{thread}+{number}", f"{thread + number}+x") for number in range(20)]
        results[thread] = [comparison.result for _, comparison in verifier.verify(pairs)]

    with AnswerVerifier(workers=2, timeout_s=60) as verifier:
        threads = [threading.Thread(target=verify, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {thread: ["correct"] * 20 for thread in range(4)}


def test_two_streams_read_in_turns_by_one_thread_do_not_wait_for_each_other() -> None:
    with AnswerVerifier(workers=1, timeout_s=60) as verifier:
        streams = [
            verifier.verify([(number, f"x+{name}+{number}", f"{name + number}+x") for number in range(5)])
            for name in (10, 20)
        ]
        turns = list(zip(*streams, strict=True))
    assert [[comparison.result for _, comparison in turn] for turn in turns] == [["correct", "correct"]] * 5


def test_an_abandoned_stream_ends_its_busy_workers() -> None:
    before = _children()
    with AnswerVerifier(workers=1, timeout_s=60) as verifier:
        stream = verifier.verify([(0, "5", "5"), (1, "x+1", "1+x"), (2, STUCK, STUCK_REFERENCE), (3, "x", "y+1")])
        assert [next(stream)[0], next(stream)[0]] == [0, 1]
        stream.close()
        assert _children() == before
        assert list(verifier.verify([(4, "x+4", "4+x")])) == [(4, Comparison("correct", "math_verify"))]


def test_a_closed_verifier_says_so() -> None:
    verifier = AnswerVerifier()
    verifier.close()
    verifier.close()
    assert list(verifier.verify([(0, "5", "5")])) == [(0, Comparison("correct", "same_text"))]
    with pytest.raises(JobError, match="the answer verifier is closed"):
        list(verifier.verify([(0, "x+1", "1+x")]))


def test_a_worker_that_cannot_start_is_a_job_error_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('math_verify is broken here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with AnswerVerifier() as verifier, pytest.raises(JobError, match="math_verify is broken here"):
        list(verifier.verify([(0, "x+1", "1+x")]))


def test_ctrl_c_ends_the_program_and_its_workers(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            from stepmark.answers import AnswerVerifier
            with AnswerVerifier(workers=1, timeout_s=100) as verifier:
                list(verifier.verify([(0, "x+1", "1+x")]))
                print(*[worker.process.pid for worker in verifier._alive], flush=True)
                list(verifier.verify([(1, {STUCK!r}, {STUCK_REFERENCE!r})]))
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        text=True,
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    time.sleep(0.5)
    assert psutil.pid_exists(worker)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert not psutil.pid_exists(worker)
