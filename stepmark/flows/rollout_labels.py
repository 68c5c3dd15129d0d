"""Step labels out of rollouts: by their values alone, or where a judge names the same first error.

The labels are annotations by a model, so that exports take them like any other labeller's and tell them apart.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from db.annotations import ImportedAnnotation, add_annotations
from db.connect import reading, writing
from db.step_values import ValuedSolution, count_valued_solutions, find_rollouts_run, valued_solutions
from db.verdicts import Verdict, judges_verdicts
from stepmark.progress import Progress, silent
from stepmark.records import AnnotationRecord
from stepmark.step_values import Decision, FirstErrorRule, consensus, first_error, majority

CONSENSUS = "consensus"
"""Name of the annotator whose labels rollouts and a judge agree on."""


@dataclass(slots=True)
class RolloutLabels:
    """What was read off the values of a run, and stored."""

    run_id: int
    rule: FirstErrorRule
    annotator: str
    n_read: int = 0
    """Solutions that have values of the run."""
    n_kept: int = 0
    """Solutions with a decision: each has labels now."""
    n_new: int = 0
    """Of those, solutions whose labels were not there before."""
    n_wrong: int = 0
    """Solutions kept that have a first error."""
    n_step_labels: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def label_by_rollouts(
    engine: sa.Engine, *, run_id: int | None = None, rule: FirstErrorRule = "hard", progress: Progress = silent
) -> RolloutLabels:
    """Labels the solutions of a run of rollouts up to the first error that their values show.

    Args:
        engine: The database.
        run_id: The run; None takes the latest one.
        rule: What makes a step wrong.
        progress: Told after every batch.

    Raises:
        InputError: There is no such run.
    """
    run_id = find_rollouts_run(engine, run_id)
    report = RolloutLabels(run_id, rule, f"rollouts:{run_id}:{rule}")

    def decide(solutions: Sequence[ValuedSolution]) -> list[Decision]:
        return [first_error(solution.values, solution.n_steps, rule=rule) for solution in solutions]

    return _label(engine, report, decide, {"run_id": run_id, "rule": rule}, progress)


def label_by_consensus(
    engine: sa.Engine,
    *,
    run_id: int | None = None,
    rule: FirstErrorRule = "hard",
    critic: str | None = None,
    progress: Progress = silent,
) -> RolloutLabels:
    """Labels the solutions of which rollouts and judges name the same first error (Qwen, arXiv 2501.07301).

    What the judges say is what most of their verdicts on a solution name. Nothing after the first error is labelled.

    Args:
        engine: The database.
        run_id: The run of rollouts; None takes the latest one.
        rule: What makes a step wrong by its values.
        critic: Only verdicts by this model, or pattern with `*`.
        progress: Told after every batch.

    Raises:
        InputError: There is no such run.
    """
    run_id = find_rollouts_run(engine, run_id)
    report = RolloutLabels(run_id, rule, CONSENSUS)

    def decide(solutions: Sequence[ValuedSolution]) -> list[Decision]:
        with reading(engine) as session:
            said = judges_verdicts(session, [solution.solution_id for solution in solutions], critic=critic)
        return [
            consensus(
                first_error(solution.values, solution.n_steps, rule=rule),
                majority(_vote(verdict, solution.n_steps) for verdict in said[solution.solution_id])
                if solution.solution_id in said
                else Decision(None, "none"),
            )
            for solution in solutions
        ]

    return _label(engine, report, decide, {"run_id": run_id, "rule": rule, "critic": critic}, progress)


def _vote(verdict: Verdict, n_steps: int) -> Decision:
    if verdict.verdict == "pass":
        return Decision(None)
    if verdict.verdict == "fail" and verdict.first_error is not None and verdict.first_error < n_steps:
        return Decision(verdict.first_error)
    return Decision(None, "no step named")


def _label(
    engine: sa.Engine,
    report: RolloutLabels,
    decide: Callable[[Sequence[ValuedSolution]], list[Decision]],
    extra: dict[str, object],
    progress: Progress,
) -> RolloutLabels:
    total = count_valued_solutions(engine, report.run_id)
    for solutions in valued_solutions(engine, report.run_id):
        items = []
        for solution, decision in zip(solutions, decide(solutions), strict=True):
            report.n_read += 1
            if decision.undecided is not None:
                report.dropped[decision.undecided] += 1
                continue
            report.n_kept += 1
            report.n_wrong += decision.first_error is not None
            record = AnnotationRecord(
                annotator=report.annotator,
                annotator_kind="model",
                labels=decision.labels(solution.n_steps),
                finish_reason="solution" if decision.first_error is None else "found_error",
                extra=extra,
            )
            key = str(solution.solution_id)
            items.append(ImportedAnnotation(record, solution.solution_id, report.annotator, key))
        with writing(engine) as session:
            added = add_annotations(session, items)
        report.n_new += added.n_annotations
        report.n_step_labels += added.n_step_labels
        progress(report.n_read, total)
    return report
