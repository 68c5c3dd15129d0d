"""How fast a server may be asked: calls in flight, requests and tokens per minute.

Pure: it is told what happens and what time it is, and says when the next call may start. The calls in flight follow
the server (additive growth, halved when it refuses); the two rates are the user's own limits.
"""

import math
import re
from dataclasses import dataclass

_CUT = 0.5
_GROWTH = 0.05
"""Per round (as many answers as calls in flight), as a share of the last size that was refused."""
_SLOWER_BEYOND = 0.1
"""How much slower the window grows from the last refused size on."""
_GROWS_AGAIN_AFTER_S = 5.0
"""After a trouble that is no refusal, the window keeps its size for so long."""
_LONGEST_PAUSE_S = 30.0
_TOKEN_BURST_S = 6.0
"""Tokens of so long a time may be used at once: estimates that prove too high come back in bursts."""
_QUEUE_SHARE = 0.1
"""A vLLM server is kept with about so many calls waiting for each one that runs: enough to fill every gap."""


class Window:
    """How many calls may be in flight, between 1 and a ceiling.

    It starts at the ceiling, since that is what the user believes in. A refusal (429) halves what was in flight,
    once for all calls that had been started by then: they met the same limit. It grows again by a twentieth of the
    refused size per round of answers, and ten times more slowly once it is back there.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.n_in_flight = 0
        self._size = float(ceiling)
        self._refused_size = float(ceiling)
        self._cut_at = -math.inf
        self._steady_until = -math.inf

    @property
    def size(self) -> int:
        """Calls that may be in flight now."""
        return int(self._size)

    def grow(self, now: float) -> None:
        """Takes note of an answer, while its call is still counted in flight."""
        if now < self._steady_until or self.n_in_flight < self.size:
            return  # a window that is not filled shows nothing
        step = max(1.0, _GROWTH * self._refused_size) / self._size
        if self._size >= self._refused_size - 0.5:
            step *= _SLOWER_BEYOND
        self._size = min(self._size + step, float(self.ceiling))

    def cut(self, sent_at: float, now: float) -> bool:
        """Takes note of a refusal, its call still counted; returns whether it is the first of its burst."""
        if sent_at <= self._cut_at:
            return False
        self._refused_size = float(min(self.size, max(self.n_in_flight, 1)))
        self._size = max(1.0, self._refused_size * _CUT)
        self._cut_at = now
        return True

    def hold(self, now: float) -> None:
        """Takes note of a server in trouble (5xx, a lost connection): no growth for a while."""
        self._steady_until = now + _GROWS_AGAIN_AFTER_S

    def follow(self, n_running: float, n_waiting: float) -> None:
        """Takes note of a server's own queue, in samples: what only waits there is taken back."""
        wanted = max(1.0, _QUEUE_SHARE * n_running)
        if n_waiting > 2 * wanted:
            share = (n_running + wanted) / (n_running + n_waiting)
            self._size = max(1.0, min(self._size, max(self.n_in_flight, 1) * share))
        elif n_waiting < wanted and self.n_in_flight >= self.size:
            self._size = min(self._size + max(1.0, wanted), float(self.ceiling))


class Rate:
    """A token bucket: so much per minute, evenly, with little or nothing at once.

    What is taken may exceed what is there; the next taker waits until the debt is paid. So amounts of any size
    pass, and an estimate can be corrected afterwards.
    """

    def __init__(self, per_minute: float, burst_s: float = 0.0) -> None:
        self._per_s = per_minute / 60.0
        self._burst_s = burst_s
        self._free_at = -math.inf
        """When all that was taken is paid."""

    def wait_s(self, now: float) -> float:
        """Seconds until something may be taken."""
        return max(0.0, self._free_at - now)

    def take(self, amount: float, now: float) -> None:
        """Takes an amount."""
        if self._free_at == -math.inf:
            self._free_at = now
        self._free_at = max(self._free_at, now - self._burst_s) + amount / self._per_s

    def give_back(self, amount: float) -> None:
        """Returns what was taken and not used; a negative amount takes what was used beyond."""
        self._free_at -= amount / self._per_s


