"""Rephrased variants: the same problem in other words, with the same numbers and the same answer.

A model rewrites the statement. The rewriting is kept where it holds the same numbers, says nothing of the answer,
and enough solutions of it still reach the reference answer: one that changed the problem would rarely let them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from db.variants import NewVariant, Parent
from stepmark.engine import Message, Sample, Sampling
from stepmark.prompts import Prompt
from stepmark.variants import refuse_new_words

from ..asking import Answer, Dropped, Question, Script
from .solving import Solving
from .task import Made, asked_as


@dataclass(frozen=True, slots=True)
class Rephrased:
    """Statements rewritten by a model."""

    prompt: Prompt
    """Has the place `{problem}`."""
    sampling: Sampling
    solving: Solving

    kind = "rephrased"

    def record(self) -> dict[str, Any]:
        """All that is needed to make the same again."""
        return {
            "prompt": self.prompt.record(),
            "sampling": asdict(self.sampling),
            "solving": self.solving.record(),
        }

    def work(self, parent: Parent, indices: Sequence[int]) -> Script[Made]:
        """Asks for rewritings, then for solutions of those that fit."""
        messages = (Message("user", self.prompt.fill({"problem": parent.statement})),)
        (rewritings,) = yield [Question(messages, self.sampling, max(indices) + 1, parent.problem_id)]
        if all(answer.text is None for answer in rewritings):
            return Dropped("failed_sample", is_for_now=True)
        refused, fitting = Counter[str](), dict[int, str]()
        for index in indices:
            refusal = _refusal(parent, rewritings[index], [*parent.known, *fitting.values()])
            if refusal is None:
                fitting[index] = (rewritings[index].text or "").strip()
            else:
                refused[refusal] += 1
        solved = yield from self.solving.solve(list(fitting.values()), problem_id=parent.problem_id)
        made = Made(refused=refused)
        for (index, statement), one in zip(fitting.items(), solved, strict=True):
            refusal = self.solving.refusal(one, parent.reference_answer)
            if refusal is not None:
                made.refused[refusal] += 1
                continue
            extra = {
                **asked_as(rewritings[index]),
                "n_solutions": self.solving.n,
                "n_right": one.n_right(parent.reference_answer),
            }
            made.variants.append(
                NewVariant(parent, index, statement, parent.reference_answer, parent.reference_trust, extra)
            )
        return made


def _refusal(parent: Parent, answer: Answer, known: Sequence[str]) -> str | None:
    if not isinstance(answer.sample, Sample):
        return "failed_sample"
    if answer.sample.finish_reason == "length":
        return "truncated"
    text = answer.sample.text.strip()
    return refuse_new_words(parent.statement, text, known=known) if text else "empty"
