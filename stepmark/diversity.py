"""How much the solutions of one problem differ: what falls when a model is trained on its own right answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .answers.key import answer_key

_EQUATION = re.compile(r"([^=<>\n]*)=")
_OPERATOR = re.compile(r"(?<=[\w)\]$%}])\s*([-+*/^×÷−·])\s*(?=[\w(\[$\\{.])|\\(times|cdot|div|frac)\b")
_SAME = {"×": "*", "·": "*", "times": "*", "cdot": "*", "÷": "/", "div": "/", "frac": "/", "−": "-"}
_WORDS_OF_GRAM = 4


@dataclass(frozen=True, slots=True)
class Diversity:
    """What differs among the solutions of a problem."""

    n: int
    n_texts: int
    n_answers: int
    """Of those that could be read; answers that are written differently and read alike are one."""
    n_operator_sequences: int
    distinct_4: float | None
    """Share of the word 4-grams of all solutions that are distinct (distinct-n, Li et al. 2016); None without any."""


def operator_sequence(steps: Sequence[str]) -> str:
    r"""The operators of a solution's equations in order, left of each `=`: which way it went, with other numbers.

    >>> operator_sequence(["She eats 3 + 4 = 7 of the 16.", r"16 - 7 = 9, and 9 \times 2 = 18"])
    '+-*'
    >>> operator_sequence(["There is a well-known rule."])
    ''
    """
    return "".join(
        _SAME.get(operator[1] or operator[2], operator[1] or operator[2])
        for step in steps
        for equation in _EQUATION.finditer(step)
        for operator in _OPERATOR.finditer(equation[1])
    )


def diversity_of(solutions: Sequence[tuple[str, str | None, Sequence[str]]]) -> Diversity:
    """Measures the solutions of one problem, each given as text, answer and steps.

    >>> diversity_of([("3 + 4 = 7", "7", ["3 + 4 = 7"]), ("4 + 3 = 7", "7", ["4 + 3 = 7"])])
    Diversity(n=2, n_texts=2, n_answers=1, n_operator_sequences=1, distinct_4=1.0)
    """
    grams: list[tuple[str, ...]] = []
    for text, _, _ in solutions:
        words = text.split()
        grams += (tuple(words[i : i + _WORDS_OF_GRAM]) for i in range(len(words) - _WORDS_OF_GRAM + 1))
    return Diversity(
        n=len(solutions),
        n_texts=len({text.strip() for text, _, _ in solutions}),
        n_answers=len({answer_key(answer) for _, answer, _ in solutions if answer is not None}),
        n_operator_sequences=len({operator_sequence(steps) for _, _, steps in solutions}),
        distinct_4=len(set(grams)) / len(grams) if grams else None,
    )
