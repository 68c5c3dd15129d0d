"""Verifying a stream of answers: plain ones in this process, the hard ones in workers that may be killed.

A worker is a fresh Python process spoken to through pipes. It is neither forked (unsafe beside threads, as
under Streamlit) nor spawned by `multiprocessing` (which would run the caller's main script again). A worker
that takes too long is killed and replaced; its item has the result `limit`.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from ..errors import JobError
from .comparison import Comparison
from .policy import decide

Key = TypeVar("Key")

DEFAULT_TIMEOUT_S = 5.0
DEFAULT_MEMORY_MB = 1024
START_TIMEOUT_S = 120.0
"""How long a worker may take to load Math-Verify, on a machine under load."""
PATIENCE_S = 0.25
"""How long a call without any worker waits for one that others hold before it gets one more."""
WINDOW = 1024
"""Most pairs taken in and not yet answered."""
_CACHED_RESULTS = 1 << 14


class _NeedsWorkerError(Exception):
    """Only computer algebra can decide this pair."""


def _refuse_symbolic(found: str, reference: str) -> Comparison:
    raise _NeedsWorkerError


def compare_inline(found: str | None, reference: str) -> Comparison | None:
    """Compares a pair without any worker; None where only Math-Verify can tell.

    >>> compare_inline("3/6", "0.5").result, compare_inline("x+1", "1+x")
    ('correct', None)
    """
    if found is None:
        return Comparison("unparsable", "no_answer")
    try:
        return decide(found, reference, _refuse_symbolic)
    except _NeedsWorkerError:
        return None


@dataclass(slots=True)
class _Item:
    """One pair on its way through `verify`."""

    key: Any
    pair: tuple[str, str]
    comparison: Comparison | None = None
    was_retried: bool = False


@dataclass(slots=True, eq=False)
class _Worker:
    """One worker process and what it is doing."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    deadline: float
    """Monotonic time at which the worker is given up: for getting ready, later for its item."""
    is_ready: bool = False
    n_served: int = 0
    item: _Item | None = None
    received: bytearray = field(default_factory=bytearray)

    @property
    def answers(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def give(self, item: _Item, timeout_s: float) -> None:
        """Hands the worker an item; a worker that is already gone is found out at the next read."""
        assert self.process.stdin is not None
        self.item = item
        self.deadline = time.monotonic() + timeout_s
        try:
            self.process.stdin.write(json.dumps(item.pair).encode("ascii") + b"\n")
        except BrokenPipeError:
            return

    def kill(self) -> None:
        """Ends the process and collects it, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                stream.close()


class AnswerVerifier:
    """Verifies streams of answers; a context manager that ends its workers.

    One verifier may serve several threads at once, each with its own call of `verify`. Workers start when the
    first pair needs one.

    Args:
        workers: Most worker processes; by default one less than the CPUs, at least one.
        timeout_s: Wall-clock seconds for one pair in a worker.
        memory_mb: Address space of a worker, in MiB.

    >>> with AnswerVerifier() as verifier:
    ...     for key, comparison in verifier.verify([("a", "18", "$18"), ("b", None, "18")]):
    ...         print(key, comparison.result, comparison.rule)
    a correct number
    b unparsable no_answer
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        memory_mb: int = DEFAULT_MEMORY_MB,
    ) -> None:
        self.workers = max(1, (os.cpu_count() or 2) - 1) if workers is None else max(1, workers)
        self.timeout_s = timeout_s
        self.memory_mb = memory_mb
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._n_streams = 0
        self._idle: list[_Worker] = []
        self._alive: set[_Worker] = set()
        self._results: OrderedDict[tuple[str, str], Comparison] = OrderedDict()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all workers, busy ones too; may be called twice."""
        with self._lock:
            self._is_closed = True
            alive, self._alive = self._alive, set()
            self._idle.clear()
            self._freed.notify_all()
        for worker in alive:
            worker.kill()

    def verify(self, pairs: Iterable[tuple[Key, str | None, str]]) -> Iterator[tuple[Key, Comparison]]:
        """Compares pairs as they come and yields the results in the same order.

        At most `WINDOW` pairs are held, so `pairs` may be endless. Equal pairs are decided once.

        Args:
            pairs: (key, found answer or None, reference answer); the key is handed back untouched.

        Raises:
            JobError: A worker cannot start, for instance because math-verify is not installed.
        """
        source = iter(pairs)
        is_exhausted = False
        window: deque[_Item] = deque()
        hard: deque[_Item] = deque()
        busy: list[_Worker] = []
        with self._lock:
            self._n_streams += 1
        try:
            while True:
                while not is_exhausted and len(window) < WINDOW and len(hard) <= self.workers:
                    try:
                        key, found, reference = next(source)
                    except StopIteration:
                        is_exhausted = True
                        break
                    comparison = compare_inline(found, reference)
                    if comparison is not None and not window:
                        yield key, comparison
                        continue
                    item = _Item(key, (found or "", reference), comparison)
                    window.append(item)
                    if comparison is None:
                        hard.append(item)
                if not window:
                    return
                self._assign(hard, busy)  # before yielding, so that workers work while the caller does
                while window and window[0].comparison is not None:
                    done = window.popleft()
                    assert done.comparison is not None
                    yield done.key, done.comparison
                if window and busy:
                    self._collect(hard, busy)
        finally:
            with self._lock:
                self._n_streams -= 1
            for worker in busy:
                self._retire(worker)
            self._trim()

    def _assign(self, hard: deque[_Item], busy: list[_Worker]) -> None:
        """Gives waiting items to free workers, and answers those that were decided before."""
        while hard:
            known = self._recall(hard[0].pair)
            if known is not None:
                hard.popleft().comparison = known
                continue
            worker = self._acquire(is_needed=not busy)
            if worker is None:
                return
            item = hard.popleft()
            busy.append(worker)
            if worker.is_ready:
                worker.give(item, self.timeout_s)
            else:
                worker.item = item

    def _collect(self, hard: deque[_Item], busy: list[_Worker]) -> None:
        """Waits until a busy worker answers, ends or runs out of time, and settles its item."""
        timeout_s = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
        poll = select.poll()
        for worker in busy:
            poll.register(worker.answers, select.POLLIN)
        readable = {descriptor for descriptor, _ in poll.poll(timeout_s * 1000 + 1)}
        now = time.monotonic()
        for worker in list(busy):
            if worker.answers.fileno() in readable:
                self._read(worker, hard, busy)
            elif worker.deadline <= now:
                self._settle_loss(worker, "time", hard, busy)

    def _read(self, worker: _Worker, hard: deque[_Item], busy: list[_Worker]) -> None:
        data = os.read(worker.answers.fileno(), 1 << 16)
        if not data:
            self._settle_loss(worker, "worker_ended", hard, busy)
            return
        worker.received += data
        if not worker.received.endswith(b"\n"):
            return
        message = json.loads(bytes(worker.received))
        worker.received.clear()
        item = worker.item
        assert item is not None
        if not worker.is_ready:
            worker.is_ready = True
            worker.give(item, self.timeout_s)
            return
        result, rule, is_last = message
        if rule == "memory":
            self._settle_loss(worker, rule, hard, busy)
            return
        worker.n_served += 1
        worker.item = None
        busy.remove(worker)
        self._settle(item, Comparison(result, rule))
        if is_last:
            self._retire(worker)
        else:
            self._release(worker)

    def _settle_loss(self, worker: _Worker, rule: str, hard: deque[_Item], busy: list[_Worker]) -> None:
        """Settles the item of a worker that is of no more use, and ends the worker."""
        if not worker.is_ready:
            self._fail_to_start(worker)
        busy.remove(worker)
        item = worker.item
        assert item is not None
        if rule == "memory" and worker.n_served > 0 and not item.was_retried:
            # Earlier items may have filled the memory: this one deserves a fresh process before it is judged.
            item.was_retried = True
            hard.appendleft(item)
        else:
            self._settle(item, Comparison("limit", rule))
        self._retire(worker)

    def _settle(self, item: _Item, comparison: Comparison) -> None:
        item.comparison = comparison
        with self._lock:
            self._results[item.pair] = comparison
            if len(self._results) > _CACHED_RESULTS:
                self._results.popitem(last=False)

    def _recall(self, pair: tuple[str, str]) -> Comparison | None:
        with self._lock:
            return self._results.get(pair)

    # Workers

    def _acquire(self, *, is_needed: bool) -> _Worker | None:
        """A free worker or a new one below the limit; None where there is neither and the caller has one.

        Where other calls hold all workers, a call without any waits a moment and then gets one more: two
        streams consumed in turns by one thread would otherwise wait for each other.
        """
        with self._lock:
            if is_needed and not self._idle and len(self._alive) >= self.workers:
                self._freed.wait_for(lambda: self._idle or self._is_closed, PATIENCE_S)
            if self._is_closed:
                raise JobError("the answer verifier is closed; make a new one")
            if self._idle:
                return self._idle.pop()
            if len(self._alive) >= self.workers and not is_needed:
                return None
            worker: _Worker = self._start()
            self._alive.add(worker)
            return worker

    def _release(self, worker: _Worker) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(worker)
                self._freed.notify()
        self._trim()

    def _trim(self) -> None:
        """Ends idle workers above the limit, which grows with the streams that are open at the same time."""
        while True:
            with self._lock:
                if not self._idle or len(self._alive) <= max(self.workers, self._n_streams):
                    return
                worker = self._idle.pop()
            self._retire(worker)

    def _retire(self, worker: _Worker) -> None:
        with self._lock:
            self._alive.discard(worker)
        worker.kill()

    def _start(self) -> _Worker:
        root = str(Path(__file__).resolve().parents[2])
        path = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        # A fixed hash seed makes sympy's order of arguments, and with it every result, repeatable.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONHASHSEED": "0",
            "PYTHONWARNINGS": "ignore",
        }
        errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by kill)
        process = subprocess.Popen(
            # -P: nothing in the caller's current directory may pass for a library.
            [sys.executable, "-P", "-m", "stepmark.answers.worker", str(self.memory_mb), str(self.timeout_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            bufsize=0,
            process_group=0,
        )
        return _Worker(process, errors, deadline=time.monotonic() + START_TIMEOUT_S)

    def _fail_to_start(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.wait()
        worker.errors.seek(0)
        said = worker.errors.read().decode("utf-8", "replace").strip()[-2000:]
        raise JobError(
            f"a worker for answers did not start (exit code {worker.process.returncode}); check that "
            f"math-verify is installed for {sys.executable}. It said: {said or 'nothing'}"
        )
