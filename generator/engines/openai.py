"""The engine `openai`: any server that speaks OpenAI's chat completions, such as vLLM, SGLang, llama.cpp or Ollama.

Calls run on an event loop in a thread of their own; the caller's thread pulls requests and takes answers. Passing
troubles (429, 5xx, lost connections, time-outs, broken JSON) are asked again; what fails for good becomes a failure
with its kind, never a text. How many calls are in flight follows the server (`pace`). The API key is sent to the
server and nowhere else.
"""

import asyncio
import base64
import json
import math
import queue
import random
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, unquote, urlsplit

import aiohttp

from stepmark.engine import Completion, EngineIdentity, Failure, Request, Sample
from stepmark.errors import SettingsError

from .chat_format import Drawn, Trouble, Used, chat_body, read_answer, read_status
from .pace import Pace, Started, TokenGuess, read_vllm_queue

_LONGEST_WAIT_S = 60.0
_LONGEST_WAIT_IN_OUTAGE_S = 5.0
"""So that a server that comes back is soon used again."""
_CONNECT_TIMEOUT_S = 30.0
_STALL_S = 60.0
"""An answer of which nothing more comes for so long is given up."""
_KEEP_ALIVE_S = 4.0
"""Idle connections are kept for so long: less than servers do (uvicorn: 5 s), or a call would meet one closing."""
_LARGEST_BODY = 64 * 2**20
_LOOK_AT_QUEUE_EVERY_S = 1.0
_AHEAD = 0.5
"""Requests pulled beyond those in flight, as a share of them: what is sent while the caller stores answers."""
_HANDED_TOGETHER = 32
_PROBE = "Hi"
"""What is asked to see whether a server is still there."""
_NO_KEY = "none"
"""What is sent where no key is set; local servers accept it."""


