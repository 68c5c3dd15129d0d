"""Who labels the solutions of a round, each way a function: people by the queue, programs and rollouts at once.

`LABELLERS` names the ways. Labels that are not a person's are stored as a program's or a model's.
"""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import sqlalchemy as sa

from db.annotations import ImportedAnnotation, add_annotations
from db.connect import writing
from db.rounds import RunSample, first_errors, n_open_tasks, solution_texts
from db.subjects import SolutionSelection
from db.tasks import add_tasks
from generator.asking import run_task
from generator.domain import check_solution, parse_problem
from generator.rollouts import RolloutsTask
from stepmark.answers import AnswerVerifier
from stepmark.answers.key import answer_key
from stepmark.engine import Engine, Sampling
from stepmark.progress import Progress, silent
from stepmark.prompts import Prompt
from stepmark.records import AnnotationRecord
from stepmark.steps import render_solution

from .rollout_labels import label_by_rollouts
from .round_rows import ChosenToLabel
from .stages import require_done

Labeller = Literal["people", "simulated", "checker", "rollouts", "majority"]
"""`people`: tasks in the queue, and the loop waits for them; `simulated`: the embedded domain's checker with a share
of its answers wrong, in the place of a person; `checker`: the checker itself; `rollouts`: the values of steps;
`majority`: the answer given most often counts as right, to see a loop collapse."""

LABELLERS: tuple[Labeller, ...] = get_args(Labeller)

SIMULATED = "simulated-annotator"
MAJORITY = "majority-answer"
CHECKER = "round-checker"


@dataclass(slots=True)
class RoundLabels:
    """What the labelling of a round came to."""

    annotators: tuple[str, ...] = ()
    """Whose labels count; empty: those of all people."""
    first_errors: dict[int, int | None] = field(default_factory=dict)
    """By solution id; None where no step is wrong."""
    n_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    n_waiting: int = 0
    """Solutions that people have yet to answer; the loop cannot go on before."""

    @property
    def annotator_kinds(self) -> tuple[str, ...]:
        """The kinds of those whose labels count, where it is not names that tell."""
        return () if self.annotators else ("person",)


def label_by_people(database: sa.Engine, selected: Sequence[ChosenToLabel], *, loop: str, number: int) -> RoundLabels:
    """Puts the solutions into the queue, those of the first rule first, and takes what people have said so far."""
    ids = [solution_id for one in selected for solution_id in one.solution_ids]
    labels = RoundLabels(n_read=len(ids))
    labels.first_errors = first_errors(database, ids, annotator_kinds=("person",))
    missing = [solution_id for solution_id in ids if solution_id not in labels.first_errors]
    for one in selected:
        wanted = [(solution_id, 0.0) for solution_id in one.solution_ids if solution_id not in labels.first_errors]
        added = add_tasks(database, wanted, reason=f"{loop} {number}: {one.reason}"[:64])
        labels.dropped.update({why: n for why, n in added.dropped.items() if why != "already queued"})
    labels.n_waiting = n_open_tasks(database, missing)
    labels.dropped["answered without a label"] = len(missing) - labels.n_waiting - labels.dropped.total()
    return labels


def label_by_domain(
    database: sa.Engine, solution_ids: Sequence[int], *, noise: float, seed: int, annotator: str
) -> RoundLabels:
    """Labels solutions of the embedded domain by its checker, a share of them wrongly.

    A wrong label names another step as the first error, or none; of a right solution it names one at random. The
    same text of a problem, seed and noise give the same label, in whatever order solutions were stored.

    Args:
        database: Holds the solutions.
        solution_ids: Which.
        noise: The share of solutions that are labelled wrongly.
        seed: Of the noise.
        annotator: Whose labels these are; stored as a program's.
    """
    labels = RoundLabels(annotators=(annotator,), n_read=len(solution_ids))
    items = []
    for solution_id, statement, steps, answer in solution_texts(database, solution_ids):
        problem = parse_problem(statement)
        if problem is None or not steps:
            labels.dropped["no steps" if not steps else "not of the embedded domain"] += 1
            continue
        said = check_solution(problem, steps, answer).step_labels
        truth = said.index(-1) if -1 in said else None
        rng = random.Random(f"{seed} {annotator} {statement} {render_solution(steps, answer)}")
        first = truth
        if rng.random() < noise:
            first = rng.choice([other for other in (None, *range(len(steps))) if other != truth])
        labels.first_errors[solution_id] = first
        items.append(_annotation(solution_id, first, len(steps), annotator=annotator))
    with writing(database) as session:
        add_annotations(session, items)
    return labels


def label_by_majority(
    database: sa.Engine, samples: Sequence[RunSample], solution_ids: Collection[int]
) -> RoundLabels:
    """Labels solutions by the answer that most samples of their problem give: others are wrong in their last step.

    Nothing is held against a reference: what a loop does that only agrees with itself.
    """
    said: dict[int, Counter[str]] = {}
    for sample in samples:
        if sample.answer is not None:
            said.setdefault(sample.problem_id, Counter())[answer_key(sample.answer)] += 1
    labels = RoundLabels(annotators=(MAJORITY,), n_read=len(solution_ids))
    items = []
    wanted = set(solution_ids)
    for sample in samples:
        if sample.solution_id not in wanted:
            continue
        if sample.answer is None or not sample.steps:
            labels.dropped["no answer"] += 1
            continue
        agrees = answer_key(sample.answer) == said[sample.problem_id].most_common(1)[0][0]
        first = None if agrees else len(sample.steps) - 1
        labels.first_errors[sample.solution_id] = first
        items.append(_annotation(sample.solution_id, first, len(sample.steps), annotator=MAJORITY))
    with writing(database) as session:
        add_annotations(session, items)
    return labels


def label_by_round_rollouts(
    database: sa.Engine,
    engine: Engine,
    *,
    prompt: Prompt,
    sampling: Sampling,
    source: str,
    n: int,
    k: int = 8,
    round_id: int | None = None,
    progress: Progress = silent,
) -> RoundLabels:
    """Rolls out the steps of the first `n` different solutions that this engine's model gave, and labels them.

    Raises:
        JobError: The rollouts could not be finished; the same call goes on with them.
        KeyboardInterrupt: They were stopped by Ctrl-C.
    """
    selection = SolutionSelection(source=source, generator=engine.identity.model, limit=n)
    with AnswerVerifier() as verifier:
        task = RolloutsTask(prompt, sampling, k, verifier, selection=selection)
        report = run_task(
            database,
            engine,
            task,
            on_progress=lambda r: progress(r.n_items_over, r.n_items),
            round_id=round_id,
        )
    require_done(report, "the rollouts", then="Run the loop again.")
    assert report.run_id is not None, "a run that is done has an id"
    found = label_by_rollouts(database, run_id=report.run_id)
    first = first_errors(database, None, annotators=(found.annotator,))
    return RoundLabels((found.annotator,), first, found.n_read, found.dropped)


def _annotation(solution_id: int, first: int | None, n_steps: int, *, annotator: str) -> ImportedAnnotation:
    after: tuple[None, ...] = () if first is None else (None,) * (n_steps - first - 1)
    record = AnnotationRecord(
        annotator=annotator,
        annotator_kind="program",
        labels=(1,) * n_steps if first is None else (*(1,) * first, -1, *after),
        finish_reason="solution" if first is None else "found_error",
    )
    return ImportedAnnotation(record=record, solution_id=solution_id, source=annotator, source_key=str(solution_id))
