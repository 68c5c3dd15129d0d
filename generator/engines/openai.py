"""The engine `openai`: any server that speaks OpenAI's chat completions, such as vLLM, SGLang, llama.cpp or Ollama.

Requests run on an event loop in a thread of their own; the caller's thread pulls requests and takes answers.
Passing troubles (429, 5xx, lost connections, time-outs, broken JSON) are retried with growing waits; what fails for
good becomes a failure with its kind, never a text. The API key is sent to the server and nowhere else.
"""

import asyncio
import queue
import random
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import openai

from stepmark.engine import Completion, EngineIdentity, Failure, Request, Sample, payload_hash

from .chat_format import Trouble, Used, chat_body, read_answer, read_status

_LONGEST_WAIT_S = 60.0
_NO_KEY = "none"
"""What is sent where no key is set; local servers accept it."""


@dataclass(slots=True)
class _Asking:
    """A request in the making."""

    request: Request
    payload_hash: str
    started_at: float = field(default_factory=time.monotonic)
    usage: Used = field(default_factory=Used)


class OpenAIEngine:
    """Samples from a server."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str | None = None,
        concurrency: int = 50,
        timeout_s: float = 600.0,
        attempts: int = 6,
        first_wait_s: float = 0.5,
        patience_s: float = 600.0,
    ) -> None:
        """Names the server; nothing is sent before the first request.

        Args:
            model: As the server names it.
            base_url: Up to and with `/v1`.
            api_key: None sends a placeholder.
            concurrency: Calls in flight at most.
            timeout_s: Of one call.
            attempts: Calls for one answer at most; refusals for too many requests (429) do not count.
            first_wait_s: Before the second attempt; doubled before each further one.
            patience_s: After so long a request that only ever meets 429 is given up.
        """
        parts = urlsplit(base_url)
        endpoint = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self.identity = EngineIdentity("openai", model, endpoint=endpoint)
        self._base_url = base_url
        self._api_key = api_key
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._first_wait_s = first_wait_s
        self._patience_s = patience_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # Below: touched on the loop's thread only.
        self._client: openai.AsyncOpenAI | None = None
        self._slots = asyncio.Semaphore(concurrency)
        self._takes_n = True
        """Whether the server draws several samples in one call, as far as we know."""
        self._allowed_at = 0.0
        """No call starts before this moment: the server asked us to wait."""
        self._answered_at = 0.0
        """When the server last gave an answer."""

    def answer(self, requests: Iterable[Request | None]) -> Generator[tuple[Request, Completion] | None, None, None]:
        """Keeps `concurrency` requests in flight, and yields None about twice a second while none is answered."""
        loop = self._started_loop()
        answered: queue.SimpleQueue[Future[Completion]] = queue.SimpleQueue()
        in_flight: dict[Future[Completion], Request] = {}
        coming = iter(requests)
        try:
            while True:
                while len(in_flight) < self._concurrency and (request := next(coming, None)) is not None:
                    future = asyncio.run_coroutine_threadsafe(self._answer(request), loop)
                    in_flight[future] = request
                    future.add_done_callback(answered.put)
                if not in_flight:
                    return
                try:
                    future = answered.get(timeout=0.5)
                except queue.Empty:
                    yield None
                    continue
                yield in_flight.pop(future), future.result()
        finally:
            for future in in_flight:
                future.cancel()

    def close(self) -> None:
        """Drops what is in flight, closes the connections and ends the thread."""
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def _started_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="openai-engine", daemon=True)
            self._thread.start()
        return self._loop

    async def _shut_down(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _answer(self, request: Request) -> Completion:
        asking = _Asking(request, payload_hash(self.identity, request.messages, request.sampling))
        samples = await self._draw(asking, request.sample_indices)
        return Completion(
            tuple(samples),
            n_prompt_tokens=asking.usage.n_prompt_tokens,
            n_completion_tokens=asking.usage.n_completion_tokens,
            latency_ms=1000 * (time.monotonic() - asking.started_at),
            cost_usd=asking.usage.cost_usd,
        )

    async def _draw(self, asking: _Asking, indices: Sequence[int]) -> list[Sample | Failure]:
        """Draws these samples: in one call where the server can, else in one for each."""
        if len(indices) == 1 or self._takes_n:
            found = await self._call(asking, indices)
            if isinstance(found, Failure) and found.kind == "bad_request" and len(indices) > 1:
                # Some servers refuse n > 1; if this one takes n = 1, it is the number that it minds.
                found = await self._call(asking, indices[:1])
            if isinstance(found, Failure):
                return [found] * len(indices)
            missing = indices[len(found) :]
            if not missing:
                return found[: len(indices)]
            if len(found) == 1:
                self._takes_n = False
            return found + await self._draw(asking, missing)
        drawn = await asyncio.gather(*(self._draw(asking, [index]) for index in indices))
        return [sample for samples in drawn for sample in samples]

    async def _call(self, asking: _Asking, indices: Sequence[int]) -> list[Sample | Failure] | Failure:
        """Asks for these samples until an answer comes; it holds at least one, and may hold fewer than asked."""
        started_at = time.monotonic()
        attempt = 0
        while True:
            async with self._slots:
                while (wait_s := self._allowed_at - time.monotonic()) > 0:
                    await asyncio.sleep(wait_s)
                found = await self._call_once(asking, indices)
            now = time.monotonic()
            if not isinstance(found, Trouble):
                self._answered_at = now
                return found
            failure = found.failure
            if not found.is_passing:
                return failure
            wait_s = min(self._first_wait_s * 2**attempt, _LONGEST_WAIT_S) * random.uniform(1.0, 1.25)
            wait_s = max(wait_s, found.retry_after_s or 0.0)
            if failure.kind == "rate_limit":
                if now + wait_s - started_at > self._patience_s:
                    return failure
                self._allowed_at = max(self._allowed_at, now + wait_s)
                attempt = min(attempt + 1, self._attempts)
                continue
            attempt += 1
            if attempt >= self._attempts:
                is_dead = failure.kind in ("connection", "timeout") and self._answered_at < started_at
                return Failure(failure.kind, f"{failure.message} ({attempt} attempts)", is_dead)
            await asyncio.sleep(wait_s)

    async def _call_once(self, asking: _Asking, indices: Sequence[int]) -> list[Sample | Failure] | Trouble:
        if self._client is None:
            self._client = openai.AsyncOpenAI(
                api_key=self._api_key or _NO_KEY, base_url=self._base_url, max_retries=0, timeout=self._timeout_s
            )
        try:
            # Read raw: the client's own types are lenient, and let through what is no completion.
            body = chat_body(self.identity.model, asking.request, asking.payload_hash, indices)
            response = await self._client.chat.completions.with_raw_response.create(
                model=body["model"], messages=body["messages"], extra_body=body
            )
            answer = response.http_response.content
        except openai.APITimeoutError:
            return Trouble(Failure("timeout", f"no answer within {self._timeout_s:g} s"), is_passing=True)
        except openai.APIConnectionError as err:
            cause = err.__cause__ or err
            message = f"{self.identity.endpoint}: {type(cause).__name__}: {cause}"
            return Trouble(Failure("connection", message), is_passing=True)
        except openai.APIStatusError as err:
            message = self._without_key(f"{err.status_code}: {err.response.text[:500]}")
            return read_status(err.status_code, message, err.response.headers)
        return read_answer(answer, asking.usage)

    def _without_key(self, text: str) -> str:
        return text.replace(self._api_key, "***") if self._api_key else text
