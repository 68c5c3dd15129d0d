"""What the database holds beside the steps of solutions: values, scores, critiques, variants; a query for each."""

from collections.abc import Collection
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from stepmark.step_values import StepValue
from stepmark.verdicts import CarriedStep

from .connect import reading
from .critiques import VariantProblem, variants_to_carry_to
from .models import Critique, Problem, Run, Score, Solution
from .models import StepValue as StepValueRow

MAX_OPINIONS = 20
"""Critiques on a solution's own problem that are read; all are counted."""
MAX_APPLICATIONS = 8
"""Critiques on variants that are read."""
MAX_RUNS = 4
MAX_REWARD_MODELS = 8


@dataclass(frozen=True, slots=True)
class StoredValue:
    """The value of a step prefix, found by a run."""

    run_id: int
    model: str
    step_index: int
    value: StepValue


@dataclass(frozen=True, slots=True)
class StoredScore:
    """What a reward model gave a solution."""

    reward_model: str
    kind: str
    value: float
    segments: tuple[float, ...]
    """Of each segment; empty for models that give none."""


@dataclass(frozen=True, slots=True)
class AppliedTo:
    """The variant that a critic applied a solution to."""

    problem_id: int
    statement: str
    reference_answer: str | None
    kind: str
    reference_trust: str | None


@dataclass(frozen=True, slots=True)
class StoredCritique:
    """A critique of a solution, with the variant that it was applied to."""

    critique_id: int
    kind: str
    critic: str | None
    text: str
    verdict: str
    first_error: int | None
    answer: str | None
    is_confirmed: bool | None
    confirmation_rule: str | None
    reason: str | None
    """Why the verdict is unreadable."""
    carried: tuple[CarriedStep, ...]
    applied_to: AppliedTo | None
    """None where it is the solution's own problem."""


@dataclass(frozen=True, slots=True)
class CritiqueCount:
    """How many critiques of a kind, by a critic, say one thing."""

    kind: str
    critic: str | None
    on_variant: bool
    verdict: str
    first_error: int | None
    n: int


@dataclass(slots=True)
class StoredEvidence:
    """All of one solution."""

    solution_id: int
    problem_id: int
    statement: str
    reference_solution: str | None
    reference_answer: str | None
    steps: tuple[str, ...]
    answer: str | None
    outcome: bool | None
    generator: str | None
    values: list[StoredValue] = field(default_factory=list)
    """By run, the newest first, then by step."""
    scores: list[StoredScore] = field(default_factory=list)
    """The newest first."""
    critiques: list[StoredCritique] = field(default_factory=list)
    """What fails and is confirmed first, then what fails, passes, cannot be read; in the order of their ids."""
    counts: list[CritiqueCount] = field(default_factory=list)
    """Of all its critiques, also of those that are not read."""
    n_runs: int = 0
    n_reward_models: int = 0
    variants: list[VariantProblem] = field(default_factory=list)
    """The first of its problem to carry chains over to."""


def stored_evidence(
    engine: sa.Engine, solution_ids: Collection[int], *, n_variants: int = 3
) -> dict[int, StoredEvidence]:
    """Reads what there is of a few solutions, by id; ids without a solution are left out.

    Args:
        engine: The database.
        solution_ids: A few: the tasks in somebody's hands.
        n_variants: Variants of each problem at most.
    """
    with reading(engine) as session:
        query = (
            sa.select(
                Solution.solution_id,
                Solution.problem_id,
                Problem.statement,
                Problem.reference_solution,
                Problem.reference_answer,
                Solution.steps,
                Solution.answer,
                Solution.outcome,
                Solution.generator,
            )
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .where(Solution.solution_id.in_(solution_ids))
            .order_by(Solution.solution_id)
        )
        found = {
            row.solution_id: StoredEvidence(**{**row._mapping, "steps": tuple(row.steps)})
            for row in session.execute(query)
        }
        if found:
            _add_values(session, found)
            _add_scores(session, found)
            _add_critiques(session, found)
            problem_ids = sorted({one.problem_id for one in found.values()})
            variants = variants_to_carry_to(session, problem_ids, n_variants)
            for one in found.values():
                one.variants = variants.get(one.problem_id, [])
    return found


