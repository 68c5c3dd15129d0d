"""An engine for tests: answers by a function of the question, and counts what it was asked."""

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable

from stepmark.engine import Completion, EngineIdentity, Failure, Request, Sample

Reply = Callable[[Request, int], Sample | Failure | str]
"""From a request and a sample index to the sample, or to its text."""


class ScriptedEngine:
    """Holds up to `window` requests, and answers the oldest (or, `last_first`, the youngest) of them first."""

    def __init__(self, reply: Reply, *, window: int = 4, last_first: bool = False, model: str = "scripted") -> None:
        self.identity = EngineIdentity("scripted", model)
        self.asked: Counter[tuple[str, int]] = Counter()
        """Times that each sample was asked for, by the last message's text and the sample's index."""
        self.most_held = 0
        self._reply = reply
        self._window = window
        self._last_first = last_first

    def answer(self, requests: Iterable[Request | None]) -> Generator[tuple[Request, Completion] | None, None, None]:
        held: deque[Request] = deque()
        coming = iter(requests)
        while True:
            while len(held) < self._window and (request := next(coming, None)) is not None:
                held.append(request)
            if not held:
                return
            self.most_held = max(self.most_held, len(held))
            request = held.pop() if self._last_first else held.popleft()
            yield request, self._completion(request)

    def close(self) -> None:
        pass

    def _completion(self, request: Request) -> Completion:
        samples = []
        for index in request.sample_indices:
            self.asked[request.messages[-1].content, index] += 1
            found = self._reply(request, index)
            samples.append(Sample(found, "stop", 10) if isinstance(found, str) else found)
        n_tokens = sum(one.n_tokens or 0 for one in samples if isinstance(one, Sample))
        return Completion(tuple(samples), n_prompt_tokens=20, n_completion_tokens=n_tokens)
