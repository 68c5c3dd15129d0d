"""Runs inside the sandbox, by its text: executes a model's program and says what it does. Imports no stepmark.

Reads one JSON object from standard input: `program`, its source; `seeds`, by each of which one set of numbers is
drawn; `cases`, sets of numbers to be solved. Writes one JSON line: `statement`, `defaults`, `answer`, `draws`
(values with their answer, or null), `unused` (parameters that never change the answer), `answers` (of the cases).
Numbers travel as text. The program may do as it likes here: nothing that it says is taken on trust.
"""

import contextlib
import inspect
import json
import random
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any


def encode(value: Any) -> str:
    """A number as text: `Fraction` reads it back."""
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction | Decimal):
        raise TypeError(f"{value!r} is no number")
    if isinstance(value, float | Decimal) and value == int(value):
        value = int(value)
    return str(value)


def decode(text: str, default: Any) -> int | float:
    """A number as the program expects it: whole where it is, unless its default is a float."""
    value = Fraction(text)
    return float(value) if isinstance(default, float) or value.denominator != 1 else value.numerator


def attempt(work: Callable[[], Any]) -> Any:
    """What `work` returns; None where it fails."""
    try:
        return work()
    except Exception:
        return None


def describe(asked: dict[str, Any]) -> dict[str, Any]:
    """Executes the program and works out all that was asked."""
    program: dict[str, Any] = {"__name__": "program"}
    exec(compile(asked["program"], "<program>", "exec"), program)
    solve, generate = program["solve"], program["generate"]
    defaults = {name: parameter.default for name, parameter in inspect.signature(solve).parameters.items()}
    answer = attempt(lambda: encode(solve()))

    def draw(seed: str) -> dict[str, Any]:
        values = dict(generate(random.Random(seed)))
        return {"values": {name: encode(value) for name, value in values.items()}, "answer": encode(solve(**values))}

    def matters(name: str) -> bool:
        """Whether a drawn number in the place of this one alone gives another answer; true if none is drawn."""
        others = {drawn["values"].get(name) for drawn in draws if drawn} - {None, encode(defaults[name])}
        tried = [attempt(lambda: encode(solve(**{name: decode(other, defaults[name])}))) for other in sorted(others)]  # noqa: B023
        return not tried or any(found != answer for found in tried)

    def answer_to(case: dict[str, str]) -> str:
        return encode(solve(**{name: decode(text, defaults[name]) for name, text in case.items()}))

    draws = [attempt(lambda: draw(seed)) for seed in asked["seeds"]]  # noqa: B023
    return {
        "statement": str(program["STATEMENT"]),
        "defaults": {name: encode(value) for name, value in defaults.items()},
        "answer": answer,
        "draws": draws,
        "unused": [name for name in defaults if not matters(name)],
        "answers": [attempt(lambda: answer_to(case)) for case in asked["cases"]],  # noqa: B023
    }


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = describe(json.load(sys.stdin))
    print(json.dumps(found))