@dataclass(slots=True)
class _Asking:
    """A request in the making."""

    request: Request
    n_chars: int
    started_at: float = math.inf
    """When its first call was sent."""
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
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout_s: float = 600.0,
        attempts: int = 6,
        first_wait_s: float = 0.5,
        patience_s: float = 600.0,
        outage_s: float = 120.0,
    ) -> None:
        """Names the server; nothing is sent before the first request.

        Args:
            model: As the server names it.
            base_url: Up to and with `/v1`.
            api_key: None sends a placeholder.
            concurrency: Calls in flight at most; fewer while the server refuses more, or lets them wait.
            requests_per_minute: Calls started per minute at most; None: no limit.
            tokens_per_minute: Tokens of prompts and samples per minute, about; None: no limit.
            timeout_s: Of one call.
            attempts: Calls for one answer at most; refusals for too many requests (429) do not count, nor do calls
                that an outage takes.
            first_wait_s: Before the second attempt; doubled before each further one.
            patience_s: After so long a request that only ever meets 429 is given up.
            outage_s: A server that has answered and falls silent may come back within this time.

        Raises:
            SettingsError: The address is none.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(
                f"{base_url!r} is no address of a server; give one like http://localhost:8000/v1 (--base-url)"
            )
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        self.identity = EngineIdentity("openai", model, endpoint=bare.geturl().rstrip("/"))
        path = bare.path.rstrip("/")
        self._url = bare._replace(path=f"{path}/chat/completions", fragment="").geturl()
        self._metrics_url = bare._replace(path=f"{path.removesuffix('/v1')}/metrics", query="", fragment="").geturl()
        self._headers = {"Authorization": _authorization(parts, api_key), "Content-Type": "application/json"}
        self._secrets = tuple(filter(None, (api_key, parts.password)))
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._first_wait_s = first_wait_s
        self._patience_s = patience_s
        self._outage_s = outage_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # Below: touched on the loop's thread only.
        self._session: aiohttp.ClientSession | None = None
        self._proxy = _proxy_of(parts)
        self._pace = Pace(
            concurrency,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            first_pause_s=first_wait_s,
        )
        self._tokens = TokenGuess()
        self._waiting: deque[tuple[asyncio.Future[Started], int]] = deque()
        """Calls that wait for their start, each with the tokens that it may use."""
        self._timer: asyncio.TimerHandle | None = None
        self._follower: asyncio.Task[None] | None = None
        self._takes_n = True
        """Whether the server draws several samples in one call, as far as we know."""
        self._probing = asyncio.Lock()
        self._probed_at = -math.inf
        self._is_probe_answered = False
        self._answered_at = -math.inf
        """When the server last gave an answer, be it a refusal of one request."""
        self._heard_at = -math.inf
        """When the latest call that was answered had begun: an answer may still come of a server that has gone."""

    def answer(self, requests: Iterable[Request | None]) -> Generator[tuple[Request, Completion] | None, None, None]:
        """Keeps the server busy, and yields None about twice a second while no answer comes.

        A few more requests are pulled than are in flight, so that the next ones start while the caller is busy with
        the answers.
        """
        loop = self._started_loop()
        answered: queue.SimpleQueue[tuple[Request, Completion | Exception]] = queue.SimpleQueue()
        tasks: set[asyncio.Task[None]] = set()
        most_held = self._concurrency + math.ceil(_AHEAD * self._concurrency)
        n_held = 0
        coming = iter(requests)
        try:
            while True:
                while batch := _pull(coming, min(_HANDED_TOGETHER, most_held - n_held)):
                    n_held += len(batch)
                    loop.call_soon_threadsafe(self._begin, batch, tasks, answered)
                if not n_held:
                    return
                try:
                    found = [answered.get(timeout=0.5)]
                except queue.Empty:
                    yield None
                    continue
                found += [answered.get_nowait() for _ in range(answered.qsize())]
                n_held -= len(found)
                for request, completion in found:
                    if isinstance(completion, Exception):
                        raise completion
                    yield request, completion
        finally:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(_cancel, tasks)

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

    # ------------------------------------------------------------ on the loop's thread

    async def _shut_down(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _begin(
        self,
        requests: Sequence[Request],
        tasks: set[asyncio.Task[None]],
        answered: "queue.SimpleQueue[tuple[Request, Completion | Exception]]",
    ) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The number of connections is bounded by the calls in flight.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=_CONNECT_TIMEOUT_S),
            )
        loop = asyncio.get_running_loop()
        for request in requests:
            task = loop.create_task(self._serve(request, answered))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if self._follower is None:
            self._follower = loop.create_task(self._follow_queue(self._session))

    async def _serve(
        self, request: Request, answered: "queue.SimpleQueue[tuple[Request, Completion | Exception]]"
    ) -> None:
        try:
            answered.put((request, await self._answer(request)))
        except Exception as err:  # a bug: it is raised where the answer is waited for
            answered.put((request, err))

    async def _answer(self, request: Request) -> Completion:
        n_chars = sum(len(message.content) for message in request.messages)
        asking = _Asking(request, n_chars)
        samples = await self._draw(asking, request.sample_indices)
        return Completion(
            tuple(self._without_secrets(sample) if isinstance(sample, Failure) else sample for sample in samples),
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
        body = json.dumps(chat_body(self.identity.model, asking.request, asking.request.key, indices)).encode()
        first_at = troubled_at = math.inf
        attempt = 0
        was_gone = False
        while True:
            n_tokens = self._tokens.guess(asking.n_chars, len(indices), asking.request.sampling.max_tokens)
            call = await self._admitted(n_tokens, is_first=asking.started_at == math.inf)
            first_at = min(first_at, call.at)
            asking.started_at = min(asking.started_at, call.at)
            try:
                found = await self._post(body)
            except BaseException:
                self._pace.dropped(call)
                raise
            now = time.monotonic()
            self._note(call, found, now)
            if isinstance(found, Drawn):
                asking.usage.add(found.usage)
                self._learn(asking, found)
                return found.samples
            failure = found.failure
            if not found.is_passing:
                return failure
            if (found.retry_after_s or 0.0) > self._patience_s:
                return replace(failure, is_fatal=True)
            if failure.kind == "rate_limit":
                if now - first_at > self._patience_s:
                    return replace(failure, is_fatal=self._answered_at < first_at)
                continue  # the pace holds all calls back
            attempt += 1
            troubled_at = min(troubled_at, now)
            is_silent = found.is_outage and self._heard_at < troubled_at
            silent_s = now - max(first_at, self._answered_at)
            is_last = attempt >= self._attempts
            is_spent = is_last
            if is_silent and (is_last or (attempt > 1 and silent_s >= self._outage_s)):
                is_there = await self._is_there()
                if not is_there and (self._answered_at == -math.inf or silent_s >= self._outage_s):
                    message = f"{failure.message} ({attempt} attempts in {now - first_at:.0f} s)"
                    return Failure(failure.kind, message, is_fatal=True)
                # One that was gone may be back since this attempt failed; the next one tells.
                is_spent = is_last and is_there and not was_gone
                was_gone = not is_there
            if is_spent:
                return Failure(failure.kind, f"{failure.message} ({attempt} attempts)")
            longest_s = _LONGEST_WAIT_IN_OUTAGE_S if is_silent else _LONGEST_WAIT_S
            wait_s = min(self._first_wait_s * 2 ** (attempt - 1), longest_s) * random.uniform(1.0, 1.25)
            await asyncio.sleep(max(wait_s, found.retry_after_s or 0.0))

    async def _is_there(self) -> bool:
        """Tells a server that is gone from one that only this request upsets: by asking it for a single token."""
        async with self._probing:
            now = time.monotonic()
            if now - self._probed_at > _LONGEST_WAIT_IN_OUTAGE_S:
                probe = {
                    "model": self.identity.model,
                    "messages": [{"role": "user", "content": _PROBE}],
                    "max_tokens": 1,
                    "n": 1,
                    "seed": 0,
                }
                found = await self._post(json.dumps(probe).encode())
                self._probed_at = time.monotonic()
                self._is_probe_answered = _is_answer(found)
                if self._is_probe_answered:
                    self._answered_at = self._probed_at
                    self._heard_at = now
            return self._is_probe_answered

    def _note(self, call: Started, found: Drawn | Trouble, now: float) -> None:
        """Tells the pace how a call ended, and starts those for which there is room now."""
        if isinstance(found, Drawn):
            self._pace.answered(call, now, found.n_tokens)
        elif found.failure.kind == "rate_limit":
            self._pace.refused(call, now, found.retry_after_s)
        elif found.is_outage or found.failure.kind == "server_error":
            self._pace.troubled(call, now)
        else:
            self._pace.answered(call, now, 0)
        if _is_answer(found):
            self._answered_at = now
            self._heard_at = max(self._heard_at, call.at)
        self._admit()

    def _learn(self, asking: _Asking, drawn: Drawn) -> None:
        if drawn.n_tokens is not None:
            prompt, sampled = drawn.usage["prompt_tokens"], drawn.usage["completion_tokens"]
            self._tokens.learn(asking.n_chars, len(drawn.samples), prompt, sampled)

    async def _admitted(self, n_tokens: int, *, is_first: bool) -> Started:
        """Waits until the pace lets a call start; those of a request under way go before new ones."""
        now = time.monotonic()
        if not self._waiting and self._pace.wait_s(now) <= 0:
            return self._pace.start(n_tokens, now)
        turn: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        if is_first:
            self._waiting.append((turn, n_tokens))
        else:
            self._waiting.appendleft((turn, n_tokens))
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pace.dropped(turn.result())
            raise

    def _admit(self) -> None:
        """Starts the calls that may start, and sees to it that the next one is looked at in time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            turn, n_tokens = self._waiting[0]
            if not turn.done():
                now = time.monotonic()
                wait_s = self._pace.wait_s(now)
                if wait_s > 0:
                    if wait_s < math.inf:
                        self._timer = asyncio.get_running_loop().call_later(wait_s, self._admit)
                    return
                turn.set_result(self._pace.start(n_tokens, now))
            self._waiting.popleft()

    async def _follow_queue(self, session: aiohttp.ClientSession) -> None:
        """Keeps few calls waiting in a vLLM server, as long as it tells how many do."""
        timeout = aiohttp.ClientTimeout(total=5.0)
        is_told = False
        while True:
            await asyncio.sleep(_LOOK_AT_QUEUE_EVERY_S)
            try:
                async with session.get(
                    self._metrics_url, proxy=self._proxy, timeout=timeout, allow_redirects=False
                ) as response:
                    body = await _read_body(response, 5.0)
            except (aiohttp.ClientError, TimeoutError, OSError, _BodyTooLargeError):
                body = b""
            found = read_vllm_queue(body.decode(errors="replace"))
            if found is not None:
                is_told = True
                self._pace.window.follow(*found)
                self._admit()
            elif not is_told:
                return

    async def _post(self, body: bytes) -> Drawn | Trouble:
        """Makes one call."""
        assert self._session is not None
        try:
            async with self._session.post(self._url, data=body, headers=self._headers, proxy=self._proxy) as response:
                answer = await _read_body(response, min(_STALL_S, self._timeout_s))
        except aiohttp.ServerDisconnectedError:
            return self._lost("the server closed the connection without an answer")
        except aiohttp.ClientConnectorCertificateError as err:
            message = f"{self.identity.endpoint}: its certificate is not trusted: {err.certificate_error}"
            return Trouble(Failure("connection", message, is_fatal=True))
        except aiohttp.ClientConnectorDNSError as err:
            return self._lost(f"the name of the host cannot be resolved: {err.os_error}")
        except aiohttp.ClientProxyConnectionError as err:
            return self._lost(f"cannot connect to the proxy: {err.os_error}")
        except aiohttp.ClientHttpProxyError as err:
            return self._lost(f"the proxy refuses: {err.status} {err.message}")
        except aiohttp.ClientConnectorError as err:
            return self._lost(f"cannot connect: {err.os_error}")
        except aiohttp.ConnectionTimeoutError:
            return self._lost(f"cannot connect within {_CONNECT_TIMEOUT_S:g} s")
        except aiohttp.ClientPayloadError as err:
            return self._lost(f"the connection broke in the middle of an answer: {err}")
        except TimeoutError as err:
            message = str(err) or f"no answer within {self._timeout_s:g} s"
            return Trouble(Failure("timeout", message), is_passing=True, is_outage=True)
        except _BodyTooLargeError:
            return Trouble(Failure("malformed", f"the answer is larger than {_LARGEST_BODY:,} bytes"))
        except aiohttp.ClientResponseError as err:
            return Trouble(Failure("malformed", f"the answer is not HTTP: {err.message}"), is_passing=True)
        except (aiohttp.ClientError, OSError) as err:
            return self._lost(f"the connection broke: {type(err).__name__}: {err}")
        if response.status >= 400:
            message = f"{response.status}: {answer.decode(errors='replace')[:500]}"
            return read_status(response.status, message, response.headers)
        return read_answer(answer)

    def _lost(self, message: str) -> Trouble:
        failure = Failure("connection", f"{self.identity.endpoint}: {message}")
        return Trouble(failure, is_passing=True, is_outage=True)

    def _without_secrets(self, failure: Failure) -> Failure:
        message = failure.message
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return replace(failure, message=message)


