"""The engine `openai-batch`: OpenAI's Batch API, which answers within a day at half the price.

Requests are gathered into a file, handed over, and waited for; the answers find their questions by name. What is
handed over stands in a ledger first, so that a process may die at any moment: the next one waits for the batches
that are under way and hands over nothing twice. The API key is sent to the server and nowhere else.
"""

import json
import tempfile
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from typing import IO, Any, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

import openai

from db.batches import ENDED, SUBMITTING, KnownBatch
from stepmark.engine import Completion, EngineIdentity, Failure, Request, Sample, payload_hash

from .batch_rows import Row, read_row, stretches, write_row
from .chat_format import Drawn, Trouble, Used, read_status

_NO_KEY = "none"
_MARKER = "stepmark_marker"
"""Key in a batch's metadata under which our marker stands."""
_BEAT_S = 0.4
"""While waiting, the caller gets a None so often."""
_SLACK_S = 86_400
"""How far the service's clock may be off when a batch is looked for."""

Found = TypeVar("Found")
Answer: TypeAlias = tuple[Request, Completion]
Waiting: TypeAlias = Generator[None, None, Found]
"""Yields None while it waits, and returns what it waited for."""


class Ledger(Protocol):
    """Where batches are written down; `db.batches.BatchLedger` is the lasting one."""

    def open_batches(self, endpoint: str) -> list[KnownBatch]:
        """The batches that may hold answers not stored yet."""
        ...

    def add(self, endpoint: str, marker: str, asked: Mapping[str, Sequence[int]]) -> None:
        """Writes down a batch that the service is about to be asked for."""
        ...

    def name(self, endpoint: str, marker: str, batch_key: str) -> None:
        """Puts the service's name of a batch in the place of our marker."""
        ...

    def saw(self, endpoint: str, batch_key: str, status: str, progress: str) -> None:
        """Takes note of what the service says of a batch."""
        ...

    def end(self, endpoint: str, batch_key: str, status: str, answered: Mapping[str, Sequence[int]]) -> None:
        """Takes note that a batch brings nothing more, and of what it has answers for."""
        ...

    def close_stored(self, endpoint: str) -> None:
        """Closes the batches that have ended and of which every answer is stored."""
        ...


class _NoLedger:
    """Forgets everything: what is under way when the call ends is lost."""

    def open_batches(self, endpoint: str) -> list[KnownBatch]:
        return []

    def add(self, endpoint: str, marker: str, asked: Mapping[str, Sequence[int]]) -> None:
        pass

    def name(self, endpoint: str, marker: str, batch_key: str) -> None:
        pass

    def saw(self, endpoint: str, batch_key: str, status: str, progress: str) -> None:
        pass

    def end(self, endpoint: str, batch_key: str, status: str, answered: Mapping[str, Sequence[int]]) -> None:
        pass

    def close_stored(self, endpoint: str) -> None:
        pass


