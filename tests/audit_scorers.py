"""Scorers with known tastes, and solutions for them: what an audit must find, and where it must stay quiet."""

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from stepmark.steps import SEPARATOR
from trainer.evaluate.items import Item
from trainer.score import Scored, aggregate

Taste = Callable[[str, list[str]], float]
"""From the problem's text and the segments to what is added to the logit."""

_NAMES = ("Tom", "Anna", "Sam", "Lucy", "Ben", "Kate")
_ASIDES = ("Let us add.", "We add the two numbers that we have.", "Adding comes next, as so often.")


class Tasteful:
    """Knows the truth (the answer against the sum that was asked for), blurs it, and adds its taste."""

    def __init__(self, taste: Taste | None = None, *, kind: str = "orm", noise: float = 1.0, seed: int = 0) -> None:
        self.kind = kind
        self._taste, self._noise, self._seed = taste or (lambda prompt, segments: 0.0), noise, seed

    def score(self, items: Any, *, how: Any = "product") -> Iterator[Scored]:
        for key, prompt, segments in items:
            text = prompt if isinstance(prompt, str) else SEPARATOR.join(content for _, content in prompt)
            if self.kind == "prm":
                steps = self.steps(text, list(segments))
                yield Scored(key, aggregate(steps, how), tuple(steps))
                continue
            x = 2.0 * self.is_right(text, segments) - 1 + self._taste(text, list(segments))
            x += self._noise * self.gauss(text, *segments)
            yield Scored(key, x if self.kind == "bt" else 1 / (1 + math.exp(-x)))

    def steps(self, text: str, segments: list[str]) -> list[float]:
        """P(right) of each segment: low from the first false equation on."""
        broken = False
        out = []
        for index, segment in enumerate(segments):
            broken = broken or not _equations_hold(segment)
            x = (-2.0 if broken else 2.0) + self._noise * self.gauss(text, *segments[: index + 1])
            out.append(1 / (1 + math.exp(-x - self._taste(text, segments[: index + 1]))))
        return out

    def is_right(self, text: str, segments: list[str]) -> bool:
        numbers = [int(n) for n in re.findall(r"\d+", text)]
        said = re.findall(r"\d+", segments[-1])
        return bool(numbers) and bool(said) and int(said[-1]) == sum(numbers)

    def gauss(self, *texts: str) -> float:
        digest = hashlib.sha256(f"{self._seed}|{'|'.join(texts)}".encode()).digest()
        return Random(digest).gauss(0.0, 1.0)


def _equations_hold(segment: str) -> bool:
    return all(int(a) + int(b) == int(c) for a, b, c in re.findall(r"(\d+) \+ (\d+) = (\d+)", segment))


def sums(n_problems: int, *, n_solutions: int = 8, seed: int = 0) -> list[Item]:
    """Sums of four numbers in a small story; half of the solutions have one false equation somewhere.

    Length and correctness are drawn apart from each other.
    """
    rng = Random(seed)
    items = []
    for number in range(n_problems):
        name = _NAMES[number % len(_NAMES)]
        terms = [rng.randint(11, 99) for _ in range(4)]
        asked = f"{name} has {terms[0]} beans and gets {terms[1]}, {terms[2]} and {terms[3]} more. How many then?"
        for _ in range(n_solutions):
            false_at = rng.randrange(3) if rng.random() < 0.5 else None
            total, steps = terms[0], []
            for index, term in enumerate(terms[1:]):
                result = total + term + (rng.choice((-10, -1, 1, 10)) if index == false_at else 0)
                aside = " ".join(rng.choice(_ASIDES) for _ in range(rng.randint(0, 3)))
                steps.append(f"{aside} {total} + {term} = {result}".strip())
                total = result
            labels = [1.0] * 4 if false_at is None else [1.0] * false_at + [0.0]
            items.append(
                Item(
                    f"problem-{number}", (("user", asked),), tuple(steps), str(total), false_at is None, tuple(labels)
                )
            )
    return items