def _is_answer(found: Drawn | Trouble) -> bool:
    """Whether a server that works has spoken, be it to refuse this one request."""
    return isinstance(found, Drawn) or not (found.is_outage or found.failure.kind == "rate_limit")


class _BodyTooLargeError(Exception):
    """A body of more than `_LARGEST_BODY` bytes."""


async def _read_body(response: aiohttp.ClientResponse, stall_s: float) -> bytes:
    content = response.content
    chunks: list[bytes] = []
    size = 0
    while not content.at_eof():
        if content.is_eof():
            chunk = content.read_nowait()  # all is here already: no clock is needed
        else:
            try:
                async with asyncio.timeout(stall_s) as limit:
                    chunk = await content.readany()
            except TimeoutError:
                if not limit.expired():
                    raise
                raise TimeoutError(f"the answer stopped half-way: nothing came for {stall_s:g} s") from None
        chunks.append(chunk)
        size += len(chunk)
        if size > _LARGEST_BODY:
            raise _BodyTooLargeError
    return b"".join(chunks)


def _pull(coming: "Iterable[Request | None]", most: int) -> list[Request]:
    """Takes requests while there are any that do not wait for an answer."""
    batch: list[Request] = []
    while len(batch) < most and (request := next(coming, None)) is not None:  # type: ignore[call-overload]
        batch.append(request)
    return batch


def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def _authorization(parts: SplitResult, api_key: str | None) -> str:
    """What names us to the server: the user and password in its address, else the key."""
    if parts.username is None and parts.password is None:
        return f"Bearer {api_key or _NO_KEY}"
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _proxy_of(parts: SplitResult) -> str | None:
    """The proxy that the environment names for a server.

    Looked up once: aiohttp's own way (`trust_env`) does it for every call, and lets a .netrc take the key's place.

    Raises:
        SettingsError: It is of a kind that we do not speak.
    """
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        kind = urlsplit(proxy).scheme
        raise SettingsError(f"the environment names a {kind} proxy; set {parts.scheme}_proxy to an http:// one")
    return proxy
