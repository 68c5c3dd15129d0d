"""Scores that reward models gave: which solutions lack one, and writing them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.records import ScoreRecord

from .bulk import bulk_insert, is_among, table_of
from .connect import reading, writing
from .models import Annotation, Problem, Score, Solution, StepLabel
from .selection import is_label_data, solution_in_source, tells_first_error

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class SolutionToScore:
    """What a reward model reads of a solution."""

    solution_id: int
    problem_id: int
    text_hash: str
    """Equal texts of one problem share it: they are scored once."""
    statement: str
    steps: tuple[str, ...]
    answer: str | None


@dataclass(frozen=True, slots=True)
class NewScore:
    """A score to be stored."""

    solution_id: int
    value: float
    step_values: tuple[float, ...] | None = None


def _unscored(reward_model: str, source: str | None, run_id: int | None) -> sa.ColumnElement[bool]:
    has_score = sa.exists().where(Score.solution_id == Solution.solution_id, Score.reward_model == reward_model)
    is_of_run = sa.true() if run_id is None else Solution.run_id == run_id
    return sa.and_(~has_score, solution_in_source(source), is_of_run)


def count_to_score(
    engine: sa.Engine, reward_model: str, *, source: str | None = None, run_id: int | None = None
) -> int:
    """How many solutions `solutions_to_score` will yield."""
    query = sa.select(sa.func.count()).select_from(Solution).where(_unscored(reward_model, source, run_id))
    with reading(engine) as session:
        return session.scalar(query) or 0


def solutions_to_score(
    engine: sa.Engine, reward_model: str, *, source: str | None = None, run_id: int | None = None
) -> Iterator[list[SolutionToScore]]:
    """Yields, in batches ordered by problem, the solutions that this reward model has not scored.

    Of a source or a run, where one is given.

    Solutions of one problem with equal text always stand in one batch.
    """
    query = (
        sa.select(
            Solution.solution_id,
            Solution.problem_id,
            Solution.text_hash,
            Problem.statement,
            Solution.steps,
            Solution.answer,
        )
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .where(_unscored(reward_model, source, run_id))
        .order_by(Solution.problem_id, Solution.solution_id)
    )
    last = 0
    while True:
        with reading(engine) as session:
            page = query.where(Solution.problem_id > last).limit(_BATCH)
            rows = session.execute(page).all()
            if len(rows) == _BATCH:
                # The last problem may be cut by the limit: take it whole.
                rows = [row for row in rows if row.problem_id != rows[-1].problem_id] or session.execute(
                    query.where(Solution.problem_id == rows[-1].problem_id)
                ).all()
        if not rows:
            return
        last = rows[-1].problem_id
        yield [
            SolutionToScore(r.solution_id, r.problem_id, r.text_hash, r.statement, tuple(r.steps), r.answer)
            for r in rows
        ]


def write_scores(engine: sa.Engine, scores: Iterable[NewScore], *, reward_model: str, kind: str) -> int:
    """Writes one batch of scores in one transaction; returns how many."""
    rows = [
        {
            "solution_id": score.solution_id,
            "reward_model": reward_model,
            "kind": kind,
            "value": score.value,
            "step_values": None if score.step_values is None else list(score.step_values),
        }
        for score in scores
    ]
    if rows:
        with writing(engine) as session:
            session.execute(sa.insert(Score), rows)
    return len(rows)


def add_imported_scores(session: Session, items: Sequence[tuple[ScoreRecord, int]]) -> list[bool]:
    """Adds scores, each with its solution's id, where the reward model gave that solution none yet; says which."""
    names = {record.reward_model for record, _ in items}
    query = sa.select(Score.solution_id, Score.reward_model).where(
        is_among(session, Score.solution_id, sorted({solution_id for _, solution_id in items})),
        Score.reward_model.in_(names),
    )
    there = {(solution_id, name) for solution_id, name in session.execute(query)} if items else set()
    rows = []
    is_new = []
    for record, solution_id in items:
        key = (solution_id, record.reward_model)
        is_new.append(key not in there)
        if is_new[-1]:
            there.add(key)
            rows.append(
                {
                    "solution_id": solution_id,
                    "reward_model": record.reward_model,
                    "kind": record.kind,
                    "value": record.value,
                    "step_values": None if record.step_values is None else list(record.step_values),
                }
            )
    bulk_insert(session, table_of(Score), rows)
    return is_new


@dataclass(frozen=True, slots=True)
class ScoredSolution:
    """A solution with its outcome and the scores of the reward models asked for."""

    problem_id: int
    solution_id: int
    text_hash: str
    answer: str | None
    outcome: bool | None
    is_verified: bool
    """Whether somebody looked; a verified solution without outcome has an answer that cannot be read."""
    scores: dict[str, float]
    """By name of the reward model; a model that did not score it has no entry."""


