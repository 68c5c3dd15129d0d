"""OpenAI's chat completions as data: the body of a call, and what an answer or a refusal says.

Pure: whoever sends the body and brings the answer (a call at a time, a batch service) is another module.
"""

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepmark.engine import Failure, Request, Sample, split_reasoning

_COUNTS = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call that brought nothing."""

    failure: Failure
    is_passing: bool = False
    """Whether asking again may help."""
    is_outage: bool = False
    """Whether the server itself may be gone."""
    retry_after_s: float | None = None
    """What the server asked us to wait."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A call that brought samples: one at least, perhaps fewer than asked, or more."""

    samples: list[Sample | Failure]
    usage: Mapping[str, Any]
    """Of `read_usage`."""

    @property
    def n_tokens(self) -> int | None:
        """Tokens of prompt and samples, where the server tells both."""
        used = [self.usage[name] for name in _COUNTS if name in self.usage]
        return sum(used) if len(used) == len(_COUNTS) else None


@dataclass(slots=True)
class Used:
    """What the calls of one request used."""

    n_prompt_tokens: int | None = None
    n_completion_tokens: int | None = None
    cost_usd: float | None = None

    def add(self, usage: Mapping[str, Any]) -> None:
        """Adds what one answer used, as `read_usage` gives it."""
        self.n_prompt_tokens = usage.get("prompt_tokens", self.n_prompt_tokens)
        if "completion_tokens" in usage:
            self.n_completion_tokens = (self.n_completion_tokens or 0) + usage["completion_tokens"]
        if "cost" in usage:
            self.cost_usd = (self.cost_usd or 0.0) + usage["cost"]


def chat_body(model: str, request: Request, payload_hash: str, indices: Sequence[int]) -> dict[str, Any]:
    """The body of the call that asks for these samples of a request."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "n": len(indices),
        # A seed of its own for each call, or the missing samples of a resumed run would repeat the others.
        "seed": call_seed(payload_hash, sampling.seed, indices[0]),
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.json_schema is not None:
        # vLLM takes this form too; its own `guided_json` it ignores without a word.
        body["response_format"] = _response_format(sampling.json_schema)
    if request.messages[-1].role == "assistant":
        body |= {"add_generation_prompt": False, "continue_final_message": True}
    return body


@functools.lru_cache(maxsize=64)
def _response_format(json_schema: str) -> dict[str, Any]:
    schema = {"name": "answer", "schema": json.loads(json_schema), "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def call_seed(payload_hash: str, seed: int, sample_index: int) -> int:
    """The seed of the call that asks for this sample and those after it.

    The cache key holds the sampling's own seed already; the keys of whoever uses an engine by itself need not.
    """
    digest = hashlib.blake2b(f"{payload_hash}/{seed}/{sample_index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1


def read_status(status: int, message: str, headers: Mapping[str, str]) -> Trouble:
    """Reads a refusal."""
    lower = message.lower()
    if status == 402 or (status == 429 and "insufficient_quota" in lower):
        return Trouble(Failure("quota", message, is_fatal=True))
    if status == 429:
        return Trouble(Failure("rate_limit", message), is_passing=True, retry_after_s=retry_after(headers))
    if status in (401, 403):
        return Trouble(Failure("auth", message, is_fatal=True))
    if status == 404:
        return Trouble(Failure("not_found", message, is_fatal=True))
    if status in (408, 409) or status >= 500:
        return Trouble(
            Failure("server_error", message),
            is_passing=True,
            is_outage=status in (502, 503, 504),  # what stands before a server that is gone says so
            retry_after_s=retry_after(headers),
        )
    if status == 413 or "context length" in lower or "context_length" in lower or "maximum context" in lower:
        return Trouble(Failure("too_long", message))
    return Trouble(Failure("bad_request", message))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks us to wait; its other form, a date, is left to our own waits.

    >>> retry_after({"retry-after": "1.5"}), retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})
    (1.5, None)
    """
    try:
        wait_s = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return wait_s if 0 <= wait_s < float("inf") else None


def read_answer(body: bytes) -> Drawn | Trouble:
    """Reads the body of an answer."""
    try:
        data = json.loads(body)
    except ValueError as err:
        return _no_completion(err, body[:200].decode(errors="replace"))
    return read_completion(data)


def read_completion(data: Any) -> Drawn | Trouble:
    """Reads a parsed body, whatever it is: its samples in the order of their `index`."""
    try:
        usage = read_usage(data.get("usage") or {})
        choices = sorted(data["choices"], key=lambda choice: int(choice.get("index") or 0))
        n_tokens = usage.get("completion_tokens") if len(choices) == 1 else None
        samples = [read_choice(choice, n_tokens) for choice in choices]
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        return _no_completion(err, json.dumps(data)[:200])
    if not samples:
        return Trouble(Failure("wrong_count", "the answer holds no choices"), is_passing=True)
    return Drawn(samples, usage)


def read_usage(given: Mapping[str, Any]) -> dict[str, Any]:
    """The `prompt_tokens`, `completion_tokens` and `cost` that a server tells; what is no such number is left out.

    Raises:
        AttributeError: It is no object.

    >>> read_usage({"prompt_tokens": 9, "completion_tokens": "many", "cost": float("nan"), "total_tokens": 9})
    {'prompt_tokens': 9}
    """
    usage = {name: n for name in _COUNTS if type(n := given.get(name)) is int and 0 <= n < 2**31}
    cost = given.get("cost")
    is_known = isinstance(cost, int | float) and not isinstance(cost, bool) and math.isfinite(cost)
    return usage | {"cost": cost} if is_known else usage


def _no_completion(err: Exception, start: str) -> Trouble:
    message = f"the answer is no chat completion ({type(err).__name__}: {err}): {start!r}"
    return Trouble(Failure("malformed", message), is_passing=True)


def read_choice(choice: Mapping[str, Any], n_tokens: int | None = None) -> Sample | Failure:
    """Reads one choice of so many tokens, where that is known; a refusal is a failure.

    >>> read_choice({"message": {"content": "7"}, "finish_reason": "stopped since the answer was complete"})
    Sample(text='7', finish_reason='stopped since the answer was com', n_tokens=None, reasoning=None)

    Raises:
        TypeError, KeyError, AttributeError: It is no choice.
    """
    message = choice["message"]
    # Two or three words are known; a server that says a sentence must not keep the answer from being stored.
    content, finish_reason = message.get("content"), str(choice.get("finish_reason") or "stop")[:32]
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if message.get("refusal") or finish_reason == "content_filter":
        return Failure("refused", str(message.get("refusal") or "the server's content filter took the answer"))
    if content is None and reasoning is not None and finish_reason == "length":
        content = ""  # cut off while it was still reasoning
    if not isinstance(content, str):
        raise TypeError(f"content is {content!r}")
    if reasoning is None:
        reasoning, content = split_reasoning(content)
    return Sample(content, finish_reason, n_tokens, reasoning)
