"""Scoring by a reward model that weighs critiques: each solution by the mean over several critiques of it.

CLoud (2408.11791) and GenRM (2408.15240) gain by averaging: each critique is one reading, and a mean of readings is
steadier than one. What writes critiques is passed in, as is the model that scores.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol

from stepmark.steps import SEPARATOR

from .rows import Prompt, as_prompt
from .score import Scored, solution_digest

Write = Callable[[Sequence[tuple[Prompt, str]]], list[list[str]]]
"""From prompts and solutions to the critiques of each; none where none could be written."""

_WINDOW = 256
"""Solutions whose critiques are written at a time."""


class CritiqueScorer(Protocol):
    """What weighs critiques: `trainer.score.RewardModel` of a kind `critique-rm` or `cloud`."""

    kind: Any

    def score_critiqued(
        self, items: Iterable[tuple[Hashable, str | Prompt, Sequence[str], Sequence[str]]]
    ) -> Iterator[Scored]:
        """Scores solutions with critiques of them, each by the mean over its critiques."""


def usable(critiques: Iterable[str]) -> list[str]:
    r"""The critiques that say anything, without blanks around them.

    >>> usable(["It holds.\n", " "])
    ['It holds.']
    """
    return [text.strip() for text in critiques if text.strip()]


class CritiquedRewardModel:
    """Scores as `trainer.score.RewardModel` does, each solution by the mean over critiques of it."""

    def __init__(self, model: CritiqueScorer, write: Write) -> None:
        """Takes what scores and what writes critiques."""
        self.kind = model.kind
        self.n_critiques = 0
        """Critiques that were written."""
        self.n_forwarded = 0
        """Solutions of which critiques were asked for; repeated ones are not."""
        self._model, self._write = model, write
        self._known: dict[bytes, Scored] = {}

    def score(
        self, items: Iterable[tuple[Hashable, str | Prompt, Sequence[str]]], *, how: Any = "product"
    ) -> Iterator[Scored]:
        """Scores solutions in the order in which they came; one without any critique has no score and a reason.

        Each (prompt, segments) is criticised once while this object lives. `how` is for models of steps.
        """
        iterator = iter(items)
        while window := list(islice(iterator, _WINDOW)):
            digests = [solution_digest(prompt, segments) for _, prompt, segments in window]
            new: dict[bytes, tuple[Prompt, Sequence[str]]] = {}
            for digest, (_, prompt, segments) in zip(digests, window, strict=True):
                if digest not in self._known:
                    new[digest] = (as_prompt(prompt) if isinstance(prompt, str) else prompt, segments)
            asked = [(prompt, SEPARATOR.join(segments)) for prompt, segments in new.values()]
            written = [usable(found) for found in self._write(asked)] if asked else []
            self.n_forwarded += len(new)
            self.n_critiques += sum(map(len, written))
            for scored in self._model.score_critiqued(
                (digest, prompt, segments, critiques)
                for (digest, (prompt, segments)), critiques in zip(new.items(), written, strict=True)
            ):
                assert isinstance(scored.key, bytes)
                self._known[scored.key] = scored
            for digest, (key, _, _) in zip(digests, window, strict=True):
                yield replace(self._known[digest], key=key)
