r"""Critics of solutions: each sample is a critique with a verdict.

The kinds, which are stored as `critiques.kind`:

- `judge` only reads: the steps as paragraphs numbered from 0, the earliest wrong one in a box (the protocol of
  ProcessBench, Zheng et al. 2024, in other words). Several samples of one solution are votes
  (`stepmark.verdicts.vote`).
- `variant` applies: it gets the solution and a variant of its problem, without the variant's answer, carries the
  chain over step by step, and ends in the answer that it reached, or at the step that cannot be carried over. A chain
  that only fits the original's inputs, or steps fudged to reach the answer, show there. Where a problem has no
  variant it steps through the original's input; such critiques are of the kind `concrete`.
- `concrete` steps through the original's input, whether there are variants or not.
- `self` reads in a fresh context, asked of the model that wrote the solution; solutions by others are dropped.
- `reference` reads beside the problem's reference solution, or its answer where there is none (SCRIT, 2501.05727;
  there the critique is kept if a corrected solution is right, here its verdict is confirmed).

A verdict is about the solution, never about the variant: `pass` says that every step holds. The critic states it
without seeing an answer to the variant; whether it is right is `stepmark.confirmation`'s business.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.critiques import CriticisedSolution, add_critiques, iterate_solutions
from db.models import Critique
from db.subjects import SolutionSelection, count_subjects
from generator.asking import Answer, Answers, Dropped, Question, Script
from stepmark.engine import Message, Sample, Sampling
from stepmark.errors import SettingsError
from stepmark.prompts import Prompt, read_prompt
from stepmark.prompts.critics import FOLDER, PLACES, question_to_critic
from stepmark.verdicts import Application, read_application, read_judgement, read_verdict

MAX_CHARS = 20_000
"""Solutions longer than this are dropped, unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class Exercise:
    """One thing that a critic is asked to do with a solution."""

    kind: str
    problem_id: int
    """What it is to be applied to: the solution's problem, or a variant."""
    prompt: str


@dataclass(frozen=True, slots=True)
class Criticised:
    """A solution with what its critics said."""

    solution: CriticisedSolution
    exercises: tuple[Exercise, ...]
    answers: tuple[Answers, ...]
    """Of each exercise."""