def scored_solutions(engine: sa.Engine, reward_models: Iterable[str], *, source: str | None) -> list[ScoredSolution]:
    """All solutions of a source with their scores, ordered by problem and solution.

    It is read whole: an evaluation set is some ten thousand rows.
    """
    wanted = tuple(reward_models)
    with reading(engine) as session:
        rows = session.execute(
            sa.select(
                Solution.problem_id,
                Solution.solution_id,
                Solution.text_hash,
                Solution.answer,
                Solution.outcome,
                Solution.outcome_rule,
            )
            .where(solution_in_source(source))
            .order_by(Solution.problem_id, Solution.solution_id)
        ).all()
        values = session.execute(
            sa.select(Score.solution_id, Score.reward_model, Score.value)
            .join(Solution, Solution.solution_id == Score.solution_id)
            .where(Score.reward_model.in_(wanted), solution_in_source(source))
        ).all()
    by_solution: dict[int, dict[str, float]] = {}
    for solution_id, reward_model, value in values:
        by_solution.setdefault(solution_id, {})[reward_model] = value
    return [
        ScoredSolution(
            problem_id=r.problem_id,
            solution_id=r.solution_id,
            text_hash=r.text_hash,
            answer=r.answer,
            outcome=r.outcome,
            is_verified=r.outcome_rule is not None,
            scores=by_solution.get(r.solution_id, {}),
        )
        for r in rows
    ]


def step_judgements(
    engine: sa.Engine, reward_model: str, *, source: str | None
) -> dict[int, list[tuple[bool, float]]]:
    """By solution, its judged steps as (is the label positive, this PRM's score); neutral steps are left out.

    Labels come from current annotations of any labeller.
    """
    query = (
        sa.select(Annotation.solution_id, StepLabel.step_index, StepLabel.label, Score.step_values)
        .join(StepLabel, StepLabel.annotation_id == Annotation.annotation_id)
        .join(Solution, Solution.solution_id == Annotation.solution_id)
        .join(Score, Score.solution_id == Annotation.solution_id)
        .where(
            Score.reward_model == reward_model,
            Annotation.superseded_by_id.is_(None),
            Annotation.segments.is_(None),
            is_label_data(),
            StepLabel.label != 0,
            solution_in_source(source),
        )
        .order_by(Annotation.solution_id, Annotation.annotation_id, StepLabel.step_index)
    )
    found: dict[int, list[tuple[bool, float]]] = {}
    with reading(engine) as session:
        for solution_id, index, label, values in session.execute(query):
            if values is not None and index < len(values):
                found.setdefault(solution_id, []).append((label > 0, values[index]))
    return found


def convincing_wrong(
    engine: sa.Engine, reward_model: str, *, limit: int, source: str | None = None
) -> list[tuple[int, float]]:
    """The wrong solutions that a reward model likes best, as (solution id, score), one for each problem.

    Lightman et al. 2023, section 2.4: people's labels teach most where the reward model is convincingly wrong.
    """
    place = sa.func.row_number().over(
        partition_by=Solution.problem_id, order_by=(Score.value.desc(), Solution.solution_id)
    )
    ranked = (
        sa.select(Solution.solution_id, Score.value, place.label("place"))
        .join(Score, Score.solution_id == Solution.solution_id)
        .where(Score.reward_model == reward_model, Solution.outcome.is_(False), solution_in_source(source))
        .subquery()
    )
    query = (
        sa.select(ranked.c.solution_id, ranked.c.value)
        .where(ranked.c.place == 1)
        .order_by(ranked.c.value.desc(), ranked.c.solution_id)
        .limit(limit)
    )
    with reading(engine) as session:
        return [(solution_id, value) for solution_id, value in session.execute(query)]


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled and scored solution, to be shown."""

    statement: str
    reference_answer: str | None
    steps: tuple[str, ...]
    answer: str | None
    labels: tuple[int | None, ...]
    """One for each step; None where it was not judged."""
    step_scores: tuple[float, ...]
    value: float


def example(
    engine: sa.Engine, reward_model: str, *, outcome: bool, has_error: bool, source: str | None
) -> Example | None:
    """One solution of this outcome, with or without a wrong step, that a PRM scored; None where there is none.

    Of several, the one whose score is the lowest for wrong steps, the highest for right ones.
    """
    query = (
        sa.select(Problem, Solution, Annotation.annotation_id, Score)
        .join(Solution, Solution.problem_id == Problem.problem_id)
        .join(Annotation, Annotation.solution_id == Solution.solution_id)
        .join(Score, Score.solution_id == Solution.solution_id)
        .where(
            Score.reward_model == reward_model,
            Score.step_values.is_not(None),
            Solution.outcome.is_(outcome),
            Annotation.superseded_by_id.is_(None),
            tells_first_error(),
            Annotation.first_error.is_not(None) if has_error else Annotation.first_error.is_(None),
            solution_in_source(source),
        )
        .order_by(Score.value.asc() if has_error else Score.value.desc(), Solution.solution_id)
        .limit(1)
    )
    with reading(engine) as session:
        row = session.execute(query).first()
        if row is None:
            return None
        problem, solution, annotation_id, score = row
        labels: dict[int, int] = {
            index: label
            for index, label in session.execute(
                sa.select(StepLabel.step_index, StepLabel.label).where(StepLabel.annotation_id == annotation_id)
            )
        }
        return Example(
            problem.statement,
            problem.reference_answer,
            tuple(solution.steps),
            solution.answer,
            tuple(labels.get(index) for index in range(len(solution.steps))),
            tuple(score.step_values or ()),
            score.value,
        )
