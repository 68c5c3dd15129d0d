"""Backward variants: one number of a problem is hidden, its answer is told, and the number is asked for.

After FOBAR (Jiang et al., arXiv 2308.07758). The answer is known without a model, since it stands in the original.
Not every number can be inferred (two may do, or the number is not used): solutions tell, where they are asked for.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from db.variants import NewVariant, Parent
from stepmark.answers.plain import read_plain
from stepmark.prompts import Prompt
from stepmark.variants import Number, find_numbers, is_near_duplicate, render_number, tells_answer

from ..asking import Dropped, Script
from .solving import Solving
from .task import Made

_UNKNOWNS = "xyznkm"


@dataclass(frozen=True, slots=True)
class Backward:
    """Statements with one number hidden."""

    prompt: Prompt
    """How the new problem is put: has the places `{problem}`, `{answer}` and `{unknown}`."""
    seed: int = 0
    solving: Solving | None = None
    """None keeps every variant: it is then not known that the number can be inferred."""

    kind = "backward"

    def record(self) -> dict[str, Any]:
        """All that is needed to make the same again."""
        return {
            "prompt": self.prompt.record(),
            "seed": self.seed,
            "solving": None if self.solving is None else self.solving.record(),
        }

    def work(self, parent: Parent, indices: Sequence[int]) -> Script[Made]:
        """Hides one number for each variant, and asks for solutions where they are wanted."""
        answer = read_plain(parent.reference_answer)
        if answer is None:
            return Dropped("answer_is_no_number")
        if tells_answer(parent.statement):
            return Dropped("tells_answer")
        words = set(parent.statement.casefold().replace("{", " ").split())
        unknown = next((letter for letter in _UNKNOWNS if letter not in words), None)
        if unknown is None:
            return Dropped("no_free_letter")
        numbers = [number for number in find_once(parent.statement) if number.value != answer.value]
        random.Random(f"{self.seed}/{parent.statement_hash}").shuffle(numbers)
        refused, posed = Counter[str](), dict[int, tuple[str, str]]()
        for index in indices:
            if index >= len(numbers):
                refused["no_number_left"] += 1
                continue
            hidden = numbers[index]
            masked = parent.statement[: hidden.start] + unknown + parent.statement[hidden.end :]
            places = {"problem": masked, "answer": parent.reference_answer, "unknown": unknown}
            statement = self.prompt.fill(places)
            if is_near_duplicate(statement, parent.known):
                refused["duplicate"] += 1
            else:
                posed[index] = (statement, render_number(hidden.value))
        made = Made(refused=refused)
        n_right: dict[int, int] = {}
        if self.solving is not None:
            statements = [statement for statement, _ in posed.values()]
            solved = yield from self.solving.solve(statements, problem_id=parent.problem_id)
            for (index, (_, gold)), one in zip(list(posed.items()), solved, strict=True):
                n_right[index] = one.n_right(gold)
                if (refusal := self.solving.refusal(one, gold)) is not None:
                    made.refused[refusal] += 1
                    del posed[index]
        for index, (statement, gold) in posed.items():
            extra: dict[str, Any] = {"hidden": gold, "unknown": unknown, "seed": self.seed}
            if self.solving is not None:
                extra |= {"n_solutions": self.solving.n, "n_right": n_right[index]}
            made.variants.append(NewVariant(parent, index, statement, gold, parent.reference_trust, extra))
        return made


def find_once(statement: str) -> list[Number]:
    """The numbers in digits that stand once in a statement, in digits or words, and are no part of a word.

    >>> [number.text for number in find_once("On the 4th of 7 days he ran 2.5 km and two more, 3 x 3 times.")]
    ['7', '2.5']
    """
    numbers = find_numbers(statement)
    counts = Counter(number.value for number in numbers)
    return [
        number
        for number in numbers
        if counts[number.value] == 1
        and number.text[0] in "0123456789."
        and not statement[number.end : number.end + 1].isalpha()
        and not statement[number.start - 1 : number.start].isalnum()
    ]