@dataclass(frozen=True, slots=True)
class CritiquesTask:
    """`n` critiques of each solution, by a kind of critic; for `variant`, on each of its first few variants."""

    critic: str
    """One of `stepmark.prompts.critics.PLACES`."""
    prompt: Prompt
    sampling: Sampling
    n: int
    model: str
    selection: SolutionSelection
    n_variants: int = 3
    """Variants of each problem at most."""
    fallback: Prompt | None = None
    """The prompt of the kind `concrete` for problems without a variant; None drops their solutions."""
    max_chars: int = MAX_CHARS

    kind = "critiques"
    unit = "solutions"
    product = Critique

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it."""
        return {
            "critic": self.critic,
            "prompt": self.prompt.record(),
            "sampling": asdict(self.sampling),
            "selection": asdict(self.selection),
            "n": self.n,
            "n_variants": self.n_variants if self.critic == "variant" else None,
            "fallback": None if self.fallback is None else self.fallback.record(),
            "max_chars": self.max_chars,
        }

    def count(self, database: sa.Engine, run_id: int | None) -> int:
        """Solutions of the selection."""
        return count_subjects(database, self.selection)

    def items(self, database: sa.Engine, run_id: int | None) -> Iterator[Sequence[CriticisedSolution]]:
        """Solutions of the selection, in the order of their ids."""
        n_variants = self.n_variants if self.critic == "variant" else 0
        return iterate_solutions(database, self.selection, n_variants=n_variants)

    def work(self, item: CriticisedSolution) -> Script[Criticised]:
        """Asks once for all critiques of a solution."""
        exercises = self._exercises(item)
        if isinstance(exercises, Dropped):
            return exercises
        answers = yield [
            Question((Message("user", exercise.prompt),), self.sampling, self.n, exercise.problem_id)
            for exercise in exercises
        ]
        return Criticised(item, tuple(exercises), tuple(answers))

    def _exercises(self, item: CriticisedSolution) -> list[Exercise] | Dropped:
        subject = item.subject
        if not subject.steps:
            return Dropped("no steps")
        if len(subject.text) > self.max_chars:
            return Dropped("too long")
        asked = partial(
            question_to_critic,
            self.critic,
            problem=subject.statement,
            steps=subject.steps,
            answer=subject.answer,
        )
        if self.critic == "variant":
            if item.variants:
                return [
                    Exercise("variant", one.problem_id, asked(self.prompt, variant=one.statement))
                    for one in item.variants
                ]
            if self.fallback is None:
                return Dropped("no variant")
            return [Exercise("concrete", subject.problem_id, asked(self.fallback))]
        if self.critic == "self" and subject.generator != self.model:
            return Dropped("by another model")
        reference = None
        if self.critic == "reference":
            reference = item.reference_solution or subject.reference_answer
            if reference is None:
                return Dropped("no reference")
        return [Exercise(self.critic, subject.problem_id, asked(self.prompt, reference=reference))]

    def store(self, session: Session, run_id: int, results: Sequence[Criticised]) -> Mapping[str, int]:
        """Stores a critique for each sample; counts them by verdict, and unreadable ones by reason."""
        rows = [
            self._row(result.solution, exercise, answer, answer.sample, run_id)
            for result in results
            for exercise, answers in zip(result.exercises, result.answers, strict=True)
            for answer in answers
            if isinstance(answer.sample, Sample) and answer.request_id is not None
        ]
        new = add_critiques(session, rows)
        counts = count_verdicts(new)
        # Equal questions about two solutions are asked once, and their answers are critiques of the first.
        counts["critiques of an equal solution"] = len(rows) - len(new)
        return +counts

    def _row(
        self, item: CriticisedSolution, exercise: Exercise, answer: Answer, sample: Sample, run_id: int
    ) -> dict[str, Any]:
        n_steps = len(item.subject.steps)
        if exercise.kind == "judge":
            found = Application(read_judgement(sample.text, n_steps), (), None)
        elif exercise.kind in ("variant", "concrete"):
            found = read_application(sample.text, n_steps)
        else:
            found = Application(read_verdict(sample.text, n_steps), (), None)
        return critique_row(
            found,
            sample,
            kind=exercise.kind,
            solution_id=item.subject.solution_id,
            problem_id=exercise.problem_id,
            run_id=run_id,
            request_id=answer.request_id,
            critic=self.model,
        )


def critique_row(found: Application, sample: Sample, **values: Any) -> dict[str, Any]:
    """The row of `critiques` that a sampled text becomes, with the values that the text does not tell."""
    extra: dict[str, Any] = {}
    if found.verdict.reason is not None:
        extra["reason"] = "truncated" if sample.finish_reason == "length" else found.verdict.reason
    if sample.finish_reason == "length":
        extra["is_truncated"] = True
    if found.carried:
        extra["carried"] = [asdict(step) for step in found.carried]
    return {
        "source": None,
        "source_key": None,
        "target_critique_id": None,
        "text": sample.text,
        "verdict": found.verdict.word,
        "first_error": found.verdict.first_error,
        "answer": found.answer,
        "extra": extra or None,
        **values,
    }


def count_verdicts(rows: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Counts rows of critiques by verdict, and the unreadable ones by reason."""
    counts = Counter(critiques=len(rows))
    for row in rows:
        reason = (row["extra"] or {}).get("reason")
        counts[row["verdict"] if reason is None else f"unreadable: {reason}"] += 1
    return counts


def critiques_task(
    critic: str,
    *,
    sampling: Sampling,
    n: int,
    model: str,
    selection: SolutionSelection,
    prompt: str | None = None,
    n_variants: int = 3,
    max_chars: int = MAX_CHARS,
) -> CritiquesTask:
    """Makes the task of a kind of critic, with its own prompt or the file `prompt`.

    Raises:
        SettingsError: There is no such kind.
        InputError: The prompt cannot be read, or lacks a place.
    """
    if critic not in PLACES:
        raise SettingsError(f"there is no critic {critic!r}; choose one of: {', '.join(PLACES)}")
    return CritiquesTask(
        critic,
        read_prompt(prompt or critic, places=PLACES[critic], folder=FOLDER),
        sampling,
        n,
        model,
        selection,
        n_variants,
        read_prompt("concrete", places=PLACES["concrete"], folder=FOLDER) if critic == "variant" else None,
        max_chars,
    )
