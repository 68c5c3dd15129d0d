"""Samples solutions of the problems in the database; what was asked before is not asked again.

The run can be killed at any moment: samples are stored at least once a second, and the same call again asks only
for what is missing. Failures are stored as failures, with their kind, and are asked again by the next call.
"""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from db.connect import writing
from db.runs import (
    ProblemSelection,
    ProblemToSolve,
    count_problems,
    find_asked,
    finish_run,
    iterate_problems,
    start_run,
    store_samples,
)
from db.solutions import solution_text_hash
from stepmark.answers import extract_answer
from stepmark.engine import Completion, Engine, Failure, Message, Request, Sample, Sampling, payload_hash
from stepmark.errors import EngineError
from stepmark.prompts import Prompt
from stepmark.steps import split_solution

EVERY_PROBLEM = ProblemSelection()

_STORE_EVERY_S = 1.0
"""Answers wait no longer than this to be stored, nor in larger numbers than `_STORE_SAMPLES`."""
_STORE_SAMPLES = 256
_STORE_SHARE = 0.05
"""Share of the time that storing may take; where it is fast, answers hardly wait at all."""


@dataclass(slots=True)
class Report:
    """What a call did; each sample wanted is counted once, as stored before, stored now, or failed."""

    run_id: int | None = None
    """None of a dry run."""
    status: str = "running"
    """`done`, `stopped` (by Ctrl-C), `failed` (the engine cannot go on), or `dry run`."""
    n_problems: int = 0
    n_wanted: int = 0
    """Samples wanted: n for each problem."""
    n_stored_before: int = 0
    """Samples that an earlier call had stored."""
    n_retried: int = 0
    """Samples that had failed before and were asked again."""
    n_stored: int = 0
    n_truncated: int = 0
    """Of those stored now, samples cut off at the token limit."""
    n_unreadable: int = 0
    """Of those stored now, solutions without a readable answer."""
    failures: Counter[str] = field(default_factory=Counter)
    """Samples that failed, by kind."""
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    cost_usd: float | None = None
    """None while no answer came with a price."""
    elapsed_s: float = 0.0
    message: str | None = None
    """Why the engine cannot go on."""

    @property
    def n_not_asked(self) -> int:
        """Samples that the run had no answer for when it ended."""
        return self.n_wanted - self.n_stored_before - self.n_stored - self.failures.total()


@dataclass(frozen=True, slots=True)
class _Asking:
    """What a request in flight is about."""

    problem: ProblemToSolve
    payload_hash: str


def generate_solutions(
    database: sa.Engine,
    engine: Engine,
    *,
    n: int,
    prompt: Prompt,
    sampling: Sampling,
    selection: ProblemSelection = EVERY_PROBLEM,
    on_progress: Callable[[Report], None] = lambda report: None,
    is_dry_run: bool = False,
) -> Report:
    """Samples until every problem of the selection has `n` solutions from this engine, prompt and sampling.

    Args:
        database: Open, at the current schema.
        engine: What samples; the caller closes it.
        n: Solutions wanted of each problem, those of earlier calls included.
        prompt: Has the place `{problem}`.
        sampling: Temperature, token limit, seed and so on.
        selection: Which problems.
        on_progress: Called with the counts so far, after each answer and while waiting.
        is_dry_run: Only count what would be asked.

    Returns:
        The counts. A run stopped by Ctrl-C, or by an engine that cannot go on, is reported as such and not raised;
        the same call again resumes it.
    """
    report = Report(n_problems=count_problems(database, selection))
    report.n_wanted = n * report.n_problems
    run = _Run(database, engine, n, prompt, sampling, selection, report)
    if is_dry_run:
        for _ in run.requests():
            pass
        report.status = "dry run"
        return report
    record = run.record()
    report.run_id = run.run_id = start_run(
        database,
        hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32],
        kind="solutions",
        engine_name=engine.identity.engine,
        model=engine.identity.model,
        record=record,
    )
    try:
        run.go(on_progress)
    except KeyboardInterrupt:
        report.status = "stopped"
    except EngineError as err:
        report.status, report.message = "failed", str(err)
    except BaseException:
        finish_run(database, report.run_id, "failed")
        raise
    finish_run(database, report.run_id, report.status)
    on_progress(report)
    return report


