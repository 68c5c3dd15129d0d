"""Refinements: solutions that a model writes after a critique of another solution.

They are solutions like any others, verified and labelled like them; `refinements` says after which critique each was
written, and the critique names the solution that it was about.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from db.critiques import CritiqueSelection, add_refinements
from db.models import Solution
from db.runs import ProblemToSolve
from db.solutions import add_sampled_solutions
from generator.solutions import solution_row
from stepmark.engine import Sample, Sampling
from stepmark.prompts import read_prompt
from stepmark.prompts.critics import FOLDER

from .critiques import AboutCritiques, Answered
from .solutions import MAX_CHARS

PLACES = ("problem", "steps", "critique")


@dataclass(frozen=True, slots=True)
class RefinementsTask(AboutCritiques):
    """`n` corrected solutions after each critique."""

    kind = "solutions"
    product = Solution

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it."""
        return {"refinement": True, **AboutCritiques.record(self)}

    def store(self, session: Session, run_id: int, results: Sequence[Answered]) -> Mapping[str, int]:
        """Stores a solution for each sample, and after which critique it was written."""
        rows: list[dict[str, Any]] = []
        critique_ids: dict[int, int] = {}
        for result in results:
            critique = result.critique
            problem = ProblemToSolve(critique.problem_id, critique.statement, critique.statement_hash)
            for answer in result.answers:
                if isinstance(answer.sample, Sample) and answer.request_id is not None:
                    rows.append(
                        solution_row(problem, answer.sample, answer.request_id, run_id=run_id, model=self.model)
                    )
                    critique_ids.setdefault(answer.request_id, critique.critique_id)
        add_sampled_solutions(session, rows)
        counts = Counter(refinements=add_refinements(session, critique_ids))
        counts["without a readable answer"] = sum(row["answer"] is None for row in rows)
        return counts


def refinements_task(
    *,
    sampling: Sampling,
    n: int,
    model: str,
    selection: CritiqueSelection,
    prompt: str | None = None,
    max_chars: int = MAX_CHARS,
) -> RefinementsTask:
    """Makes the task, with its own prompt or the file `prompt`.

    Raises:
        InputError: The prompt cannot be read, or lacks a place.
    """
    found = read_prompt(prompt or "refinement", places=PLACES, folder=FOLDER)
    return RefinementsTask(found, sampling, n, model, selection, max_chars)