class TokenGuess:
    """How many tokens a call will use, learnt from those before."""

    def __init__(self) -> None:
        self._n_chars = self._n_prompt_tokens = 0
        self._n_samples = self._n_sampled_tokens = 0

    def guess(self, n_chars: int, n_samples: int, max_tokens: int) -> int:
        """Tokens of a prompt of `n_chars` and of its samples; as much as they can be while nothing is known."""
        per_char = self._n_prompt_tokens / self._n_chars if self._n_chars else 0.25
        per_sample = self._n_sampled_tokens / self._n_samples if self._n_samples else max_tokens
        return math.ceil(n_chars * per_char + n_samples * min(per_sample, max_tokens))

    def learn(self, n_chars: int, n_samples: int, n_prompt_tokens: int, n_sampled_tokens: int) -> None:
        """Takes note of what a call used."""
        self._n_chars += n_chars
        self._n_prompt_tokens += n_prompt_tokens
        self._n_samples += n_samples
        self._n_sampled_tokens += n_sampled_tokens


@dataclass(frozen=True, slots=True)
class Started:
    """A call in flight."""

    at: float
    n_tokens: int
    """As guessed."""


class Pace:
    """When the next call may start, all limits together."""

    def __init__(
        self,
        ceiling: int,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        first_pause_s: float = 0.5,
    ) -> None:
        """Starts with nothing in flight.

        Args:
            ceiling: Calls in flight at most.
            requests_per_minute: None: no limit.
            tokens_per_minute: Of prompts and samples; None: no limit.
            first_pause_s: After a refusal that does not say for how long; doubled with each further one.
        """
        self.window = Window(ceiling)
        self._requests = None if requests_per_minute is None else Rate(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else Rate(tokens_per_minute, _TOKEN_BURST_S)
        self._first_pause_s = first_pause_s
        self._n_cuts = 0
        """In a row, without an answer between."""
        self._paused_until = -math.inf

    def wait_s(self, now: float) -> float:
        """Seconds until a call may start; infinite while only a call that ends makes room."""
        if self.window.n_in_flight >= self.window.size:
            return math.inf
        rates = (rate.wait_s(now) for rate in (self._requests, self._tokens) if rate is not None)
        return max(0.0, self._paused_until - now, *rates)

    def start(self, n_tokens: int, now: float) -> Started:
        """Counts a call in; `n_tokens` is what it will use, as far as one can tell."""
        self.window.n_in_flight += 1
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(n_tokens, now)
        return Started(now, n_tokens)

    def answered(self, call: Started, now: float, n_tokens: int | None = None) -> None:
        """Counts a call out that brought an answer; `n_tokens` is what it used, None where the server tells not."""
        self._n_cuts = 0
        self.window.grow(now)
        self._end(call, call.n_tokens if n_tokens is None else n_tokens)

    def refused(self, call: Started, now: float, retry_after_s: float | None = None) -> None:
        """Counts a call out that the server refused for being one too many (429)."""
        if self.window.cut(call.at, now):
            pause_s = min(self._first_pause_s * 2**self._n_cuts, _LONGEST_PAUSE_S)
            self._n_cuts = min(self._n_cuts + 1, 16)
            self._paused_until = max(self._paused_until, now + pause_s)
        if retry_after_s is not None:
            self._paused_until = max(self._paused_until, now + retry_after_s)
        self._end(call, 0)

    def troubled(self, call: Started, now: float) -> None:
        """Counts a call out that brought nothing for another reason."""
        self.window.hold(now)
        self._end(call, 0)

    def dropped(self, call: Started) -> None:
        """Counts a call out that nobody waits for any more."""
        self._end(call, 0)

    def _end(self, call: Started, n_tokens: int) -> None:
        self.window.n_in_flight -= 1
        if self._tokens is not None:
            self._tokens.give_back(call.n_tokens - n_tokens)


_VLLM_GAUGE = re.compile(
    r"^vllm:num_requests_(running|waiting)(?:\{[^\n]*\})? (\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)$", re.MULTILINE
)


def read_vllm_queue(metrics: str) -> tuple[float, float] | None:
    r"""Reads how many samples a vLLM server draws, and how many wait, from what it tells under `/metrics`.

    Several engines behind one server are taken together; None where it tells nothing of the kind.

    >>> read_vllm_queue('vllm:num_requests_running{engine="0"} 8.0\nvllm:num_requests_waiting{engine="0"} 3.0\n')
    (8.0, 3.0)
    >>> read_vllm_queue("process_open_fds 12.0\n")
    """
    sums: dict[str, float] = {}
    for name, value in _VLLM_GAUGE.findall(metrics):
        sums[name] = sums.get(name, 0.0) + float(value)
    return (sums.get("running", 0.0), sums["waiting"]) if "waiting" in sums else None