class _Run:
    """One call: asks what is missing, and stores what comes, on the thread that calls."""

    def __init__(
        self,
        database: sa.Engine,
        engine: Engine,
        n: int,
        prompt: Prompt,
        sampling: Sampling,
        selection: ProblemSelection,
        report: Report,
    ) -> None:
        self.run_id = 0
        self._database = database
        self._engine = engine
        self._n = n
        self._prompt = prompt
        self._sampling = sampling
        self._selection = selection
        self._report = report
        self._in_flight: dict[str, _Asking] = {}
        self._unstored: list[tuple[dict[str, Any], dict[str, Any] | None]] = []
        self._started_at = time.monotonic()
        self._store_at = 0.0

    def record(self) -> dict[str, Any]:
        """Everything needed to repeat the run."""
        return {
            "engine": asdict(self._engine.identity),
            "prompt": {"name": self._prompt.name, "text": self._prompt.text, "hash": self._prompt.text_hash},
            "sampling": asdict(self._sampling),
            "selection": asdict(self._selection),
            "n": self._n,
        }

    def go(self, on_progress: Callable[[Report], None]) -> None:
        """Asks and stores until nothing is missing.

        Raises:
            EngineError: The engine said that no further request can succeed.
        """
        try:
            with closing(self._engine.answer(self.requests())) as answers:
                for answer in answers:
                    failure = None if answer is None else self._take(*answer)
                    if len(self._unstored) >= _STORE_SAMPLES or time.monotonic() >= self._store_at:
                        self._store()
                    self._report.elapsed_s = time.monotonic() - self._started_at
                    on_progress(self._report)
                    if failure is not None:
                        raise EngineError(f"{failure.kind}: {failure.message}")
        finally:
            self._store()
        self._report.status = "done"

    def requests(self) -> Iterator[Request]:
        """Yields, problem by problem, a request for the samples that are not stored yet."""
        identity = self._engine.identity
        for chunk in iterate_problems(self._database, self._selection):
            asking = []
            for problem in chunk:
                messages = (Message("user", self._prompt.fill({"problem": problem.statement})),)
                asking.append((problem, messages, payload_hash(identity, messages, self._sampling)))
            asked_before = find_asked(self._database, [payload for _, _, payload in asking])
            for problem, messages, payload in asking:
                before = asked_before.get(payload)
                done = before.done if before else frozenset()
                missing = tuple(index for index in range(self._n) if index not in done)
                self._report.n_stored_before += self._n - len(missing)
                if not missing:
                    continue
                self._report.n_retried += len(before.failed.intersection(missing)) if before else 0
                self._in_flight[payload] = _Asking(problem, payload)
                yield Request(payload, messages, self._sampling, missing)

    def _take(self, request: Request, completion: Completion) -> Failure | None:
        """Makes rows of an answer and counts them; returns a failure after which the run cannot go on."""
        report = self._report
        report.n_prompt_tokens += completion.n_prompt_tokens or 0
        report.n_completion_tokens += completion.n_completion_tokens or 0
        if completion.cost_usd is not None:
            report.cost_usd = (report.cost_usd or 0.0) + completion.cost_usd
        asking = self._in_flight.pop(request.key)
        fatal = None
        samples = (_storable(sample) for sample in completion.samples)
        for sample_index, sample in zip(request.sample_indices, samples, strict=True):
            row = self._request_row(asking, sample_index, sample, completion)
            if isinstance(sample, Failure):
                report.failures[sample.kind] += 1
                self._unstored.append((row, None))
                fatal = sample if sample.is_fatal else fatal
                continue
            solution = self._solution_row(asking, sample)
            report.n_stored += 1
            report.n_truncated += sample.finish_reason == "length"
            report.n_unreadable += solution["answer"] is None
            self._unstored.append((row, solution))
        return fatal

    def _request_row(
        self, asking: _Asking, sample_index: int, sample: Sample | Failure, completion: Completion
    ) -> dict[str, Any]:
        # A row of either kind names every column: they are stored by one statement.
        row: dict[str, Any] = {
            "run_id": self.run_id,
            "problem_id": asking.problem.problem_id,
            "payload_hash": asking.payload_hash,
            "sample_index": sample_index,
            "n_prompt_tokens": completion.n_prompt_tokens,
            "latency_ms": completion.latency_ms,
            **dict.fromkeys(("response", "reasoning", "finish_reason", "n_completion_tokens", "error_kind", "error")),
        }
        if isinstance(sample, Failure):
            return row | {"status": "failed", "error_kind": sample.kind, "error": sample.message}
        return row | {
            "status": "done",
            "response": sample.text,
            "reasoning": sample.reasoning,
            "finish_reason": sample.finish_reason,
            "n_completion_tokens": sample.n_tokens,
        }

    def _solution_row(self, asking: _Asking, sample: Sample) -> dict[str, Any]:
        split = split_solution(sample.text)
        return {
            "problem_id": asking.problem.problem_id,
            "run_id": self.run_id,
            "generator": self._engine.identity.model,
            "text": sample.text,
            "text_hash": solution_text_hash(asking.problem.statement_hash, sample.text),
            "steps": list(split.steps),
            "answer": split.answer or extract_answer(sample.text).answer,
            "extra": {"is_truncated": True} if sample.finish_reason == "length" else None,
        }

    def _store(self) -> None:
        started_at = time.monotonic()
        if self._unstored:
            with writing(self._database) as session:
                store_samples(session, [row for row, _ in self._unstored], [row for _, row in self._unstored])
            self._unstored.clear()
        ended_at = time.monotonic()
        self._store_at = ended_at + min(_STORE_EVERY_S, (ended_at - started_at) / _STORE_SHARE)


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _storable(sample: Sample | Failure) -> Sample | Failure:
    """Puts U+FFFD for the characters that no database stores as text: NUL and lone surrogates."""
    if isinstance(sample, Failure):
        return replace(sample, message=_UNSTORABLE.sub("\ufffd", sample.message))
    reasoning = None if sample.reasoning is None else _UNSTORABLE.sub("\ufffd", sample.reasoning)
    return replace(sample, text=_UNSTORABLE.sub("\ufffd", sample.text), reasoning=reasoning)
