"""The task `alternatives`: other next steps in the place of a solution's own (PRM800K, arXiv 2305.20050).

PRM800K shows its labellers several candidates for each step. Here they are sampled from the solution's own prefix,
one step each, so that people can label them and the first error can be mended.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.alternatives import add_alternatives, first_errors, has_alternatives
from db.subjects import SolutionSelection, Subject, count_subjects, iterate_subjects
from stepmark.engine import Message, Sample, Sampling
from stepmark.prompts import Prompt
from stepmark.steps import SEPARATOR, render_prefix, split_solution

from .asking import Answers, Dropped, Question, Script

Place: TypeAlias = int | Literal["all", "first-error", "before-error"]
"""Which steps get alternatives: one by its 0-based index, every one, the first wrong one as step labels name it
(each, where labellers differ), or the one before that."""

EVERY_SOLUTION = SolutionSelection()


@dataclass(frozen=True, slots=True)
class Steps:
    """A solution, and which of its steps get alternatives."""

    subject: Subject
    indices: tuple[int, ...]


@dataclass(slots=True)
class NextSteps:
    """What was sampled in the place of a solution's steps."""

    subject: Subject
    answers: dict[int, Answers] = field(default_factory=dict)
    """By step index."""


@dataclass(frozen=True, slots=True)
class AlternativesTask:
    """`n` samples of a next step at each place of each solution."""

    prompt: Prompt
    """Has the place `{problem}`."""
    sampling: Sampling
    n: int
    at: Place = "first-error"
    annotator: str | None = None
    """Only first errors that labellers of this name (or pattern) see."""
    selection: SolutionSelection = EVERY_SOLUTION

    kind = "alternatives"
    unit = "solutions"
    product = None

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it."""
        return {
            "prompt": self.prompt.record(),
            "sampling": asdict(self.sampling),
            "selection": asdict(self.selection),
            "n": self.n,
            "at": self.at,
            "annotator": self.annotator,
        }

    def count(self, database: sa.Engine, run_id: int | None) -> int:
        """Solutions of the selection that have no alternatives of this run."""
        return count_subjects(database, self.selection, unless=_is_done(run_id))

    def items(self, database: sa.Engine, run_id: int | None) -> Iterator[Sequence[Steps]]:
        """These solutions, in the order of their ids."""
        for subjects in iterate_subjects(database, self.selection, unless=_is_done(run_id)):
            errors: dict[int, tuple[int, ...]] = {}
            if self.at in ("first-error", "before-error"):
                ids = [subject.solution_id for subject in subjects]
                errors = first_errors(database, ids, annotator=self.annotator)
            yield [Steps(subject, self._indices(subject, errors)) for subject in subjects]

    def work(self, item: Steps) -> Script[NextSteps]:
        """Asks once for all next steps of a solution."""
        if not item.indices:
            return Dropped("no such step" if isinstance(self.at, int) else f"no step: {self.at}")
        answered = yield [self._question(item.subject, index) for index in item.indices]
        return NextSteps(item.subject, dict(zip(item.indices, answered, strict=True)))

    def store(self, session: Session, run_id: int, results: Sequence[NextSteps]) -> Mapping[str, int]:
        """Stores each other step once; counts what was sampled."""
        counts: Counter[str] = Counter()
        rows = []
        for result in results:
            for index, answers in result.answers.items():
                for answer in answers:
                    if not isinstance(answer.sample, Sample):
                        continue
                    step = read_next_step(answer.sample)
                    if step is None:
                        counts["without a whole step"] += 1
                    elif not step.is_answer and _is_same(step.text, result.subject.steps[index]):
                        counts["the solution's own step"] += 1
                    elif answer.request_id is not None:
                        rows.append(
                            {
                                "solution_id": result.subject.solution_id,
                                "step_index": index,
                                "run_id": run_id,
                                "request_id": answer.request_id,
                                "text": step.text,
                                "is_answer": step.is_answer,
                            }
                        )
        n_new = add_alternatives(session, rows)
        return {"alternatives": n_new, "sampled before": len(rows) - n_new, **counts}

    def _indices(self, subject: Subject, errors: Mapping[int, tuple[int, ...]]) -> tuple[int, ...]:
        if self.at == "all":
            wanted: Sequence[int] = range(len(subject.steps))
        elif isinstance(self.at, int):
            wanted = [self.at]
        else:
            back = 1 if self.at == "before-error" else 0
            wanted = [error - back for error in errors.get(subject.solution_id, ())]
        return tuple(index for index in wanted if 0 <= index < len(subject.steps))

    def _question(self, subject: Subject, index: int) -> Question:
        asked = Message("user", self.prompt.fill({"problem": subject.statement}))
        prefix = render_prefix(subject.steps[:index])
        # The number of the step after it, not `Step` alone: some servers begin with the blank line anew.
        sampling = replace(self.sampling, stop=(*self.sampling.stop, f"{SEPARATOR}Step {index + 2}"))
        messages = (asked, Message("assistant", prefix)) if prefix else (asked,)
        return Question(messages, sampling, self.n, subject.problem_id)


@dataclass(frozen=True, slots=True)
class NextStep:
    """What stands next in a completion."""

    text: str
    """The bare step, or the final answer."""
    is_answer: bool


def read_next_step(completion: Sample) -> NextStep | None:
    r"""The first step of a completion, or the answer that stands in its place; None where neither is there whole.

    >>> read_next_step(Sample("Step 2: 16 - 2 = 14\n\n# Answer\n\n14", "stop"))
    NextStep(text='16 - 2 = 14', is_answer=False)
    >>> read_next_step(Sample("# Answer\n\n16", "stop")), read_next_step(Sample("Step 2: 16 -", "length"))
    (NextStep(text='16', is_answer=True), None)
    """
    split = split_solution(completion.text)
    is_cut = completion.finish_reason == "length"
    if split.steps:
        is_whole = not is_cut or len(split.steps) > 1 or split.answer is not None
        return NextStep(split.steps[0], is_answer=False) if is_whole else None
    return None if split.answer is None or is_cut else NextStep(split.answer, is_answer=True)


def _is_same(left: str, right: str) -> bool:
    return left.split() == right.split()


def _is_done(run_id: int | None) -> sa.ColumnElement[bool] | None:
    return None if run_id is None else has_alternatives(run_id)
