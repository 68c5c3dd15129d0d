"""Works through the items of a task: asks a model what each needs to know, and stores what it says as it comes.

A task says what its items are (problems, solutions, pairs), and for each how to go about it: `Task.work` is a
Python generator that yields questions, is sent their answers, may ask further ones that depend on them, and returns
a result. Here is all the rest, for every task alike: looking up what was asked before, keeping the engine busy,
storing at least once a second, truncated and failed samples, budgets, counts, and ending so that nothing is lost.

A run can be killed at any moment. The same call again works the open items out anew, with stored answers in the
place of questions, so that only what is missing is asked.
"""

import gc
import hashlib
import json
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.connect import writing
from db.locks import holding_run
from db.runs import (
    Usage,
    add_usage,
    find_asked,
    find_run,
    finish_run,
    recall,
    start_run,
    store_requests,
    usage_of,
    usage_of_runs,
)
from stepmark.engine import Completion, Engine, Failure, Message, Request, Sample, Sampling, payload_hash
from stepmark.errors import EngineError, LimitReached

from .budget import NO_LIMITS, Limits, Meter

_STORE_EVERY_S = 1.0
"""Answers wait no longer than this to be stored, nor in larger numbers than `_STORE_SAMPLES`."""
_STORE_SAMPLES = 256
_STORE_SHARE = 0.05
"""Share of the time that storing may take; where it is fast, answers hardly wait at all."""
_COLLECT_AFTER = 20_000
"""Objects made and not freed before Python looks for cyclic garbage."""


@dataclass(frozen=True, slots=True)
class Question:
    """Samples wanted of one conversation."""

    messages: tuple[Message, ...]
    sampling: Sampling
    n: int = 1
    problem_id: int | None = None
    """The problem that it is about, where there is one; stored beside the answers."""


@dataclass(slots=True)
class Answer:
    """One sample that was asked for, or why there is none."""

    sample: Sample | Failure
    sample_index: int
    """0-based among the samples of its question."""
    payload_hash: str
    request_id: int | None = None
    """Its row of `requests`: set when it is stored, before `Task.store` is called; None for a failure, and where
    another process stored the same sample first."""

    @property
    def text(self) -> str | None:
        """The sampled text; None of a failure."""
        return self.sample.text if isinstance(self.sample, Sample) else None


@dataclass(frozen=True, slots=True)
class Dropped:
    """An item that comes to nothing."""

    reason: str
    """Short and stable: it is counted by."""
    is_for_now: bool = False
    """Whether a later run may do better (an answer failed), as against a refusal that stands."""


Item = TypeVar("Item")
Result = TypeVar("Result")
Answers: TypeAlias = tuple[Answer, ...]
"""The answers to one question, in the order of their sample indices."""
Script: TypeAlias = Generator[Sequence[Question], Sequence[Answers], Result | Dropped]
"""How one item is worked out: yields questions, is sent as many answers, returns what came of it. It must ask the
same questions when it is sent the same answers: so a run is resumed."""


class Task(Protocol[Item, Result]):
    """One kind of data to be made."""

    @property
    def kind(self) -> str:
        """One of `db.models.RUN_KINDS`."""
        ...

    @property
    def unit(self) -> str:
        """What its items are, in the plural: `problems`."""
        ...

    @property
    def product(self) -> type[Any] | None:
        """The table that gets a row, by `request_id`, for each sample that an item asks for, where the task is so
        simple; its stored items are then passed over without reading a text. None: `items` leaves them out.
        """
        ...

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it beside the engine: prompts, sampling, selection, numbers."""
        ...

    def count(self, database: sa.Engine, run_id: int | None) -> int:
        """How many items `items` will yield."""
        ...

    def items(self, database: sa.Engine, run_id: int | None) -> Iterator[Sequence[Item]]:
        """Yields the items chunk by chunk, so that many need no memory; no transaction stays open between two.

        Args:
            database: The database.
            run_id: Of this run, for tasks that leave out what it has finished; None where it was never started.
        """
        ...

    def work(self, item: Item) -> Script[Result]:
        """Works one item out."""
        ...

    def store(self, session: Session, run_id: int, results: Sequence[Result]) -> Mapping[str, int]:
        """Stores results in the caller's transaction, each once however often it comes; returns counts to report."""
        ...


