"""The task `solutions`: samples step-by-step solutions of the problems in the database."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Solution
from db.runs import ProblemSelection, ProblemToSolve, count_problems, iterate_problems
from db.solutions import add_sampled_solutions, solution_text_hash
from stepmark.answers import extract_answer
from stepmark.engine import Engine, Message, Sample, Sampling
from stepmark.prompts import Prompt
from stepmark.steps import split_reasoning_steps, split_solution

from .asking import Answers, Question, Report, Script, run_task
from .budget import NO_LIMITS, Limits

EVERY_PROBLEM = ProblemSelection()


@dataclass(frozen=True, slots=True)
class Sampled:
    """The samples of one problem."""

    problem: ProblemToSolve
    answers: Answers


@dataclass(frozen=True, slots=True)
class SolutionsTask:
    """`n` solutions of each problem, each sampled by itself."""

    prompt: Prompt
    """Has the place `{problem}`."""
    sampling: Sampling
    n: int
    model: str
    """Named as the solutions' generator."""
    selection: ProblemSelection = EVERY_PROBLEM
    trace: bool = False
    """Take the steps from the model's reasoning, where it gives one, and only the answer from the text after it."""

    kind = "solutions"
    unit = "problems"
    product = Solution

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it."""
        record = {
            "prompt": self.prompt.record(),
            "sampling": asdict(self.sampling),
            "selection": asdict(self.selection),
            "n": self.n,
        }
        return record | ({"trace": True} if self.trace else {})

    def count(self, database: sa.Engine, run_id: int | None) -> int:
        """Problems of the selection."""
        return count_problems(database, self.selection)

    def items(self, database: sa.Engine, run_id: int | None) -> Iterator[Sequence[ProblemToSolve]]:
        """Problems of the selection, in the order of their ids."""
        return iterate_problems(database, self.selection)

    def work(self, item: ProblemToSolve) -> Script[Sampled]:
        """Asks once for all samples of a problem."""
        messages = (Message("user", self.prompt.fill({"problem": item.statement})),)
        (answers,) = yield [Question(messages, self.sampling, self.n, item.problem_id)]
        return Sampled(item, answers)

    def store(self, session: Session, run_id: int, results: Sequence[Sampled]) -> Mapping[str, int]:
        """Stores a solution for each sample; counts them, and those without a readable answer."""
        rows = [
            solution_row(
                result.problem, answer.sample, answer.request_id, run_id=run_id, model=self.model, trace=self.trace
            )
            for result in results
            for answer in result.answers
            if isinstance(answer.sample, Sample) and answer.request_id is not None
        ]
        counts = Counter(solutions=add_sampled_solutions(session, rows))
        counts["without a readable answer"] = sum(row["answer"] is None for row in rows)
        return counts


def solution_row(
    problem: ProblemToSolve, sample: Sample, request_id: int, *, run_id: int, model: str, trace: bool = False
) -> dict[str, Any]:
    """The row of `solutions` that a sampled text becomes.

    With `trace` the steps are those of the sample's reasoning, and the text holds both; reasoning that was cut off
    leaves no answer.
    """
    split = split_solution(sample.text)
    text, steps, extra = sample.text, split.steps, dict[str, Any]()
    if trace and sample.reasoning:
        text = f"<think>\n{sample.reasoning}\n</think>\n\n{sample.text}"
        steps = split_reasoning_steps(sample.reasoning)
        extra["steps_of"] = "reasoning"
    if sample.finish_reason == "length":
        extra["is_truncated"] = True
    return {
        "problem_id": problem.problem_id,
        "run_id": run_id,
        "request_id": request_id,
        "generator": model,
        "text": text,
        "text_hash": solution_text_hash(problem.statement_hash, text),
        "steps": list(steps),
        "answer": split.answer or extract_answer(sample.text).answer,
        "extra": extra or None,
    }


def generate_solutions(
    database: sa.Engine,
    engine: Engine,
    *,
    n: int,
    prompt: Prompt,
    sampling: Sampling,
    selection: ProblemSelection = EVERY_PROBLEM,
    limits: Limits = NO_LIMITS,
    redo_truncated: int | None = None,
    on_progress: Callable[[Report], None] = lambda report: None,
    is_dry_run: bool = False,
    round_id: int | None = None,
) -> Report:
    """Samples until every problem of the selection has `n` solutions from this engine, prompt and sampling.

    Args:
        database: Open, at the current schema.
        engine: What samples; the caller closes it.
        n: Solutions wanted of each problem, those of earlier calls included.
        prompt: Has the place `{problem}`.
        sampling: Temperature, token limit, seed and so on.
        selection: Which problems.
        limits: Prices and budgets.
        redo_truncated: A larger token limit for samples that reach theirs.
        on_progress: Called with the counts so far, after each answer and while waiting.
        is_dry_run: Only count what would be asked.
        round_id: The round of a loop that asks.
    """
    return run_task(
        database,
        engine,
        SolutionsTask(prompt, sampling, n, engine.identity.model, selection),
        limits=limits,
        redo_truncated=redo_truncated,
        on_progress=on_progress,
        is_dry_run=is_dry_run,
        round_id=round_id,
    )