class OpenAIBatchEngine:
    """Samples from a batch service."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str | None = None,
        ledger: Ledger | None = None,
        n_rows: int = 50_000,
        n_bytes: int = 200_000_000,
        n_open: int = 8,
        attempts: int = 2,
        timeout_s: float = 600.0,
        first_wait_s: float = 1.0,
        longest_wait_s: float = 60.0,
        patience_s: float = 600.0,
        settle_s: float = 60.0,
    ) -> None:
        """Names the service; nothing is sent before the first request.

        Args:
            model: As the service names it.
            base_url: Up to and with `/v1`.
            api_key: None sends a placeholder.
            ledger: Where batches are written down; None: the next call knows nothing of those of this one.
            n_rows: Rows of one batch at most.
            n_bytes: Bytes of one batch's file at most.
            n_open: Batches under way at a time.
            attempts: Batches that may fail to bring a sample before it is given up.
            timeout_s: Of one call; of that which makes a batch at most `settle_s`.
            first_wait_s: Between the first two looks at a batch; half as much again between any further two.
            longest_wait_s: The longest of these waits.
            patience_s: After so long without an answer from the service the run ends.
            settle_s: So long after it was asked for, a batch that does not show was never made.
        """
        parts = urlsplit(base_url)
        endpoint = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self.identity = EngineIdentity("openai-batch", model, endpoint=endpoint)
        self._base_url = base_url
        self._api_key = api_key
        self._ledger: Ledger = _NoLedger() if ledger is None else ledger
        self._limits = _Limits(n_rows, n_bytes, n_open, attempts)
        self._waits = _Waits(timeout_s, first_wait_s, longest_wait_s, patience_s, settle_s)
        self._service: _Service | None = None

    def answer(self, requests: Iterable[Request | None]) -> Generator[Answer | None, None, None]:
        """Gathers requests into batches, and yields None more than twice a second while it waits for them."""
        if self._service is None:
            client = openai.OpenAI(
                api_key=self._api_key or _NO_KEY,
                base_url=self._base_url,
                max_retries=0,
                timeout=self._waits.timeout_s,
            )
            self._service = _Service(client, self._api_key, self._waits)
        job = _Job(self.identity, self._service, self._ledger, self._limits, self._waits)
        try:
            yield from job.run(iter(requests))
        except _Stop as stop:
            for request in job.unanswered():
                yield request, Completion.failed(request, stop.failure)

    def close(self) -> None:
        """Closes the connections; batches under way go on at the service."""
        if self._service is not None:
            assert self.identity.endpoint is not None
            self._ledger.close_stored(self.identity.endpoint)
            self._service.client.close()
            self._service = None


@dataclass(frozen=True, slots=True)
class _Waits:
    timeout_s: float
    first_s: float
    longest_s: float
    patience_s: float
    settle_s: float

    def growing(self, factor: float) -> Iterator[float]:
        """Waits that grow up to the longest."""
        wait_s = self.first_s
        while True:
            yield min(wait_s, self.longest_s)
            wait_s = min(wait_s * factor, self.longest_s)


@dataclass(slots=True)
class _Limits:
    """What is asked at a time; a service that takes less lowers it."""

    n_rows: int
    n_bytes: int
    n_open: int
    attempts: int


class _Stop(Exception):
    """The service refuses us, or is gone."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = replace(failure, is_fatal=True)


class _NotMade(_Stop):
    """The service refused to make a batch: there surely is none."""


