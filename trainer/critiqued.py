"""A reward model that reads a critique with the solution, scored as the mean over several sampled critiques.

CLoud (2408.11791) and GenRM (2408.15240) gain by averaging: each critique is one reading, and a mean of readings is
steadier than one. Critiques are sampled from an engine that is passed in; the model that scores is passed in, too.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from stepmark.engine import Engine, Message, Request, Sample, Sampling, payload_hash
from stepmark.steps import SEPARATOR

from .evaluate.comparison import Scorer
from .rows import Prompt, as_prompt
from .score import Scored

FEEDBACK = (
    "The following is a break down on the correctness and usefulness of the assistant's response to my question: "
)
"""What stands before a critique in CLoud's layout."""

Ask = Callable[[Prompt, str], tuple[Message, ...]]
"""From prompt and solution to the conversation in which a critique is asked for."""

Layout = Callable[[Prompt, Sequence[str], str], tuple[Prompt, Sequence[str]]]
"""From prompt, segments and a critique to the prompt and segments that the model scores."""

_WINDOW = 256
"""Solutions whose critiques are sampled at a time."""


def cloud_layout(prompt: Prompt, segments: Sequence[str], critique: str) -> tuple[Prompt, Sequence[str]]:
    """CLoud's: the prompt, the solution as the assistant's turn, the critique as the user's; scored at the end.

    >>> cloud_layout((("user", "9 + 7?"),), ["16"], "Right.")[0][1:]
    (('assistant', '16'), ('user', "The following is a break down on the correctness and usefulness of the \
assistant's response to my question: Right."))
    """
    return (*prompt, ("assistant", SEPARATOR.join(segments)), ("user", FEEDBACK + critique)), [""]


def ask_for_feedback(prompt: Prompt, solution: str) -> tuple[Message, ...]:
    """CLoud's question to its own model: the conversation, continued by the user's request for feedback."""
    turns = [Message(role, content) for role, content in prompt]
    return (*turns, Message("assistant", solution), Message("user", FEEDBACK.rstrip(": ") + ":"))


class CritiquedRewardModel:
    """Scores as `trainer.score.RewardModel` does, each solution by the mean over `n` critiques of it."""

    def __init__(
        self,
        model: Scorer,
        engine: Engine,
        *,
        n: int = 8,
        sampling: Sampling | None = None,
        ask: Ask = ask_for_feedback,
        layout: Layout = cloud_layout,
    ) -> None:
        """Takes what scores and what writes critiques; the caller closes the engine.

        Args:
            model: Trained on critiques in `layout`.
            engine: Samples the critiques.
            n: Critiques of each solution.
            sampling: How they are sampled.
            ask: The conversation in which one is asked for.
            layout: How a critique stands beside its solution.
        """
        self.kind = model.kind
        self.n_critiques = 0
        """Critiques that were scored."""
        self.failures: Counter[str] = Counter()
        """Critiques that could not be had, by kind of failure."""
        self._model, self._engine, self._n = model, engine, n
        self._sampling, self._ask, self._layout = sampling or Sampling(), ask, layout

    def score(
        self, items: Iterable[tuple[Hashable, str | Prompt, Sequence[str]]], *, how: Any = "product"
    ) -> Iterator[Scored]:
        """Scores solutions in the order in which they came; one without any critique has no score and a reason."""
        iterator = iter(items)
        while window := list(islice(iterator, _WINDOW)):
            prompts = [as_prompt(prompt) if isinstance(prompt, str) else prompt for _, prompt, _ in window]
            critiques = self._critiques(
                [self._ask(prompt, SEPARATOR.join(one[2])) for prompt, one in zip(prompts, window, strict=True)]
            )
            laid_out = [
                (place, *self._layout(prompt, one[2], critique))
                for place, (prompt, one) in enumerate(zip(prompts, window, strict=True))
                for critique in critiques[place]
            ]
            found: list[list[Scored]] = [[] for _ in window]
            for scored in self._model.score(laid_out, how=how):
                found[scored.key].append(scored)
                self.n_critiques += scored.score is not None
            for (key, _, _), of_item in zip(window, found, strict=True):
                yield _mean(key, of_item)

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


def _mean(key: Hashable, scored: Sequence[Scored]) -> Scored:
    values = [one.score for one in scored if one.score is not None]
    if not values:
        return Scored(key, None, reason=scored[0].reason if scored else "no critique")
    steps = [one.step_scores for one in scored if one.score is not None]
    n = len(values)
    means = tuple(math.fsum(column) / n for column in zip(*steps, strict=True))
    return Scored(key, math.fsum(values) / n, means)
