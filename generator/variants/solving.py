"""Solutions of what was made: whether a model's solutions reach an answer, and what most of them say."""

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stepmark.answers import compare_answers, extract_answer
from stepmark.answers.key import answer_key
from stepmark.engine import Message, Sampling
from stepmark.prompts import Prompt
from stepmark.steps import split_solution

from ..asking import Answer, Answers, Question


@dataclass(frozen=True, slots=True)
class Solving:
    """How a problem is solved to check it."""

    prompt: Prompt
    """Has the place `{problem}`."""
    sampling: Sampling
    n: int
    """Solutions of each."""
    n_agreeing: int
    """So many of them at least must give the same answer."""

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it."""
        return {
            "prompt": self.prompt.record(),
            "sampling": asdict(self.sampling),
            "n": self.n,
            "n_agreeing": self.n_agreeing,
        }

    def solve(
        self, statements: Sequence[str], *, problem_id: int
    ) -> Generator[Sequence[Question], Sequence[Answers], list["Solved"]]:
        """Asks for the solutions of all statements at once; to be used by `yield from` in a script."""
        questions = [
            Question((Message("user", self.prompt.fill({"problem": statement})),), self.sampling, self.n, problem_id)
            for statement in statements
        ]
        answered = (yield questions) if questions else ()
        return [Solved(tuple(map(read_answer, answers))) for answers in answered]

    def refusal(self, solved: "Solved", gold: str) -> str | None:
        """Why the solutions do not confirm an answer; None where enough of them reach it."""
        if solved.n_right(gold) >= self.n_agreeing:
            return None
        # A sample that could not be had says nothing about the problem.
        return "failed_sample" if solved.n_failed else "not_reached_by_solutions"


@dataclass(frozen=True, slots=True)
class Solved:
    """What the solutions of one problem say."""

    answers: tuple["Said", ...]

    @property
    def n_failed(self) -> int:
        """Solutions that could not be had."""
        return sum(said.is_failure for said in self.answers)

    def n_right(self, gold: str) -> int:
        """How many reach an answer."""
        return sum(compare_answers(said.answer, gold).result == "correct" for said in self.answers if said.answer)

    def majority(self) -> tuple[str, int] | None:
        """The answer that most give, and how many do; None where two are most frequent, or none can be read."""
        given = [said.answer for said in self.answers if said.answer is not None]
        first, *others = Counter(map(answer_key, given)).most_common(2) or [("", 0)]
        if not first[1] or (others and others[0][1] == first[1]):
            return None
        return next(answer for answer in given if answer_key(answer) == first[0]), first[1]


@dataclass(frozen=True, slots=True)
class Said:
    """The final answer of one solution."""

    answer: str | None
    """None where none can be read, or the solution could not be had."""
    is_failure: bool = False


def read_answer(answer: Answer) -> Said:
    """The final answer of a sampled solution."""
    text = answer.text
    if text is None:
        return Said(None, is_failure=True)
    return Said(split_solution(text).answer or extract_answer(text).answer)
