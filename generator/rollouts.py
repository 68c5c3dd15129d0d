"""The task `rollouts`: the value of step prefixes, by completing each of them several times.

A prefix is put as the beginning of the model's own answer, under the same prompt as solutions are. What two
solutions of a problem have in common is the same question, and so is the empty prefix for all of them: it is asked
once, and where solutions were sampled with this prompt and sampling, their samples are its answers.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.step_values import add_step_values, has_step_values
from db.subjects import SolutionSelection, Subject, count_subjects, iterate_subjects
from stepmark.answers import AnswerVerifier, extract_answer
from stepmark.engine import Message, Sample, Sampling
from stepmark.prompts import Prompt
from stepmark.step_values import START, StepValue, rollouts_by_difficulty
from stepmark.steps import render_prefix

from .asking import Answers, Dropped, Question, Script

Mode = Literal["full", "binary"]
"""`full`: every prefix (Math-Shepherd, arXiv 2312.08935); `binary`: of a wrong solution only the prefixes that a
binary search for the first one of value 0 meets (OmegaPRM, arXiv 2406.06592), without its tree search."""

EVERY_SOLUTION = SolutionSelection()

Asking: TypeAlias = Generator[Sequence[Question], Sequence[Answers], bool]
"""A part of a script that says whether it got what it needs."""


@dataclass(slots=True)
class Valued:
    """What the rollouts of one solution came to."""

    solution_id: int
    values: dict[int, StepValue] = field(default_factory=dict)
    """By step index."""
    n_failed: int = 0
    """Rollouts that failed; they count nowhere else."""


@dataclass(frozen=True, slots=True)
class RolloutsTask:
    """`k` completions of step prefixes, each sampled by itself and held against the reference answer."""

    prompt: Prompt
    """Has the place `{problem}`."""
    sampling: Sampling
    k: int
    verifier: AnswerVerifier
    """Compares the answers; the caller closes it."""
    mode: Mode = "full"
    by_difficulty: bool = False
    """Draw more than `k` where the problem is rarely solved (`rollouts_by_difficulty`)."""
    selection: SolutionSelection = EVERY_SOLUTION

    kind = "rollouts"
    unit = "solutions"
    product = None

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it."""
        return {
            "prompt": self.prompt.record(),
            "sampling": asdict(self.sampling),
            "selection": asdict(self.selection),
            "k": self.k,
            "mode": self.mode,
            "by_difficulty": self.by_difficulty,
        }

    def count(self, database: sa.Engine, run_id: int | None) -> int:
        """Solutions of the selection that have no values of this run."""
        return count_subjects(database, self.selection, unless=_is_done(run_id))

    def items(self, database: sa.Engine, run_id: int | None) -> Iterator[Sequence[Subject]]:
        """These solutions, in the order of their ids."""
        return iterate_subjects(database, self.selection, unless=_is_done(run_id))

    def work(self, item: Subject) -> Script[Valued]:
        """Rolls out the prefixes of a solution, and the problem itself."""
        reason = self._refusal(item)
        if reason is not None:
            return Dropped(reason)
        found = Valued(item.solution_id)
        is_whole = yield from (self._full if self.mode == "full" else self._binary)(item, found)
        return found if is_whole else Dropped("every rollout of a step failed", is_for_now=True)

    def store(self, session: Session, run_id: int, results: Sequence[Valued]) -> Mapping[str, int]:
        """Stores the values of solutions; counts them and their rollouts."""
        n_stored = add_step_values(session, run_id, {result.solution_id: result.values for result in results})
        counts = Counter({"step values": n_stored})
        for result in results:
            counts["rollouts"] += sum(value.n_rollouts for value in result.values.values())
            counts["rollouts that are right"] += sum(value.n_right for value in result.values.values())
            counts["rollouts without a readable answer"] += sum(v.n_unreadable for v in result.values.values())
            counts["rollouts that failed"] += result.n_failed
        return counts

    def _refusal(self, item: Subject) -> str | None:
        """Why a solution cannot be rolled out; None where it can."""
        if not item.steps:
            return "no steps"
        if item.reference_answer is None:
            return "no reference answer"
        if item.answer_kind != "value":
            return "answer is decided by tests"
        if self.mode == "binary" and item.outcome is not False:
            return "outcome unknown" if item.outcome is None else "right: binary mode is for wrong solutions"
        return None

    def _full(self, item: Subject, found: Valued) -> Asking:
        """Every prefix: at once, unless the problem's own value must be known first."""
        every = range(START, len(item.steps))
        if not self.by_difficulty:
            return (yield from self._roll_out(item, every, self.k, found))
        if not (yield from self._roll_out(item, every[:1], self.k, found)):
            return False
        return (yield from self._roll_out(item, every[1:], self._k_of(found), found))

    def _binary(self, item: Subject, found: Valued) -> Asking:
        """The first prefix of value 0 and the one before it, as if all were 0 from the first one on.

        Nothing is searched where the problem itself has the value 0. Where even the last step's value is not, that
        step is the last one asked.
        """
        if not (yield from self._roll_out(item, [START], self.k, found)):
            return False
        good, hopeless = START, len(item.steps)
        while found.values[START].hard and hopeless - good > 1:
            middle = (good + hopeless) // 2
            if not (yield from self._roll_out(item, [middle], self._k_of(found), found)):
                return False
            if found.values[middle].hard:
                good = middle
            else:
                hopeless = middle
        return True

    def _k_of(self, found: Valued) -> int:
        return rollouts_by_difficulty(self.k, found.values[START]) if self.by_difficulty else self.k

    def _roll_out(self, item: Subject, indices: Sequence[int], k: int, found: Valued) -> Asking:
        """Rolls out the prefixes that end with these steps; False where one of them got no sample at all."""
        prefixes = [render_prefix(item.steps[: index + 1]) for index in indices]
        answered = yield [self._question(item, prefix, k) for prefix in prefixes]
        for index, prefix, answers in zip(indices, prefixes, answered, strict=True):
            samples = [answer.sample for answer in answers if isinstance(answer.sample, Sample)]
            found.n_failed += len(answers) - len(samples)
            if samples:
                assert item.reference_answer is not None
                found.values[index] = self._value(prefix, samples, item.reference_answer)
        return found.values.keys() >= set(indices)

    def _question(self, item: Subject, prefix: str, k: int) -> Question:
        asked = Message("user", self.prompt.fill({"problem": item.statement}))
        messages = (asked, Message("assistant", prefix)) if prefix else (asked,)
        return Question(messages, self.sampling, k, item.problem_id)

    def _value(self, prefix: str, samples: Sequence[Sample], reference: str) -> StepValue:
        pairs = [(None, rollout_answer(prefix, sample), reference) for sample in samples]
        outcomes = [comparison.outcome for _, comparison in self.verifier.verify(pairs)]
        return StepValue(outcomes.count(True), len(outcomes), outcomes.count(None))


def rollout_answer(prefix: str, rollout: Sample) -> str | None:
    r"""The final answer of a completed prefix; None where none can be read.

    Where the rollout names no answer, it may complete one that the prefix began. In a rollout that was cut off only
    a closed box counts: `14` may have been about to become `140`.

    >>> rollout_answer("Step 1: 9 + 7 = 16\n\n", Sample("# Answer\n\n16", "stop"))
    '16'
    >>> rollout_answer("Step 1: 9 + 7 = 16\n\n", Sample("# Answer\n\n1", "length")) is None
    True
    """
    extracted = extract_answer(rollout.text)
    if rollout.finish_reason == "length":
        return extracted.answer if extracted.rule == "boxed" else None
    if extracted.rule == "none":
        extracted = extract_answer(prefix + rollout.text)
    return extracted.answer


def _is_done(run_id: int | None) -> sa.ColumnElement[bool] | None:
    return None if run_id is None else has_step_values(run_id)
