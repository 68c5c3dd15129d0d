"""Scoring by a reward model that weighs critiques: each solution by the mean over several critiques sampled for it.

CLoud (2408.11791) and GenRM (2408.15240) gain by averaging: each critique is one reading, and a mean of readings is
steadier than one. Critiques are sampled from an engine that is passed in; the model that scores is passed in, too.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

from stepmark.engine import Engine, Message, Request, Sample, Sampling, payload_hash
from stepmark.steps import SEPARATOR

from .render import CRITIQUE_OPENING
from .rows import Prompt, as_prompt
from .score import Scored

Ask = Callable[[Prompt, str], tuple[Message, ...]]
"""From prompt and solution to the conversation in which a critique is asked for."""

_WINDOW = 256
"""Solutions whose critiques are sampled at a time."""


class CritiqueScorer(Protocol):
    """What weighs critiques: `trainer.score.RewardModel` of a kind `critique-rm` or `cloud`."""

    kind: Any

    def score_critiqued(
        self, items: Iterable[tuple[Hashable, str | Prompt, Sequence[str], Sequence[str]]]
    ) -> Iterator[Scored]:
        """Scores solutions with critiques of them, each by the mean over its critiques."""


def ask_for_feedback(prompt: Prompt, solution: str) -> tuple[Message, ...]:
    """CLoud's question to its own model: the conversation, continued by the user's request for feedback."""
    turns = [Message(role, content) for role, content in prompt]
    return (*turns, Message("assistant", solution), Message("user", CRITIQUE_OPENING.rstrip()))


class CritiquedRewardModel:
    """Scores as `trainer.score.RewardModel` does, each solution by the mean over `n` critiques of it."""

    def __init__(
        self,
        model: CritiqueScorer,
        engine: Engine,
        *,
        n: int = 8,
        sampling: Sampling | None = None,
        ask: Ask = ask_for_feedback,
    ) -> None:
        """Takes what scores and what writes critiques; the caller closes the engine.

        Args:
            model: Weighs critiques.
            engine: Samples them.
            n: Critiques of each solution.
            sampling: How they are sampled.
            ask: The conversation in which one is asked for.
        """
        self.kind = model.kind
        self.n_critiques = 0
        """Critiques that were sampled."""
        self.failures: Counter[str] = Counter()
        """Critiques that could not be had, by kind of failure."""
        self._model, self._engine, self._n = model, engine, n
        self._sampling, self._ask = sampling or Sampling(), ask

    def score(self, items: Iterable[tuple[Hashable, str | Prompt, Sequence[str]]]) -> Iterator[Scored]:
        """Scores solutions in the order in which they came; one without any critique has no score and a reason."""
        iterator = iter(items)
        while window := list(islice(iterator, _WINDOW)):
            prompts = [as_prompt(prompt) if isinstance(prompt, str) else prompt for _, prompt, _ in window]
            critiques = self._critiques(
                [self._ask(prompt, SEPARATOR.join(one[2])) for prompt, one in zip(prompts, window, strict=True)]
            )
            self.n_critiques += sum(map(len, critiques))
            yield from self._model.score_critiqued(
                (key, prompt, segments, found)
                for prompt, (key, _, segments), found in zip(prompts, window, critiques, strict=True)
            )

    def _critiques(self, conversations: Sequence[tuple[Message, ...]]) -> list[list[str]]:
        """The critiques of each conversation; equal conversations are asked once."""
        keys = [payload_hash(self._engine.identity, messages, self._sampling) for messages in conversations]
        asked = dict(zip(keys, conversations, strict=True))
        requests = (Request(key, messages, self._sampling, tuple(range(self._n))) for key, messages in asked.items())
        found: dict[str, list[str]] = {key: [] for key in asked}
        for answer in self._engine.answer(requests):
            if answer is None:
                continue
            request, completion = answer
            for sample in completion.samples:
                if isinstance(sample, Sample):
                    found[request.key].append(sample.text)
                else:
                    self.failures[sample.kind] += 1
        return [found[key] for key in keys]
