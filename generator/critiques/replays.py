"""A critic without a model: chains of equations carried over to variants by program, stored as critiques.

The kind is `replay`. `fail`: a step's arithmetic is wrong as it stands (its index is the first error), or the carried
chain reaches another answer than the variant's own. `pass`: it reaches the same. `unreadable`: it cannot be carried
without guessing, with the reason. Unlike a model, this critic sees the variant's answer: it computes, and judges
nothing.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from db.connect import writing
from db.critiques import CriticisedSolution, VariantProblem, add_critiques, iterate_solutions
from db.subjects import SolutionSelection, count_subjects
from stepmark.answers import AnswerVerifier
from stepmark.progress import Progress, silent
from stepmark.replay import Replay, replay, verdict_of
from stepmark.verdicts import Verdict

from .solutions import count_verdicts

REPLAY = "replay"
"""Names the kind of critique, its critic and its source."""


@dataclass(slots=True)
class ReplayReport:
    """What `replay_solutions` did."""

    n_read: int = 0
    """Solutions."""
    n_replayed: int = 0
    """Solutions whose chain was tried on a variant, by this call or before."""
    dropped: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    """Critiques stored by this call, by verdict and reason."""


def replay_solutions(
    database: sa.Engine, selection: SolutionSelection, *, n_variants: int = 3, progress: Progress = silent
) -> ReplayReport:
    """Carries each solution's chain over to the first variants of its problem, and stores a critique for each.

    What is stored already stays as it is.

    Args:
        database: Open, at the current schema.
        selection: Which solutions.
        n_variants: Variants of each problem at most.
        progress: Told after every chunk.
    """
    report = ReplayReport()
    total = count_subjects(database, selection)
    with AnswerVerifier() as verifier:
        for chunk in iterate_solutions(database, selection, n_variants=n_variants):
            rows = list(_rows(chunk, report, verifier))
            with writing(database) as session:
                new = add_critiques(session, rows)
            report.counts.update(count_verdicts(new))
            progress(report.n_read, total)
    return report


def _rows(
    chunk: list[CriticisedSolution], report: ReplayReport, verifier: AnswerVerifier
) -> Iterator[dict[str, Any]]:
    tried: list[tuple[CriticisedSolution, VariantProblem, Replay]] = []
    for item in chunk:
        report.n_read += 1
        reason = "no steps" if not item.subject.steps else "no variant" if not item.variants else None
        if reason is not None:
            report.dropped[reason] += 1
            continue
        report.n_replayed += 1
        subject = item.subject
        for variant in item.variants:
            found = replay(subject.statement, subject.steps, subject.answer, variant.statement)
            tried.append((item, variant, found))
    pairs = (
        (index, found.answer, variant.reference_answer)
        for index, (_, variant, found) in enumerate(tried)
        if found.answer is not None
    )
    reached = {index: comparison.outcome for index, comparison in verifier.verify(pairs)}
    for index, (item, variant, found) in enumerate(tried):
        yield _row(item, variant, found, is_reached=reached.get(index))


def _row(
    item: CriticisedSolution, variant: VariantProblem, found: Replay, *, is_reached: bool | None
) -> dict[str, Any]:
    verdict = verdict_of(found, is_reached=is_reached)
    extra: dict[str, Any] = {} if verdict.reason is None else {"reason": verdict.reason}
    if found.carried:
        extra["carried"] = [asdict(step) for step in found.carried]
    subject = item.subject
    return {
        "source": REPLAY,
        "source_key": f"{subject.solution_id}/{variant.problem_id}",
        "request_id": None,
        "run_id": None,
        "target_critique_id": None,
        "kind": REPLAY,
        "critic": REPLAY,
        "solution_id": subject.solution_id,
        "problem_id": variant.problem_id,
        "text": _text(found, variant, verdict),
        "verdict": verdict.word,
        "first_error": verdict.first_error,
        "answer": found.answer,
        "extra": extra or None,
    }


def _text(found: Replay, variant: VariantProblem, verdict: Verdict) -> str:
    """Says what was found, in the form that a model's critique on a variant has."""
    lines = [f"Step {step.step + 1}: {step.text}" for step in found.carried]
    if verdict.reason is not None:
        return "\n".join([*lines, f"Not carried further: {verdict.reason}."])
    if found.wrong_step is not None:
        lines.append(f"Step {found.wrong_step + 1}: its arithmetic is wrong as it stands.")
    else:
        lines.append(f"The answer to the variant is {variant.reference_answer}.")
    error = "none" if found.wrong_step is None else f"step {found.wrong_step + 1}"
    lines += [f"Answer: {found.answer or 'none'}", f"First error: {error}", f"Verdict: {verdict.word}"]
    return "\n".join(lines)
