"""Outcomes of solutions: each held against its problem's reference answer, or run with its tests; written back."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import sqlalchemy as sa

from db.outcomes import AnswerToVerify, Outcome, answers_to_verify, count_to_verify, write_outcomes
from stepmark.answers import AnswerVerifier, Comparison, verify_program
from stepmark.errors import SandboxUnavailable
from stepmark.progress import Progress, silent

NO_ANSWER = "no_answer"
NO_REFERENCE = "no_reference"
SANDBOX_UNAVAILABLE = "sandbox_unavailable"
_PROGRAMS_AT_ONCE = 64
"""Programs run between two writes: an interruption loses the outcomes of so many."""


@dataclass(slots=True)
class VerifyReport:
    """What `verify_solutions` looked at and found."""

    n_read: int = 0
    results: Counter[str] = field(default_factory=Counter)
    """Solutions by result: correct, incorrect, unparsable, limit, no_answer, no_reference,
    sandbox_unavailable."""
    rules: Counter[str] = field(default_factory=Counter)
    """Solutions by the rule that decided."""
    against_source: Counter[str] = field(default_factory=Counter)
    """Solutions whose source says whether they are right: `agree`, `contradict`, and `unknown, marked right` or
    `unknown, marked wrong` where no outcome is known here."""
    contradicting: list[int] = field(default_factory=list)
    """Ids of the first hundred solutions whose source says otherwise."""
    sandbox_error: str | None = None
    """Why programs could not be run; their outcomes stay open, and a later call verifies them."""

    @property
    def n_known(self) -> int:
        """Solutions whose outcome is now known."""
        return self.results["correct"] + self.results["incorrect"]


def verify_solutions(engine: sa.Engine, *, again: bool = False, progress: Progress = silent) -> VerifyReport:
    """Verifies every solution whose outcome nobody has looked at, and stores outcome and rule.

    A solution whose problem has tests is a program: it is run with them, in the sandbox or not at all.
    An answer that cannot be read, or whose comparison hit a limit, keeps an unknown outcome; it is not false.
    Written batch by batch: interrupted, it goes on from there.

    Args:
        engine: The database.
        again: Also verify those verified before, and those whose source asserted an outcome.
        progress: Told after every batch.
    """
    report = VerifyReport()
    total = count_to_verify(engine, again=again)
    with AnswerVerifier() as verifier:
        for batch in answers_to_verify(engine, again=again):
            values = [item for item in batch if item.program_text is None or item.reference is None]
            write_outcomes(engine, _verify_batch(verifier, values, report))
            progress(report.n_read, total)
            programs = [item for item in batch if item.program_text is not None and item.reference is not None]
            for start in range(0, len(programs), _PROGRAMS_AT_ONCE):
                write_outcomes(engine, _verify_programs(programs[start : start + _PROGRAMS_AT_ONCE], report))
                progress(report.n_read, total)
    return report


def _verify_batch(verifier: AnswerVerifier, batch: list[AnswerToVerify], report: VerifyReport) -> Iterator[Outcome]:
    by_id = {item.solution_id: item for item in batch}
    pairs = [
        (i.solution_id, i.answer, i.reference) for i in batch if i.answer is not None and i.reference is not None
    ]
    for solution_id, comparison in verifier.verify(pairs):
        yield _count(report, by_id.pop(solution_id), comparison)
    for item in by_id.values():
        reason = NO_ANSWER if item.answer is None and item.program_text is None else NO_REFERENCE
        if reason == NO_REFERENCE:
            # Nothing was verified: a reference that arrives later will be.
            report.n_read += 1
            report.results[NO_REFERENCE] += 1
            continue
        yield _count(report, item, None)


def _verify_programs(items: Sequence[AnswerToVerify], report: VerifyReport) -> Iterator[Outcome]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for item, comparison in zip(items, pool.map(_verify_one_program, items), strict=True):
            if isinstance(comparison, SandboxUnavailable):
                # Nothing was verified: it will be where there is a sandbox.
                report.n_read += 1
                report.results[SANDBOX_UNAVAILABLE] += 1
                report.sandbox_error = str(comparison)
                continue
            yield _count(report, item, comparison)


def _verify_one_program(item: AnswerToVerify) -> Comparison | SandboxUnavailable:
    assert item.program_text is not None
    assert item.reference is not None
    try:
        return verify_program(item.program_text, item.reference)
    except SandboxUnavailable as err:
        return err


def _count(report: VerifyReport, item: AnswerToVerify, comparison: Comparison | None) -> Outcome:
    result, rule, outcome = (
        (NO_ANSWER, NO_ANSWER, None)
        if comparison is None
        else (comparison.result, comparison.rule, comparison.outcome)
    )
    report.n_read += 1
    report.results[result] += 1
    report.rules[rule] += 1
    marked = item.source_outcome
    if marked is not None:
        if outcome is None:
            report.against_source[f"unknown, marked {'right' if marked else 'wrong'}"] += 1
        elif outcome == marked:
            report.against_source["agree"] += 1
        else:
            report.against_source["contradict"] += 1
            report.contradicting = [*report.contradicting, item.solution_id][:100]
    return Outcome(item.solution_id, outcome, rule)