def _add_values(session: Session, found: dict[int, StoredEvidence]) -> None:
    of_these = StepValueRow.solution_id.in_(list(found))
    place = sa.func.dense_rank().over(partition_by=StepValueRow.solution_id, order_by=StepValueRow.run_id.desc())
    ranked = sa.select(StepValueRow, place.label("place")).where(of_these).subquery()
    query = (
        sa.select(ranked, Run.model)
        .join(Run, Run.run_id == ranked.c.run_id)
        .where(ranked.c.place <= MAX_RUNS, ranked.c.n_rollouts > 0)
        .order_by(ranked.c.solution_id, ranked.c.place, ranked.c.step_index)
    )
    for row in session.execute(query):
        value = StepValue(row.n_right, row.n_rollouts, row.n_unreadable)
        found[row.solution_id].values.append(StoredValue(row.run_id, row.model, row.step_index, value))
    counted = sa.select(StepValueRow.solution_id, sa.func.count(sa.distinct(StepValueRow.run_id)))
    for solution_id, n in session.execute(counted.where(of_these).group_by(StepValueRow.solution_id)):
        found[solution_id].n_runs = n


def _add_scores(session: Session, found: dict[int, StoredEvidence]) -> None:
    query = sa.select(Score).where(Score.solution_id.in_(list(found))).order_by(Score.score_id.desc())
    for score in session.scalars(query):
        solution = found[score.solution_id]
        solution.n_reward_models += 1
        if solution.n_reward_models <= MAX_REWARD_MODELS:
            segments = tuple(score.step_values or ())
            solution.scores.append(StoredScore(score.reward_model, score.kind, score.value, segments))


def _add_critiques(session: Session, found: dict[int, StoredEvidence]) -> None:
    applied_to = aliased(Problem)
    on_variant = (Critique.problem_id != Solution.problem_id).label("on_variant")
    of_these = (Critique.solution_id.in_(list(found)), Critique.target_critique_id.is_(None))
    weight = sa.case(
        (sa.and_(Critique.verdict == "fail", Critique.is_confirmed.is_(True)), 0),
        (Critique.verdict == "fail", 1),
        (Critique.verdict == "pass", 2),
        else_=3,
    )
    order = (weight, Critique.critique_id)
    place = sa.func.row_number().over(partition_by=(Critique.solution_id, on_variant), order_by=order)
    ranked = (
        sa.select(Critique.critique_id, on_variant, weight.label("weight"), place.label("place"))
        .join(Solution, Solution.solution_id == Critique.solution_id)
        .where(*of_these)
        .subquery()
    )
    most = sa.case((ranked.c.on_variant, MAX_APPLICATIONS), else_=MAX_OPINIONS)
    query = (
        sa.select(Critique, ranked.c.on_variant, applied_to)
        .join(ranked, ranked.c.critique_id == Critique.critique_id)
        .join(applied_to, applied_to.problem_id == Critique.problem_id)
        .where(ranked.c.place <= most)
        .order_by(ranked.c.weight, Critique.critique_id)
    )
    for critique, is_on_variant, problem in session.execute(query):
        found[critique.solution_id].critiques.append(_critique(critique, problem if is_on_variant else None))
    said = (Critique.solution_id, Critique.kind, Critique.critic, on_variant, Critique.verdict, Critique.first_error)
    counted = (
        sa.select(*said, sa.func.count().label("n"))
        .join(Solution, Solution.solution_id == Critique.solution_id)
        .where(*of_these)
        .group_by(*said)
        .order_by(*said)
    )
    for row in session.execute(counted):
        found[row.solution_id].counts.append(
            CritiqueCount(row.kind, row.critic, row.on_variant, row.verdict, row.first_error, row.n)
        )


def _critique(critique: Critique, variant: Problem | None) -> StoredCritique:
    extra = critique.extra or {}
    return StoredCritique(
        critique.critique_id,
        critique.kind,
        critique.critic,
        critique.text,
        critique.verdict,
        critique.first_error,
        critique.answer,
        critique.is_confirmed,
        critique.confirmation_rule,
        extra.get("reason"),
        tuple(CarriedStep(row["step"], row["text"], row.get("value")) for row in extra.get("carried", ())),
        None
        if variant is None
        else AppliedTo(
            variant.problem_id, variant.statement, variant.reference_answer, variant.kind, variant.reference_trust
        ),
    )