@dataclass(slots=True)
class Report:
    """What a call did."""

    kind: str
    unit: str
    run_id: int | None = None
    """None of a dry run of what was never begun."""
    status: str = "running"
    """`done`, `stopped` (by Ctrl-C), `budget` (a limit is reached), `failed` (the engine cannot go on), `dry run`;
    of a mix also `not begun`."""
    n_items: int = 0
    n_items_before: int = 0
    """Items of which an earlier call had stored everything."""
    n_items_done: int = 0
    """Items that this call finished."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Items that came to nothing, by reason."""
    counts: Counter[str] = field(default_factory=Counter)
    """What was stored, as the task counts it."""
    n_wanted: int = 0
    """Samples that the items have asked for so far; each is counted once below, or not asked yet."""
    n_stored_before: int = 0
    """Samples that an earlier call had stored."""
    n_retried: int = 0
    """Samples that had failed before and were asked again."""
    n_stored: int = 0
    n_truncated: int = 0
    """Of those stored now, samples cut off at the token limit."""
    failures: Counter[str] = field(default_factory=Counter)
    """Samples that failed, by kind."""
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    cost_usd: float | None = None
    """None while no answer came with a price."""
    n_unpriced: int = 0
    """Answers of unknown price; the cost is then a lower bound."""
    estimate: "Estimate | None" = None
    """Of a dry run."""
    elapsed_s: float = 0.0
    message: str | None = None
    """Why the run ended before it was done."""

    @property
    def n_not_asked(self) -> int:
        """Samples wanted that the run had no answer for when it ended."""
        return self.n_wanted - self.n_stored_before - self.n_stored - self.failures.total()

    @property
    def n_items_over(self) -> int:
        """Items that need no more work, by this call or an earlier one."""
        return self.n_items_before + self.n_items_done + self.dropped.total()

    @property
    def is_in_vain(self) -> bool:
        """Whether nothing came but failures."""
        return bool(self.failures) and not self.n_stored


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would ask, as far as that is known before the first answer."""

    n_requests: int
    n_samples: int
    n_prompt_tokens: int
    """About: from the prompts' lengths."""
    n_completion_tokens_at_most: int
    """Every sample as long as its limit."""
    n_completion_tokens_likely: int | None
    """Every sample as long as those of earlier runs of this kind with this model; None where there are none."""
    cost_usd_at_most: float | None
    """None where the price is unknown."""
    cost_usd_likely: float | None


def run_record(engine: Engine, task: Task[Any, Any]) -> dict[str, Any]:
    """All that is needed to repeat a run."""
    return {"engine": asdict(engine.identity), **task.record()}


def run_key(engine: Engine, task: Task[Any, Any]) -> str:
    """What the run of a task by an engine is found again by."""
    return hashlib.sha256(json.dumps([task.kind, run_record(engine, task)], sort_keys=True).encode()).hexdigest()[:32]


