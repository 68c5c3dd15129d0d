"""Chains carried to a variant in few tokens: what a small critic is asked, what it should write, how that is read.

The critic is told which number of the problem becomes which in the variant (`9>4,7>3`), and the solution; no words,
so that it cannot solve the variant, only apply the chain. It writes each step as it is worked out on the problem and,
behind a `>`, on the variant: `Step 1: 9 + 7 = 16>4 + 3 = 7`. Both are written as in a solution, so that arithmetic
is learnt once. The result on the problem is worked out anew, not copied: a slip shows where its value is used next,
as a number from nowhere. What cannot be carried is written `?`, and the critique ends there.

The domain's own rule only: `stepmark.replay` carries any solution, and says the same where both can tell.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stepmark.steps import SEPARATOR, render_solution

from .checker import read_step
from .problems import Equation, Operator

CarriedVerdict = Literal["pass", "fail", "not carried", "unreadable"]
"""What the verifier makes of a critique: it reaches the variant's answer; it reaches another; it stops at something
that cannot be carried; it is no critique. All but the first reject the solution."""

LARGEST_CARRIED = 99
"""Results over this, and those that are negative or not whole, cannot be carried: they have no token of their own."""

_NUMBER = re.compile(r"[0-9]+")
_END = re.compile(r"(?:Step ([0-9]{1,2})|# Answer)[^\n]*(?:\n\n[^\n]*)?\?\Z")
_STEP = re.compile(r"^Step ([0-9]{1,2}): ([^>\n]*)>?([^>\n]*)$", re.MULTILINE)
_ANSWER = re.compile(r"(?:\A|\n\n)# Answer\n\n[0-9]{1,2}>([0-9]{1,2})\Z")


@dataclass(frozen=True, slots=True)
class CarriedChain:
    """A chain as a faithful critic carries it."""

    text: str
    answer: str | None
    """What it reaches on the variant; None where it cannot be carried to its end."""
    is_ambiguous: bool
    """Whether it ends because a number may come from two places; nothing is to be learnt from that."""


def critic_question(statement: str, steps: Sequence[str], answer: str | None, variant: str) -> str:
    r"""What the critic is asked: the numbers of problem and variant in pairs, and the solution; no words, no answer.

    The 2 of a half stays as it is.

    >>> critic_question("9 and 7?", ["9 + 7 = 16"], "16", "4 and 3?")
    '9>4,7>3\n\nStep 1: 9 + 7 = 16\n\n# Answer\n\n16'
    >>> critic_question("Half of 8?", ["8 / 2 = 4"], "4", "Half of 6?")
    '8>6,2>2\n\nStep 1: 8 / 2 = 4\n\n# Answer\n\n4'

    Raises:
        ValueError: The variant has other words.
    """
    if _NUMBER.sub("#", statement) != _NUMBER.sub("#", variant):
        raise ValueError(f"{variant!r} is no variant of {statement!r}: it has other words")
    pairs = ",".join(f"{one}>{other}" for one, other in _pairs(statement, variant))
    return SEPARATOR.join((pairs, render_solution(steps, answer)))


def judge_question(statement: str, steps: Sequence[str], answer: str | None) -> str:
    """What a judge is asked who reads problem and solution, and applies nothing."""
    return SEPARATOR.join((statement, render_solution(steps, answer)))


def carry_chain(statement: str, steps: Sequence[str], answer: str | None, variant: str) -> CarriedChain:
    r"""Carries a chain over, wrong rule and all, and writes it down as a critic should.

    >>> carry_chain("Mia has 9 nuts and 7.", ["9 + 7 = 16"], "16", "Mia has 4 nuts and 3.").text
    'Step 1: 9 + 7 = 16>4 + 3 = 7\n\n# Answer\n\n16>7'
    >>> carry_chain("Mia has 9 nuts and 7.", ["9 + 7 = 15"], "15", "Mia has 4 nuts and 3.").text
    'Step 1: 9 + 7 = 16>4 + 3 = 7\n\n# Answer\n\n15>?'
    """
    places: dict[int, set[int]] = {}
    for one, other in _pairs(statement, variant):
        places.setdefault(one, set()).add(other)
    parts = list[str]()
    for number, step in enumerate(steps, 1):
        equation = read_step(step)
        if equation is None:
            return _stopped(parts, f"Step {number}: ?")
        left, operator, right = equation.left, equation.operator, equation.right
        result = worked_out(left, operator, right)
        begun = f"Step {number}: {left} {operator} {right} = "
        if result is None:
            return _stopped(parts, f"{begun}?")
        begun += f"{result}>"
        moved = list[int]()
        for value, sign in ((left, f" {operator} "), (right, " = ")):
            found = places.get(value, set())
            if len(found) != 1:
                return _stopped(parts, f"{begun}?", is_ambiguous=len(found) > 1)
            moved += found
            begun += f"{moved[-1]}{sign}"
        other_result = worked_out(moved[0], operator, moved[1])
        if other_result is None:
            return _stopped(parts, f"{begun}?")
        places.setdefault(result, set()).add(other_result)
        parts.append(f"{begun}{other_result}")
    final = None if answer is None or not answer.isdecimal() else int(answer)
    found = places.get(final, set()) if final is not None else set()
    end = f"# Answer{SEPARATOR}{answer}>"
    if len(found) != 1:
        return _stopped(parts, f"{end}?", is_ambiguous=len(found) > 1)
    reached = str(found.pop())
    return CarriedChain(SEPARATOR.join((*parts, end + reached)), reached, is_ambiguous=False)


def worked_out(left: int, operator: Operator, right: int) -> int | None:
    """The result of one step; None where it is negative, not whole, or too large.

    >>> worked_out(9, "/", 2), worked_out(8, "/", 2), worked_out(3, "-", 9)
    (None, 4, None)
    """
    if operator == "/":
        if right == 0 or left % right:
            return None
        result = left // right
    else:
        result = {"+": left + right, "-": left - right, "*": left * right}[operator]
    return result if 0 <= result <= LARGEST_CARRIED else None


def carried_equation(left: int, operator: Operator, right: int) -> Equation | None:
    """A step with its result; None where `worked_out` has none."""
    result = worked_out(left, operator, right)
    return None if result is None else Equation(left, operator, right, result)


def carried_answer(critique: str) -> str | None:
    r"""The answer on the variant that a critique ends in; None where it has none.

    >>> carried_answer("Step 1: 9 + 7 = 16>4 + 3 = 7\n\n# Answer\n\n16>7")
    '7'
    """
    match = _ANSWER.search(critique.strip())
    return None if match is None else match[1]


def verdict_of_carried(critique: str, gold: str) -> CarriedVerdict:
    r"""Holds a critique against the variant's own answer.

    >>> verdict_of_carried("# Answer\n\n16>7", "7"), verdict_of_carried("# Answer\n\n16>?", "7")
    ('pass', 'not carried')
    """
    answer = carried_answer(critique)
    if answer is None:
        return "not carried" if _END.search(critique.strip()) else "unreadable"
    return "pass" if answer == gold else "fail"


def written_out(critique: str, gold: str) -> str:
    r"""A critique as a critic with a prompt writes it: on the variant alone, and with the verifier's verdict.

    What is no critique is given back as it is.

    >>> print(written_out("Step 1: 9 + 7 = 16>4 + 3 = 7\n\n# Answer\n\n16>7", "7"))
    Step 1: 4 + 3 = 7
    Answer: 7
    First error: none
    Verdict: pass
    >>> print(written_out("Step 1: 9 + 5 = 14>4 + ?", "7"))
    Step 1: cannot be carried over: 5 stands neither in the problem nor in a step before.
    Answer: none
    First error: step 1
    Verdict: fail
    """
    word = verdict_of_carried(critique, gold)
    if word == "unreadable":
        return critique
    lines, error = list[str](), "none"
    for number, here, there in _STEP.findall(critique):
        if not there.endswith("?") and there:
            lines.append(f"Step {number}: {there}")
            continue
        left, _, right = here.partition(" = ")[0].rpartition(" ")
        named = right if there.count(" ") > 1 else left.split(" ")[0]
        why = f"{named} stands neither in the problem nor in a step before" if there else "it is no whole number"
        if there.endswith("= ?"):
            why = "it comes to no whole number there"
        lines.append(f"Step {number}: cannot be carried over: {why}.")
        error = f"step {number}"
    lines += [f"Answer: {carried_answer(critique) or 'none'}", f"First error: {error}"]
    return "\n".join([*lines, f"Verdict: {'pass' if word == 'pass' else 'fail'}"])


def _stopped(parts: Sequence[str], last: str, *, is_ambiguous: bool = False) -> CarriedChain:
    return CarriedChain(SEPARATOR.join((*parts, last)), None, is_ambiguous)


def _pairs(statement: str, variant: str) -> list[tuple[int, int]]:
    here, there = ([int(n) for n in _NUMBER.findall(text)] for text in (statement, variant))
    pairs = list(zip(here, there, strict=True))
    return [*pairs, (2, 2)] if "half" in statement.lower() else pairs
