"""Step labels by a program, the embedded domain's exact checker; stored as a program's, never as a person's."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

import sqlalchemy as sa

from db.annotations import ImportedAnnotation, add_annotations
from db.connect import writing
from db.unlabelled import UnlabelledSolution, count_unlabelled, unlabelled_solutions
from generator.domain import DomainProblem, check_solution, parse_problem
from stepmark.progress import Progress, silent
from stepmark.records import AnnotationRecord

CHECKER = "domain-checker"
"""Name of the annotator whose labels these are."""


@dataclass(slots=True)
class LabelReport:
    """What `label_by_checker` read and stored."""

    n_read: int = 0
    n_labelled: int = 0
    n_step_labels: int = 0
    n_right: int = 0
    """Solutions without a wrong step, and with the right answer."""
    n_right_by_wrong_steps: int = 0
    """Solutions with the right answer and a wrong step: what an outcome label gets wrong."""
    faults: Counter[str] = field(default_factory=Counter)
    """Solutions by what is wrong with their first wrong step."""
    dropped: Counter[str] = field(default_factory=Counter)


def label_by_checker(engine: sa.Engine, *, source: str | None = None, progress: Progress = silent) -> LabelReport:
    """Labels the steps of every solution in the embedded domain that the checker has not labelled yet.

    Args:
        engine: The database.
        source: Only problems of sources that match this pattern.
        progress: Told after every batch.
    """
    report = LabelReport()
    total = count_unlabelled(engine, CHECKER, source=source)
    for batch in unlabelled_solutions(engine, CHECKER, source=source):
        items = [item for solution in batch if (item := _check(solution, report)) is not None]
        with writing(engine) as session:
            added = add_annotations(session, items)
        report.n_labelled += added.n_annotations
        report.n_step_labels += added.n_step_labels
        progress(report.n_read, total)
    return report


def _check(solution: UnlabelledSolution, report: LabelReport) -> ImportedAnnotation | None:
    report.n_read += 1
    problem = _parse(solution.statement)
    if problem is None:
        report.dropped["not of the embedded domain"] += 1
        return None
    if not solution.steps:
        report.dropped["no steps"] += 1
        return None
    found = check_solution(problem, solution.steps, solution.answer)
    report.n_right += found.is_right
    report.n_right_by_wrong_steps += found.is_right_by_wrong_steps
    if found.fault is not None:
        report.faults[found.fault] += 1
    record = AnnotationRecord(
        annotator=CHECKER,
        annotator_kind="program",
        labels=found.step_labels,
        finish_reason="solution" if found.fault is None else "found_error",
    )
    return ImportedAnnotation(
        record=record, solution_id=solution.solution_id, source=CHECKER, source_key=str(solution.solution_id)
    )


@lru_cache(maxsize=1024)
def _parse(statement: str) -> DomainProblem | None:
    """Reads a problem once for all its solutions, which stand together."""
    return parse_problem(statement)
