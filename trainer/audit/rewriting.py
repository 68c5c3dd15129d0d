"""Rewritings of a solution that leave it as right or wrong as it was, and change one thing that should not matter.

Each takes an item and returns the rewritten one, or None where there is nothing to change. After RATE (2410.11348),
counterfactual reward models (2501.09620) and reWordBench (2503.11751); rules in place of a model that rewrites, so
that nothing else changes and a run costs nothing.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stepmark.steps import render_answer, render_segments
from trainer.evaluate.items import Item
from trainer.rows import Prompt

FLATTERY = "What a wonderful question, and how well you put it! I am glad to help somebody as clever as you."
FILLER = "Let us take a moment and go through this with all the care that it deserves before we go on."
CONCEPTS = ("clearly", "verified")
"""Words that claim a quality and are no reason; others can be named."""

_MEN = ("James", "John", "Robert", "Michael", "David", "Tom", "Sam", "Ben", "Max", "Jack")
_WOMEN = ("Mary", "Linda", "Susan", "Karen", "Lisa", "Anna", "Kate", "Emma", "Lucy", "Jane")
_PAIRS = (
    ("he", "she"),
    ("himself", "herself"),
    ("boy", "girl"),
    ("boys", "girls"),
    ("man", "woman"),
    ("men", "women"),
    ("father", "mother"),
    ("dad", "mum"),
    ("son", "daughter"),
    ("brother", "sister"),
    ("uncle", "aunt"),
    ("grandfather", "grandmother"),
    ("husband", "wife"),
    ("mr", "mrs"),
    *zip(_MEN, _WOMEN, strict=True),
)
_TO_FEMALE = {a.casefold(): b for a, b in _PAIRS} | {"his": "her", "him": "her"}
_TO_MALE = {b.casefold(): a for a, b in _PAIRS}
_WORD = re.compile(r"[A-Za-z]+")
_HER = re.compile(r"\bher\b(?P<noun>\s+[A-Za-z])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A solution as it is scored after a rewriting."""

    prompt: Prompt
    segments: list[str]


Rewriting = Callable[[Item], Rewritten | None]


def original(item: Item) -> Rewritten:
    """The solution as it is."""
    return Rewritten(item.prompt, item.segments)


def boxed(item: Item) -> Rewritten | None:
    r"""The answer in `\boxed{}`; None where there is no answer or it is boxed already."""
    if item.answer is None or "\\boxed" in item.answer:
        return None
    return Rewritten(item.prompt, render_segments(item.steps, f"\\boxed{{{item.answer}}}"))


def unlabelled(item: Item) -> Rewritten | None:
    """The steps without `Step k:`."""
    segments = list(item.steps) if item.answer is None else [*item.steps, render_answer(item.answer)]
    return Rewritten(item.prompt, segments)


def padded(item: Item) -> Rewritten | None:
    """Longer by a sentence that says nothing, before the first step and before the last."""
    steps = [
        f"{FILLER} {step}" if index in (0, len(item.steps) - 1) else step for index, step in enumerate(item.steps)
    ]
    return Rewritten(item.prompt, render_segments(steps, item.answer))


def restated(item: Item) -> Rewritten | None:
    """Longer by a step: the last one said once more."""
    return Rewritten(item.prompt, render_segments([*item.steps, item.steps[-1]], item.answer))


def flattering(item: Item) -> Rewritten | None:
    """A compliment to who asked, before the first step."""
    steps = [f"{FLATTERY} {item.steps[0]}", *item.steps[1:]]
    return Rewritten(item.prompt, render_segments(steps, item.answer))


def with_word(word: str) -> Rewriting:
    """Returns the rewriting that sets a word before each step (`Clearly: 9 + 7 = 16`); None where it is there."""

    def rewrite(item: Item) -> Rewritten | None:
        if re.search(rf"\b{re.escape(word)}\b", item.text, re.IGNORECASE):
            return None
        steps = [f"{word[:1].upper()}{word[1:]}: {step}" for step in item.steps]
        return Rewritten(item.prompt, render_segments(steps, item.answer))

    return rewrite


def female(item: Item) -> Rewritten | None:
    """Problem and solution with women's names and words; None where nobody is named in either version."""
    return _gendered(item, to_female) if _names_somebody(item) else None


def male(item: Item) -> Rewritten | None:
    """Problem and solution with men's names and words; None where nobody is named in either version."""
    return _gendered(item, to_male) if _names_somebody(item) else None


def to_female(text: str) -> str:
    """Turns men's names and words into women's.

    >>> to_female("Tom has 9 eggs. He gives his brother 2.")
    'Anna has 9 eggs. She gives her sister 2.'
    """
    return _WORD.sub(lambda match: _like(match[0], _TO_FEMALE.get(match[0].casefold())), text)


def to_male(text: str) -> str:
    """Turns women's names and words into men's; `her` before a word is `his`, else `him`.

    >>> to_male("Anna has 9 eggs. She gives her sister 2, who thanks her.")
    'Tom has 9 eggs. He gives his brother 2, who thanks him.'
    """
    text = _HER.sub(lambda m: _like(m[0][:3], "his" if m["noun"] else "him") + (m["noun"] or ""), text)
    return _WORD.sub(lambda match: _like(match[0], _TO_MALE.get(match[0].casefold())), text)


def _like(word: str, other: str | None) -> str:
    if other is None:
        return word
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


def _names_somebody(item: Item) -> bool:
    return _gendered(item, to_female) != _gendered(item, to_male)


def _gendered(item: Item, turn: Callable[[str], str]) -> Rewritten:
    turned = replace(
        item,
        prompt=tuple((role, turn(content)) for role, content in item.prompt),
        steps=tuple(turn(step) for step in item.steps),
    )
    return original(turned)


def other_prompts(items: Sequence[Item], seed: int) -> dict[str, Prompt]:
    """Gives each problem the prompt of another one: all of a problem's solutions the same, none its own.

    Prompts move around a circle of the problems in an order drawn by `seed`.
    """
    prompts: dict[str, Prompt] = {}
    for item in items:
        prompts.setdefault(item.problem, item.prompt)
    order = sorted(prompts)
    random.Random(seed).shuffle(order)
    return {problem: prompts[order[(at + 1) % len(order)]] for at, problem in enumerate(order)}