def run_task(
    database: sa.Engine,
    engine: Engine,
    task: Task[Item, Result],
    *,
    limits: Limits = NO_LIMITS,
    sharing: Collection[str] = (),
    redo_truncated: int | None = None,
    on_progress: Callable[[Report], None] = lambda report: None,
    is_dry_run: bool = False,
    round_id: int | None = None,
) -> Report:
    """Works through all items of a task.

    Args:
        database: Open, at the current schema.
        engine: What samples; the caller closes it.
        task: What to make.
        limits: Prices and budgets; a budget holds for the whole run, earlier calls included.
        sharing: Keys of other runs that the budgets hold for, all together; none of them is under way.
        redo_truncated: Samples that reach their token limit are asked again with this larger one; those that an
            earlier call stored too.
        on_progress: Called with the counts so far, at the start, after each answer and while waiting.
        is_dry_run: Only find out what would be asked; of questions that depend on answers, none are known yet.
        round_id: The round of a loop that asks; a run that was begun before stays the round's that began it.

    Returns:
        The counts. A run stopped by Ctrl-C, by a budget, or by an engine that cannot go on is reported as such and
        not raised; the same call again resumes it.

    Raises:
        UserError: Another process is at this run.
    """
    key = run_key(engine, task)
    run_id = find_run(database, key)
    # Counted before a new run is written down, too: what cannot be selected begins none.
    report = Report(task.kind, task.unit, run_id, n_items=task.count(database, run_id))
    if is_dry_run:
        job = _Job(database, engine, task, report, Meter(limits.prices), redo_truncated, run_id)
        report.estimate = job.estimate()
        report.status = "dry run"
        return report
    with holding_run(database, key):
        is_new = run_id is None
        run_id = report.run_id = start_run(
            database,
            key,
            kind=task.kind,
            engine_name=engine.identity.engine,
            model=engine.identity.model,
            record=run_record(engine, task),
            round_id=round_id,
        )
        if is_new:
            report.n_items = task.count(database, run_id)
        meter = Meter(limits)
        meter.start_from(usage_of(database, {key, *sharing}))
        job = _Job(database, engine, task, report, meter, redo_truncated, run_id)
        on_progress(report)
        try:
            with _seldom_collecting():
                job.go(on_progress)
        except KeyboardInterrupt:
            report.status = "stopped"
        except LimitReached as err:
            # A disk or a memory that is full is no budget: a larger one would not help.
            report.status, report.message = ("budget" if job.is_out_of_budget else "failed"), str(err)
        except EngineError as err:
            report.status, report.message = "failed", str(err)
        except BaseException:
            finish_run(database, run_id, "failed")
            raise
        finish_run(database, run_id, "stopped" if report.status == "budget" else report.status)
        on_progress(report)
    return report


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Has Python look for cyclic garbage more seldom, which is a matter of the whole process.

    With hundreds of calls in flight, a quarter of the time of a run goes into looking through what belongs to them
    otherwise, again and again: Python looks once 700 objects more have been made than freed.
    """
    first, *others = gc.get_threshold()
    gc.set_threshold(max(first, _COLLECT_AFTER) if first else 0, *others)
    try:
        yield
    finally:
        gc.set_threshold(first, *others)


@dataclass(slots=True)
class _Open:
    """An item under way."""

    script: Script[Any]
    asks: list["_Ask"] = field(default_factory=list)
    """The questions of its present round."""
    is_new: bool = True
    """Whether this is its first round."""


@dataclass(slots=True)
class _Ask:
    """A question on its way to all its answers."""

    opened: _Open
    question: Question
    payload_hash: str
    answers: dict[int, Answer] = field(default_factory=dict)
    """By sample index."""
    redone: "_Ask | None" = None
    """Samples asked again with a larger token limit, in the same numbering."""
    wanted: tuple[int, ...] = ()

    @property
    def missing(self) -> tuple[int, ...]:
        return tuple(index for index in self.wanted if index not in self.answers)


class _Job:
    """One call; everything happens on the thread that calls."""

    def __init__(
        self,
        database: sa.Engine,
        engine: Engine,
        task: Task[Any, Any],
        report: Report,
        meter: Meter,
        redo_truncated: int | None,
        run_id: int | None,
    ) -> None:
        self._database = database
        self._engine = engine
        self._task = task
        self._report = report
        self._meter = meter
        self._redo_truncated = redo_truncated
        self._run_id = run_id
        self._pending: deque[_Ask] = deque()
        """Questions that nobody has looked up yet."""
        self._ready: deque[_Ask] = deque()
        """Questions to be put to the engine."""
        self._asked: dict[str, _Ask] = {}
        """Questions in flight, by payload."""
        self._parked: dict[str, list[_Ask]] = defaultdict(list)
        """Questions of other items with the payload of one in flight: they wait for its answer."""
        self._unstored: list[tuple[dict[str, Any], Answer]] = []
        self._results: list[Any] = []
        self._usage = Usage()
        """Used since the last storing."""
        self._out_of_budget: str | None = None
        self._started_at = time.monotonic()
        self._store_at = 0.0

    def go(self, on_progress: Callable[[Report], None]) -> None:
        """Asks and stores until every item is over.

        Raises:
            EngineError: The engine said that no further request can succeed.
            LimitReached: The next question could exceed a budget.
        """
        try:
            with closing(self._engine.answer(self._requests())) as answers:
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
        if self._out_of_budget is not None:
            raise LimitReached(self._out_of_budget)
        self._report.status = "done"

    @property
    def is_out_of_budget(self) -> bool:
        """Whether the next question could exceed a budget."""
        return self._out_of_budget is not None

    def estimate(self) -> Estimate:
        """Counts what would be asked, without asking."""
        n_requests = n_samples = n_prompt = n_most = 0
        for request in self._requests():
            assert request is not None, "nothing is in flight"
            del self._asked[request.key]
            n_requests += 1
            n_samples += len(request.sample_indices)
            prompt, completion = self._meter.most_tokens(request)
            n_prompt += prompt
            n_most += completion
        past = usage_of_runs(self._database, kind=self._task.kind, model=self._engine.identity.model)
        n_likely = round(n_samples * past.n_completion_tokens / past.n_samples) if past.n_samples else None
        return Estimate(
            n_requests,
            n_samples,
            n_prompt,
            n_most,
            n_likely,
            self._meter.price(n_prompt, n_most),
            None if n_likely is None else self._meter.price(n_prompt, n_likely),
        )

    # ------------------------------------------------------------ from items to requests

    def _requests(self) -> Iterator[Request | None]:
        """Yields what the engine is to be asked; None while only answers can bring further questions.

        Follow-up questions come before new items, so that few items are open at a time.
        """
        chunks = iter(self._task.items(self._database, self._run_id))
        while True:
            while self._ready:
                ask = self._ready[0]
                request = Request(ask.payload_hash, ask.question.messages, ask.question.sampling, ask.missing)
                self._out_of_budget = self._meter.refusal(request)
                if self._out_of_budget is not None:
                    if not self._asked:
                        return
                    yield None
                    continue
                self._ready.popleft()
                self._meter.reserve(request)
                self._asked[ask.payload_hash] = ask
                yield request
            if self._pending:
                self._look_up()
            elif (chunk := next(chunks, None)) is not None:
                for item in chunk:
                    self._advance(_Open(self._task.work(item)), None)
            elif self._asked:
                yield None
            else:
                return

    def _look_up(self) -> None:
        """Fills pending questions with the answers that are stored, and makes ready those that lack some."""
        pending = list(self._pending)
        self._pending.clear()
        pending = self._pass_over_stored_items(pending)
        asked_now = []
        for ask in pending:
            if ask.payload_hash in self._asked:
                self._parked[ask.payload_hash].append(ask)
            else:
                asked_now.append(ask)
        stored = recall(self._database, {ask.payload_hash for ask in asked_now})
        new: dict[str, _Ask] = {}
        for ask in asked_now:
            known = stored.get(ask.payload_hash)
            if known is not None:
                for index in ask.missing:
                    if (found := known.done.get(index)) is not None:
                        sample = Sample(
                            found.response, found.finish_reason or "stop", found.n_completion_tokens, found.reasoning
                        )
                        ask.answers[index] = Answer(sample, index, ask.payload_hash, found.request_id)
                        self._report.n_stored_before += 1
            if not ask.missing:
                self._complete(ask)
            elif ask.payload_hash in new:
                self._parked[ask.payload_hash].append(ask)
            else:
                self._report.n_retried += 0 if known is None else len(known.failed.intersection(ask.missing))
                new[ask.payload_hash] = ask
        self._ready.extend(new.values())

    def _pass_over_stored_items(self, pending: list[_Ask]) -> list[_Ask]:
        """Closes new items of which every sample has become a row of the task's product already."""
        product = self._task.product
        if product is None or self._redo_truncated is not None:
            return pending
        new = [ask for ask in pending if ask.opened.is_new]
        there = find_asked(self._database, {ask.payload_hash for ask in new}, product)
        left = [ask for ask in pending if not ask.opened.is_new]
        for ask in new:
            ask.opened.is_new = False
        for ask in new:
            if all(there.get(one.payload_hash, frozenset()).issuperset(one.wanted) for one in ask.opened.asks):
                self._report.n_stored_before += len(ask.wanted)
                if ask is ask.opened.asks[0]:
                    self._report.n_items_before += 1
                    ask.opened.script.close()
            else:
                left.append(ask)
        return left

    # ------------------------------------------------------------ from answers to results

    def _take(self, request: Request, completion: Completion) -> Failure | None:
        """Joins an answer to its question; returns a failure after which the run cannot go on."""
        ask = self._asked.pop(request.key)
        self._meter.settle(request, completion)
        self._count(completion)
        fatal = None
        for index, sample in zip(request.sample_indices, completion.samples, strict=True):
            answer = Answer(_storable(sample), index, ask.payload_hash)
            ask.answers[index] = answer
            self._unstored.append((self._request_row(ask, answer, completion), answer))
            if isinstance(sample, Failure):
                self._report.failures[sample.kind] += 1
                fatal = sample if sample.is_fatal else fatal
            else:
                self._report.n_stored += 1
                self._report.n_truncated += sample.finish_reason == "length"
        if fatal is None:
            self._complete(ask)
        if parked := self._parked.pop(ask.payload_hash, None):
            self._store()  # so that they find the answers stored
            self._pending.extend(parked)
        return fatal

    def _complete(self, ask: _Ask) -> None:
        """Hands a question's answers to its item, once those of all its questions are there."""
        limit = self._redo_truncated
        if ask.redone is None and limit is not None and ask.question.sampling.max_tokens < limit:
            truncated = tuple(index for index, answer in ask.answers.items() if _is_truncated(answer))
            if truncated:
                sampling = replace(ask.question.sampling, max_tokens=limit)
                question = replace(ask.question, sampling=sampling)
                ask.redone = self._ask(ask.opened, question, truncated)
                return
        opened = ask.opened
        if all(_is_answered(one) for one in opened.asks):
            self._advance(opened, [_answers(one) for one in opened.asks])

    def _advance(self, opened: _Open, answers: Sequence[Answers] | None) -> None:
        try:
            questions = next(opened.script) if answers is None else opened.script.send(answers)
            while not questions:
                questions = opened.script.send([])
        except StopIteration as end:
            if isinstance(end.value, Dropped):
                self._report.dropped[end.value.reason] += 1
            else:
                self._report.n_items_done += 1
                self._results.append(end.value)
            return
        opened.is_new = answers is None
        opened.asks = []
        for question in questions:
            opened.asks.append(self._ask(opened, question, tuple(range(question.n))))

    def _ask(self, opened: _Open, question: Question, wanted: tuple[int, ...]) -> _Ask:
        payload = payload_hash(self._engine.identity, question.messages, question.sampling)
        ask = _Ask(opened, question, payload, wanted=wanted)
        self._pending.append(ask)
        self._report.n_wanted += len(wanted)
        return ask

    # ------------------------------------------------------------ storing

    def _request_row(self, ask: _Ask, answer: Answer, completion: Completion) -> dict[str, Any]:
        # A row of either kind names every column: they are stored by one statement.
        sample = answer.sample
        row: dict[str, Any] = {
            "run_id": self._run_id,
            "problem_id": ask.question.problem_id,
            "payload_hash": ask.payload_hash,
            "sample_index": answer.sample_index,
            "n_prompt_tokens": completion.n_prompt_tokens,
            "latency_ms": completion.latency_ms,
            **dict.fromkeys(
                ("response", "reasoning", "finish_reason", "n_completion_tokens", "cost_usd", "error_kind", "error")
            ),
        }
        if isinstance(sample, Failure):
            return row | {"status": "failed", "error_kind": sample.kind, "error": sample.message}
        n_samples = sum(isinstance(one, Sample) for one in completion.samples)
        cost = self._meter.cost(completion)
        return row | {
            "status": "done",
            "response": sample.text,
            "reasoning": sample.reasoning,
            "finish_reason": sample.finish_reason,
            "n_completion_tokens": sample.n_tokens,
            "cost_usd": None if cost is None else cost / n_samples,
        }

    def _count(self, completion: Completion) -> None:
        cost = self._meter.cost(completion)
        n_samples = sum(isinstance(sample, Sample) for sample in completion.samples)
        used = Usage(
            n_prompt_tokens=completion.n_prompt_tokens or 0,
            n_completion_tokens=completion.n_completion_tokens or 0,
            cost_usd=cost or 0.0,
            n_unpriced=int(cost is None and n_samples > 0),
            n_samples=n_samples,
        )
        self._usage += used
        report = self._report
        report.n_prompt_tokens += used.n_prompt_tokens
        report.n_completion_tokens += used.n_completion_tokens
        report.n_unpriced += used.n_unpriced
        if cost is not None:
            report.cost_usd = (report.cost_usd or 0.0) + cost

    def _store(self) -> None:
        assert self._run_id is not None, "a dry run stores nothing"
        started_at = time.monotonic()
        if self._unstored or self._results:
            with writing(self._database) as session:
                ids = store_requests(session, [row for row, _ in self._unstored])
                for row, answer in self._unstored:
                    if isinstance(answer.sample, Sample):
                        answer.request_id = ids.get((row["payload_hash"], row["sample_index"]))
                if self._results:
                    self._report.counts.update(self._task.store(session, self._run_id, self._results))
                add_usage(session, self._run_id, self._usage)
            self._unstored.clear()
            self._results.clear()
            self._usage = Usage()
        ended_at = time.monotonic()
        self._store_at = ended_at + min(_STORE_EVERY_S, (ended_at - started_at) / _STORE_SHARE)