# ------------------------------------------------------------ the service


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the service says of a batch."""

    batch_key: str
    status: str
    file_ids: tuple[str, ...] = ()
    """Of its output and its errors."""
    progress: str = ""
    errors: tuple[tuple[str, str], ...] = ()
    """Code and message of each reason why it failed."""

    @classmethod
    def read(cls, data: Any) -> "_Seen":
        """Reads a batch as the service describes it.

        Raises:
            ValueError: It is no batch.
        """
        if not (
            isinstance(data, dict)
            and isinstance(data.get("id"), str)
            and isinstance(status := data.get("status"), str)
        ):
            raise ValueError(f"no batch: {json.dumps(data)[:200]}")
        files = (data.get("output_file_id"), data.get("error_file_id"))
        counts, errors = data.get("request_counts"), data.get("errors")
        progress = ""
        if isinstance(counts, dict) and counts.get("total"):
            progress = f"{counts.get('completed', 0):,} of {counts['total']:,} done"
            progress += f", {counts['failed']:,} failed" if counts.get("failed") else ""
        reasons = errors.get("data") or () if isinstance(errors, dict) else ()
        return cls(
            data["id"],
            status,
            tuple(file_id for file_id in files if isinstance(file_id, str)),
            progress,
            tuple((str(one.get("code")), str(one.get("message"))) for one in reasons if isinstance(one, dict)),
        )


class _Service:
    """The calls, each on a thread of its own while the caller's goes on."""

    def __init__(self, client: openai.OpenAI, api_key: str | None, waits: _Waits) -> None:
        self.client = client
        self._api_key = api_key
        self._waits = waits

    def upload(self, content: bytes) -> Waiting[str]:
        """Uploads the file of a batch; returns its id."""

        def call() -> str:
            files = self.client.files.with_raw_response
            data = files.create(file=("stepmark.jsonl", content, "application/jsonl"), purpose="batch")
            return str(json.loads(data.http_response.content)["id"])

        found = yield from self._insist(call)
        if found is None:
            raise _Stop(Failure("not_found", "the service takes no files (404): check --base-url"))
        return found

    def create(self, file_id: str, marker: str) -> Waiting[_Seen]:
        """Makes a batch of an uploaded file, once: where it is not sure whether it was made, it looks."""
        raw = self.client.batches.with_raw_response

        def call() -> _Seen:
            data = raw.create(
                input_file_id=file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_MARKER: marker},
                timeout=min(self._waits.timeout_s, self._waits.settle_s),
            )
            return _Seen.read(json.loads(data.http_response.content))

        patient_until = time.monotonic() + self._waits.patience_s + self._waits.settle_s
        for wait_s in self._waits.growing(2.0):
            found = yield from _in_thread(lambda: self._try(call))
            if isinstance(found, _Seen):
                return found
            if not found.is_passing:
                raise _NotMade(found.failure)
            if found.failure.kind != "rate_limit":
                seen = yield from self.find(marker, 0.0)
                if seen is not None:
                    return seen
            if time.monotonic() > patient_until:
                raise _NotMade(found.failure)
            yield from _sleep(max(wait_s, found.retry_after_s or 0.0))
        raise AssertionError("the waits never end")

    def find(self, marker: str, age_s: float) -> Waiting[_Seen | None]:
        """Finds the batch with our marker, first asked for `age_s` ago; None where it was never made.

        The last call for it may be on its way still, so it is looked for until `settle_s` from now.
        """
        oldest = time.time() - age_s - _SLACK_S
        settled_at = time.monotonic() + self._waits.settle_s

        def call() -> _Seen | None:
            for batch in self.client.batches.list(limit=100):
                if (batch.metadata or {}).get(_MARKER) == marker:
                    return _Seen(batch.id, batch.status)
                if batch.created_at < oldest:
                    break
            return None

        for wait_s in self._waits.growing(1.5):
            is_settled = time.monotonic() >= settled_at
            found = yield from self._insist(call)
            if found is not None or is_settled:
                return found
            yield from _sleep(min(wait_s, max(0.0, settled_at - time.monotonic())))
        raise AssertionError("the waits never end")

    def look(self, batch_key: str) -> Waiting[_Seen | None]:
        """Asks how a batch is; None where the service does not know it."""
        raw = self.client.batches.with_raw_response
        return self._insist(lambda: _Seen.read(json.loads(raw.retrieve(batch_key).http_response.content)))

    def download(self, file_id: str, file: IO[bytes]) -> Waiting[bool | None]:
        """Writes a file of the service's into ours; None where the service has it no more."""

        def call() -> bool:
            file.seek(0)
            file.truncate()
            with self.client.files.with_streaming_response.content(file_id) as response:
                for piece in response.iter_bytes(1 << 20):
                    file.write(piece)
            file.seek(0)
            return True

        return self._insist(call)

    def _insist(self, call: Callable[[], Found]) -> Waiting[Found | None]:
        """Calls until an answer comes; None where the service does not know what is asked for (404).

        Raises:
            _Stop: The service refuses, or does not answer for too long.
        """
        patient_until = time.monotonic() + self._waits.patience_s
        for wait_s in self._waits.growing(2.0):
            found = yield from _in_thread(lambda: self._try(call))
            if not isinstance(found, Trouble):
                return found
            if found.failure.kind == "not_found":
                return None
            if not found.is_passing or time.monotonic() > patient_until:
                raise _Stop(found.failure)
            yield from _sleep(max(wait_s, found.retry_after_s or 0.0))
        raise AssertionError("the waits never end")

    def _try(self, call: Callable[[], Found]) -> Found | Trouble:
        try:
            return call()
        except openai.APITimeoutError:
            return Trouble(Failure("timeout", "the service did not answer in time"), is_passing=True)
        except openai.APIStatusError as err:
            message = f"{err.status_code}: {err.response.text[:500]}"
            message = message.replace(self._api_key, "***") if self._api_key else message
            return read_status(err.status_code, message, err.response.headers)
        except (ValueError, TypeError, KeyError) as err:
            message = f"the service's answer cannot be read ({type(err).__name__}: {err})"
            return Trouble(Failure("malformed", message), is_passing=True)
        except Exception as err:  # the client lets its transport's own errors through while a file is read
            cause = err.__cause__ or err
            message = f"{self.client.base_url.host}: {type(cause).__name__}: {cause}"
            return Trouble(Failure("connection", message), is_passing=True)


