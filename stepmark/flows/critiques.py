"""Critiques for reward models that weigh them, written where they stand in training, token for token.

A text depends on what it is about, its number and the seed alone: not on what is asked beside it, nor on where an
interrupted job goes on.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.engines.decoding import LanguageModel, Row
from generator.engines.sampling import noise_key
from trainer.critiqued import Write
from trainer.models import load_tokenizer
from trainer.render import Renderer
from trainer.rows import Prompt

_BATCH_TOKENS = 32_768
"""Of the critiques written at once, what they are about counted; bounds memory."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """How critiques are sampled."""

    n: int = 8
    """Of each solution."""
    temperature: float = 0.5
    max_tokens: int = 256
    """Of one critique at most."""
    seed: int = 0


def critiques_by(critic: Path, sampled: Sampled, *, device: str = "cpu") -> Write:
    """Makes a function that lets a model write critiques: one of CLoud's first or third stage.

    Of a solution that leaves no room in the model's context, there is none.

    Args:
        critic: The model's folder.
        sampled: How many, and how.
        device: Where to compute: `cpu`, `cuda`.

    Raises:
        SettingsError: The model cannot be loaded.
    """
    renderer = Renderer(load_tokenizer(str(critic)), "cloud")
    end = renderer.critique_end
    model = LanguageModel(str(critic), device=device, ends=() if end is None else (end,))

    def write(solutions: Sequence[tuple[Prompt, str]]) -> list[list[str]]:
        rows: list[tuple[int, Row]] = []
        for number, (prompt, solution) in enumerate(solutions):
            opening = renderer.critique_opening(prompt, solution)
            room = sampled.max_tokens
            if model.context is not None:
                room = min(room, model.context - len(opening))
            if room > 0:
                rows += [(number, row) for row in _rows(opening, room, sampled)]
        found: list[list[str]] = [[] for _ in solutions]
        for batch in _batches(rows):
            for (number, _), drawn in zip(batch, model.draw([row for _, row in batch]), strict=True):
                found[number].append(drawn.text)
        return found

    return write


def _rows(opening: tuple[int, ...], max_tokens: int, sampled: Sampled) -> Iterator[Row]:
    whole = repr((sampled.seed, sampled.temperature, opening))
    key = hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()
    for index in range(sampled.n):
        yield Row(opening, noise_key(key, index), max_tokens=max_tokens, temperature=sampled.temperature, top_p=1.0)


def _batches(rows: Sequence[tuple[int, Row]]) -> Iterator[list[tuple[int, Row]]]:
    """Cuts rows into batches of openings of like length, those of one solution side by side."""
    batch: list[tuple[int, Row]] = []
    widest = 0
    for one in sorted(rows, key=lambda row: len(row[1].prompt), reverse=True):
        size = len(one[1].prompt) + one[1].max_tokens
        if batch and max(widest, size) * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch, widest = [], 0
        widest = max(widest, size)
        batch.append(one)
    if batch:
        yield batch