def _is_truncated(answer: Answer) -> bool:
    return isinstance(answer.sample, Sample) and answer.sample.finish_reason == "length"


def _is_answered(ask: _Ask) -> bool:
    return not ask.missing and (ask.redone is None or not ask.redone.missing)


def _answers(ask: _Ask) -> Answers:
    """The answers to a question, with those that were redone in the place of the truncated ones."""
    redone = {} if ask.redone is None else ask.redone.answers
    better = {index: answer for index, answer in redone.items() if isinstance(answer.sample, Sample)}
    return tuple((ask.answers | better)[index] for index in ask.wanted)


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _storable(sample: Sample | Failure) -> Sample | Failure:
    """Puts U+FFFD for the characters that no database stores as text: NUL and lone surrogates."""
    if isinstance(sample, Failure):
        return replace(sample, message=_UNSTORABLE.sub("\ufffd", sample.message))
    if _UNSTORABLE.search(sample.text) is None and _UNSTORABLE.search(sample.reasoning or "") is None:
        return sample
    reasoning = None if sample.reasoning is None else _UNSTORABLE.sub("\ufffd", sample.reasoning)
    return replace(sample, text=_UNSTORABLE.sub("\ufffd", sample.text), reasoning=reasoning)


def first_failure(answers: Iterable[Answer]) -> Failure | None:
    """The first failure among answers, for scripts that can do nothing without all of them."""
    return next((answer.sample for answer in answers if isinstance(answer.sample, Failure)), None)
