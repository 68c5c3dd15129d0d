"""Critiques of critiques: is a critique's verdict right, and what it says true (meta-feedback, CriticBench)?

Stored with the kind `meta` and `target_critique_id`. The verdict `pass` says that the critique is right; whether that
is so follows from whether the critique's own verdict is confirmed. Critiques of critiques have none of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.critiques import CritiqueSelection, CritiqueToUse, add_critiques, count_critiques, iterate_critiques
from db.models import Critique
from generator.asking import Answers, Dropped, Question, Script
from stepmark.engine import Message, Sample, Sampling
from stepmark.prompts import Prompt, read_prompt
from stepmark.prompts.critics import FOLDER, META_PLACES, question_on_critique
from stepmark.verdicts import Application, read_verdict

from .solutions import MAX_CHARS, count_verdicts, critique_row


@dataclass(frozen=True, slots=True)
class Answered:
    """A critique with what was answered about it."""

    critique: CritiqueToUse
    answers: Answers


@dataclass(frozen=True, slots=True)
class AboutCritiques:
    """What tasks about critiques share: `n` samples of one question about each."""

    prompt: Prompt
    sampling: Sampling
    n: int
    model: str
    """Named as the writer of what is stored."""
    selection: CritiqueSelection
    max_chars: int = MAX_CHARS

    unit = "critiques"

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it."""
        return {
            "prompt": self.prompt.record(),
            "sampling": asdict(self.sampling),
            "selection": asdict(self.selection),
            "n": self.n,
            "max_chars": self.max_chars,
        }

    def count(self, database: sa.Engine, run_id: int | None) -> int:
        """Critiques of the selection."""
        return count_critiques(database, self.selection)

    def items(self, database: sa.Engine, run_id: int | None) -> Iterator[Sequence[CritiqueToUse]]:
        """Critiques of the selection, in the order of their ids."""
        return iterate_critiques(database, self.selection)

    def work(self, item: CritiqueToUse) -> Script[Answered]:
        """Asks once for all samples about a critique."""
        if (reason := _refusal(item, self.max_chars)) is not None:
            return Dropped(reason)
        asked = question_on_critique(
            self.prompt,
            problem=item.statement,
            steps=item.steps,
            answer=item.answer,
            critique=item.text,
            verdict=item.verdict,
            applied_to=item.applied_to,
        )
        (answers,) = yield [Question((Message("user", asked),), self.sampling, self.n, item.problem_id)]
        return Answered(item, answers)


@dataclass(frozen=True, slots=True)
class MetaTask(AboutCritiques):
    """`n` critiques of each critique with a readable verdict."""

    kind = "critiques"
    product = Critique

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it."""
        return {"critic": "meta", **AboutCritiques.record(self)}

    def store(self, session: Session, run_id: int, results: Sequence[Answered]) -> Mapping[str, int]:
        """Stores a critique for each sample; counts them by verdict, and unreadable ones by reason."""
        rows = [
            critique_row(
                Application(read_verdict(answer.sample.text, len(result.critique.steps)), (), None),
                answer.sample,
                kind="meta",
                solution_id=result.critique.solution_id,
                problem_id=result.critique.problem_id,
                target_critique_id=result.critique.critique_id,
                run_id=run_id,
                request_id=answer.request_id,
                critic=self.model,
            )
            for result in results
            for answer in result.answers
            if isinstance(answer.sample, Sample) and answer.request_id is not None
        ]
        new = add_critiques(session, rows)
        counts = count_verdicts(new)
        counts["critiques of an equal critique"] = len(rows) - len(new)
        return +counts


def _refusal(critique: CritiqueToUse, max_chars: int) -> str | None:
    """Why nothing can be asked about a critique; None where it can."""
    if not critique.steps:
        return "no steps"
    is_too_long = len(critique.text) + sum(map(len, critique.steps)) > max_chars
    return "too long" if is_too_long else None


def meta_task(
    *,
    sampling: Sampling,
    n: int,
    model: str,
    selection: CritiqueSelection,
    prompt: str | None = None,
    max_chars: int = MAX_CHARS,
) -> MetaTask:
    """Makes the task, with its own prompt or the file `prompt`.

    Raises:
        InputError: The prompt cannot be read, or lacks a place.
    """
    found = read_prompt(prompt or "meta", places=META_PLACES, folder=FOLDER)
    return MetaTask(found, sampling, n, model, selection, max_chars)