def _in_thread(call: Callable[[], Found]) -> Waiting[Found]:
    """Calls on another thread, one that does not keep a process that is told to end."""
    future: Future[Found] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as err:
            future.set_exception(err)

    threading.Thread(target=work, name="openai-batch", daemon=True).start()
    while not wait([future], timeout=_BEAT_S).done:
        yield None
    return future.result()


def _sleep(seconds: float) -> Waiting[None]:
    until = time.monotonic() + seconds
    while (left_s := until - time.monotonic()) > 0:
        time.sleep(min(left_s, _BEAT_S))
        yield None


# ------------------------------------------------------------ from requests to batches and back


@dataclass(slots=True)
class _Held:
    """A request on its way to all its samples."""

    request: Request
    payload_hash: str
    samples: dict[int, Sample | Failure] = field(default_factory=dict)
    used: Used = field(default_factory=Used)
    tries: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By sample index, the batches that did not bring it."""
    takes_n: bool = True
    """Whether one row may ask for several of its samples."""

    @property
    def missing(self) -> list[int]:
        return [index for index in self.request.sample_indices if index not in self.samples]

    def completion(self) -> Completion:
        return Completion(
            tuple(self.samples[index] for index in self.request.sample_indices),
            n_prompt_tokens=self.used.n_prompt_tokens,
            n_completion_tokens=self.used.n_completion_tokens,
            cost_usd=self.used.cost_usd,
        )


@dataclass(slots=True)
class _Open:
    """A batch at the service."""

    batch_key: str
    asked: dict[str, set[int]]


@dataclass(frozen=True, slots=True)
class _Line:
    """A row that waits to be handed over."""

    payload_hash: str
    indices: range
    content: bytes


class _Job:
    """One call of `answer`; everything but the calls to the service happens on the caller's thread."""

    def __init__(
        self, identity: EngineIdentity, service: _Service, ledger: Ledger, limits: _Limits, waits: _Waits
    ) -> None:
        assert identity.endpoint is not None
        self._identity = identity
        self._endpoint = identity.endpoint
        self._service = service
        self._ledger = ledger
        self._limits = limits
        self._waits = waits
        self._held: dict[str, list[_Held]] = {}
        """Requests without all their samples, by payload; only one as a rule."""
        self._lines: deque[_Line] = deque()
        self._n_bytes = 0
        """Of the lines."""
        self._queued: dict[str, set[int]] = defaultdict(set)
        """What the lines ask: sample indices by payload."""
        self._open: dict[str, dict[str, _Open]] = defaultdict(dict)
        """The batches that may have an answer to a payload, by payload and key."""
        self._watched: dict[str, _Open] = {}
        """The batches that a held request waits for, by key."""

    def unanswered(self) -> list[Request]:
        """The requests that have no answer yet."""
        return [held.request for several in self._held.values() for held in several]

    def run(self, coming: Iterator[Request | None]) -> Generator[Answer | None, None, None]:
        """Yields each request with its answer.

        Raises:
            _Stop: The service refuses us, or is gone.
        """
        yield from self._load()
        while True:
            has_more = True
            while len(self._watched) < self._limits.n_open:
                while has_more and not self._is_full():
                    request = next(coming, None)
                    if request is None:
                        has_more = False
                    else:
                        self._hold(request)
                if not self._lines:
                    break
                yield from self._submit()
            if not self._held:
                return
            for batch, seen in (yield from self._wait()):
                yield from self._read(batch, seen)

    def _load(self) -> Waiting[None]:
        """Finds out what earlier processes have under way."""
        for known in self._ledger.open_batches(self._endpoint):
            batch_key = known.batch_key
            if known.status == SUBMITTING:
                seen = yield from self._service.find(batch_key, known.age_s)
                if seen is None:
                    self._ledger.end(self._endpoint, batch_key, "never made", {})
                    continue
                self._ledger.name(self._endpoint, batch_key, seen.batch_key)
                batch_key = seen.batch_key
            self._add_open(batch_key, known.asked)

    def _add_open(self, batch_key: str, asked: Mapping[str, Iterable[int]]) -> _Open:
        batch = _Open(batch_key, {payload: set(indices) for payload, indices in asked.items()})
        for payload in batch.asked:
            self._open[payload][batch_key] = batch
        return batch

    def _is_full(self) -> bool:
        return len(self._lines) >= self._limits.n_rows or self._n_bytes >= self._limits.n_bytes

    def _hold(self, request: Request) -> None:
        held = _Held(request, payload_hash(self._identity, request.messages, request.sampling))
        self._held.setdefault(held.payload_hash, []).append(held)
        self._seek(held, request.sample_indices)

    def _seek(self, held: _Held, indices: Iterable[int]) -> None:
        """Sees to it that samples come: from a batch that was asked for them, else by the next one."""
        payload, missing = held.payload_hash, []
        for index in sorted(indices):
            batches = self._open.get(payload, {}).values()
            batch = next((batch for batch in batches if index in batch.asked[payload]), None)
            if batch is not None:
                self._watched[batch.batch_key] = batch
            elif index not in self._queued[payload]:
                missing.append(index)
        self._queued[payload].update(missing)
        rows = stretches(missing) if held.takes_n else [range(index, index + 1) for index in missing]
        for row in rows:
            content = write_row(self._identity.model, held.request, payload, row)
            self._lines.append(_Line(payload, row, content))
            self._n_bytes += len(content)

    def _submit(self) -> Waiting[None]:
        """Hands over the first lines, as many as make a batch."""
        lines: list[_Line] = []
        asked: dict[str, list[int]] = defaultdict(list)
        n_bytes = 0
        while self._lines and len(lines) < self._limits.n_rows:
            line = self._lines[0]
            if lines and n_bytes + len(line.content) > self._limits.n_bytes:
                break
            lines.append(self._lines.popleft())
            n_bytes += len(line.content)
            asked[line.payload_hash] += line.indices
        self._n_bytes -= n_bytes
        file_id = yield from self._service.upload(b"".join(line.content for line in lines))
        # From here to the answer, the batch may be there without our knowing its name: the marker finds it.
        marker = uuid.uuid4().hex
        self._ledger.add(self._endpoint, marker, asked)
        try:
            seen = yield from self._service.create(file_id, marker)
        except _NotMade:
            self._ledger.end(self._endpoint, marker, "refused", {})
            raise
        self._ledger.name(self._endpoint, marker, seen.batch_key)
        for payload, indices in asked.items():
            self._queued[payload].difference_update(indices)
            if not self._queued[payload]:
                del self._queued[payload]
        self._watched[seen.batch_key] = self._add_open(seen.batch_key, asked)

    def _wait(self) -> Waiting[list[tuple[_Open, _Seen]]]:
        """Waits until a batch that is watched has ended."""
        for wait_s in self._waits.growing(1.5):
            ended = []
            for batch in list(self._watched.values()):
                seen = yield from self._service.look(batch.batch_key)
                if seen is None:
                    seen = _Seen(batch.batch_key, "gone")
                self._ledger.saw(self._endpoint, batch.batch_key, seen.status, seen.progress)
                if seen.status in ENDED or seen.status == "gone":
                    ended.append((batch, seen))
            if ended:
                return ended
            yield from _sleep(wait_s)
        raise AssertionError("the waits never end")

    def _read(self, batch: _Open, seen: _Seen) -> Generator[Answer | None, None, None]:
        """Joins what an ended batch brings to the requests held; what it failed to bring is sought again."""
        answered: dict[str, set[int]] = defaultdict(set)
        spare: dict[str, set[int]] = defaultdict(set)
        refused: dict[tuple[str, int], Trouble] = {}
        for file_id in seen.file_ids:
            with tempfile.TemporaryFile() as file:
                yield from self._service.download(file_id, file)
                for line in file:
                    row = read_row(line)
                    if row is None or not _is_of(row, batch):
                        continue
                    yield from self._join(row, answered, spare, refused)
        asked = batch.asked
        for payload in asked:
            del self._open[payload][batch.batch_key]
            if not self._open[payload]:
                del self._open[payload]
        del self._watched[batch.batch_key]
        self._ledger.end(
            self._endpoint,
            batch.batch_key,
            seen.status,
            {payload: sorted(indices) for payload, indices in answered.items()},
        )
        # What nobody has asked for yet may be asked for still: the batch is read again then.
        self._add_open(batch.batch_key, spare)
        if seen.status == "failed" and any(code == "token_limit_exceeded" for code, _ in seen.errors):
            self._ask_for_less(asked, seen)
        default = _why(seen)
        for payload, indices in asked.items():
            for held in list(self._held.get(payload, ())):
                self._settle(held, indices, refused, default)
                if not held.missing:
                    yield self._release(held)

    def _join(
        self,
        row: Row,
        answered: dict[str, set[int]],
        spare: dict[str, set[int]],
        refused: dict[tuple[str, int], Trouble],
    ) -> Generator[Answer | None, None, None]:
        """Gives a row's samples to the requests that want them; the first row that brings a sample counts."""
        payload, found = row.payload_hash, row.found
        samples: dict[int, Sample | Failure] = {}
        if isinstance(found, Trouble):
            if found.failure.kind == "bad_request" and len(row.indices) > 1:
                found = replace(found, is_passing=True)  # it may be the number that the service minds
            refused.update(((payload, index), found) for index in row.indices)
        else:
            samples = dict(zip(row.indices, found.samples, strict=False))
            n_found = len(found.samples)
            short = Trouble(
                Failure("wrong_count", f"{n_found} samples came instead of {len(row.indices)}"), is_passing=True
            )
            refused.update(((payload, index), short) for index in row.indices[n_found:])
        new = {index for index, sample in samples.items() if isinstance(sample, Sample)}
        new -= answered.get(payload, set())
        if new:
            answered[payload] |= new
        for held in list(self._held.get(payload, ())):
            wanted = [index for index in held.missing if index in samples]
            new.difference_update(wanted)
            if wanted and isinstance(found, Drawn):
                held.samples.update((index, samples[index]) for index in wanted)
                held.used.add(found.usage)
            if not held.missing:
                yield self._release(held)
        if new:
            spare[payload] |= new

    def _release(self, held: _Held) -> Answer:
        several = self._held[held.payload_hash]
        several.remove(held)
        if not several:
            del self._held[held.payload_hash]
        return held.request, held.completion()

    def _settle(
        self, held: _Held, indices: set[int], refused: Mapping[tuple[str, int], Trouble], default: Trouble
    ) -> None:
        """Decides of what a batch was asked for and did not bring: to be sought again, or failed for good."""
        again = []
        for index in held.missing:
            if index not in indices:
                continue
            trouble = refused.get((held.payload_hash, index), default)
            held.tries[index] += 1
            if trouble.is_passing and held.tries[index] < self._limits.attempts:
                again.append(index)
                if trouble.failure.kind in ("wrong_count", "bad_request"):
                    held.takes_n = False
            else:
                held.samples[index] = trouble.failure
        self._seek(held, again)

    def _ask_for_less(self, asked: Mapping[str, set[int]], seen: _Seen) -> None:
        """Lowers what is asked at a time; the batch that was too much does not count as an attempt.

        Raises:
            _Stop: Less cannot be asked.
        """
        if self._watched:
            self._limits.n_open = len(self._watched)
        elif len(asked) > 1:
            self._limits.n_rows = max(1, len(asked) // 2)
        else:
            raise _Stop(Failure("rate_limit", _reasons(seen)))
        for payload, indices in asked.items():
            for held in self._held.get(payload, ()):
                for index in indices:
                    held.tries[index] -= 1


def _is_of(row: Row, batch: _Open) -> bool:
    asked = batch.asked.get(row.payload_hash, set())
    return len(row.indices) <= len(asked) and asked.issuperset(row.indices)


def _reasons(seen: _Seen) -> str:
    return "; ".join(f"{code}: {message}" for code, message in seen.errors) or "no reason given"


def _why(seen: _Seen) -> Trouble:
    """Why a sample did not come of which the batch's files say nothing."""
    name = f"batch {seen.batch_key}"
    if seen.status == "expired":
        return Trouble(Failure("timeout", f"{name} expired"), is_passing=True)
    if seen.status == "cancelled":
        return Trouble(Failure("cancelled", f"{name} was cancelled"), is_passing=True)
    if seen.status == "failed":
        reasons = _reasons(seen)
        if "quota" in reasons or "billing" in reasons:
            return Trouble(Failure("quota", f"{name} failed: {reasons}", is_fatal=True))
        return Trouble(Failure("server_error", f"{name} failed: {reasons}"), is_passing=True)
    if seen.status == "gone":
        return Trouble(Failure("not_found", f"{name} is not known to the service any more"), is_passing=True)
    return Trouble(Failure("malformed", f"the files of {name} hold no readable row for it"), is_passing=True)
