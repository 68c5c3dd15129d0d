"""What every engine speaks: requests in, samples or failures out.

An engine is whatever samples from a language model: a server, a library in process, a batch service. It pulls
requests lazily and yields answers as they come, in any order, so that a million requests need no memory; it never
raises for one request, and never turns a failure into text.
"""

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    """`system`, `user` or `assistant`; an `assistant` turn that stands last is a prefix to be continued."""
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample."""

    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 1024
    """Tokens of one sample at most; a sample that reaches it has `finish_reason` `length`."""
    stop: tuple[str, ...] = ()
    seed: int = 0
    """The same seed, request and sample index give the same text where the engine can promise it."""
    json_schema: str | None = None
    """A JSON Schema, as JSON, that every sample obeys; engines that cannot hold to one refuse the request."""


@dataclass(frozen=True, slots=True)
class Request:
    """Samples wanted of one conversation."""

    key: str
    """Comes back with the answer, which joins answers to their questions; unique among those in flight. A run gives
    the cache key (`payload_hash`), so that a seed made of it is the same when the run is resumed."""
    messages: tuple[Message, ...]
    sampling: Sampling
    sample_indices: tuple[int, ...] = (0,)
    """Which samples of this conversation are wanted; one sample comes back for each, in this order."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled text."""

    text: str
    finish_reason: str
    """`stop`, `length` (truncated), or the server's own word."""
    n_tokens: int | None = None
    """Tokens sampled; None where the engine counts only all samples of a request together."""
    reasoning: str | None = None
    """Reasoning kept apart from the text: the server's own field, or what stood between `<think>` tags."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that failed for good (after the engine's own retries)."""

    kind: str
    """Short and stable: `timeout`, `connection`, `rate_limit`, `server_error`, `bad_request`, `auth`, `too_long`,
    `refused`, `malformed`, `wrong_count`."""
    message: str
    is_fatal: bool = False
    """No further request can succeed (wrong key, server gone): the run stops and can be resumed."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to a request: as many samples as `sample_indices` asked, in that order."""

    samples: tuple[Sample | Failure, ...]
    """A failure stands in the place of a sample that could not be had while others could."""
    n_prompt_tokens: int | None = None
    """Tokens of the conversation, once, however many samples were drawn."""
    n_completion_tokens: int | None = None
    """Tokens of all samples together."""
    latency_ms: float | None = None
    cost_usd: float | None = None
    """None where the price is unknown."""

    @classmethod
    def failed(cls, request: Request, failure: Failure) -> "Completion":
        """The answer to a request of which no sample could be had."""
        return cls(tuple(failure for _ in request.sample_indices))


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """What makes two engines give the same distribution: it enters the key of the request cache."""

    engine: str
    """`openai`, `transformers`, `vllm`, ..."""
    model: str
    """The model's name as the user gave it, without any secret."""
    revision: str | None = None
    """Hash of the weights or revision on the Hub, where known."""
    endpoint: str | None = None
    """Base URL of a server."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields that change the answers."""


class Engine(Protocol):
    """Samples from one model; whoever opens one closes it (`contextlib.closing`)."""

    @property
    def identity(self) -> EngineIdentity:
        """What it samples from; known before anything is loaded or sent."""
        ...

    def answer(self, requests: Iterable[Request | None]) -> Generator[tuple[Request, Completion] | None, None, None]:
        """Pulls requests as it has room for them, and yields each with its answer exactly once, in any order.

        A None among the requests says that the next one depends on an answer: the engine answers what it holds
        before it pulls again, and ends where it holds nothing.

        While it waits it may yield None, so that the caller can store what it holds, show progress, or stop. A
        caller that stops early closes the generator; what is in flight is dropped.
        """
        ...

    def close(self) -> None:
        """Gives back connections, threads and memory; called once, also after an error."""
        ...


def payload_hash(identity: EngineIdentity, messages: Iterable[Message], sampling: Sampling) -> str:
    """The cache key of a conversation: 32 hex characters over all that changes the answer, and nothing else.

    >>> who = EngineIdentity("openai", "m", endpoint="http://localhost:8000/v1")
    >>> a = payload_hash(who, [Message("user", "1 + 1?")], Sampling())
    >>> a == payload_hash(who, [Message("user", "1 + 1?")], Sampling()), len(a)
    (True, 32)
    >>> a == payload_hash(who, [Message("user", "1 + 2?")], Sampling())
    False
    """
    # A model in process is known by its weights: where its folder stands changes nothing that it says.
    is_known_by_revision = identity.revision is not None and identity.endpoint is None
    model = None if is_known_by_revision else identity.model
    payload = {
        "identity": [identity.engine, model, identity.revision, identity.endpoint, dict(identity.extra)],
        "messages": [[message.role, message.content] for message in messages],
        "sampling": [
            sampling.temperature,
            sampling.top_p,
            sampling.max_tokens,
            list(sampling.stop),
            sampling.seed,
        ],
    }
    if sampling.json_schema is not None:
        payload["json_schema"] = json.loads(sampling.json_schema)
    text = json.dumps(payload, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def split_reasoning(text: str) -> tuple[str | None, str]:
    r"""Takes reasoning between `<think>` tags from the front of a sampled text.

    Some chat templates open the tag in the prompt, so that the text holds only its end. A tag that is never closed
    leaves no text: the sample was truncated while reasoning.

    >>> split_reasoning("<think>2 and 2</think>\n\n4"), split_reasoning("4")
    (('2 and 2', '4'), (None, '4'))
    >>> split_reasoning("2 and 2</think>4"), split_reasoning("<think>2 and")
    (('2 and 2', '4'), ('2 and', ''))
    """
    before, closing, after = text.partition("</think>")
    if closing or before.lstrip().startswith("<think>"):
        return before.strip().removeprefix("<think>").strip(), after.lstrip()
    return None, text
