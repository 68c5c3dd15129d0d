"""What evaluations read: solutions with outcome and step labels, and critics' verdicts with what is known of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .connect import reading
from .models import Annotation, Annotator, Critique, Problem, Solution, StepLabel
from .selection import check_sources, name_like, next_problems, solution_in_source, tells_first_error

_PROBLEMS = 200
"""Problems read at a time."""


@dataclass(frozen=True, slots=True)
class LabelledSolution:
    """A solution with what is known of it."""

    solution_id: int
    problem_id: int
    family: str
    statement: str
    steps: tuple[str, ...]
    answer: str | None
    outcome: bool | None
    labels: tuple[int | None, ...]
    """By step, of the labeller that `labelled_solutions` took; empty without one."""


def labelled_solutions(
    engine: sa.Engine, *, source: str | None, labelled_only: bool = False
) -> Iterator[LabelledSolution]:
    """Yields solutions ordered by problem, each with the step labels of one labeller.

    Of several, a person is taken before a program and a program before a model, then the earliest.

    Args:
        engine: The database.
        source: Only solutions of sources that match this pattern.
        labelled_only: Leave out those without step labels.

    Raises:
        InputError: No source is named so.
    """
    last = 0
    with reading(engine) as session:
        if source is not None:
            check_sources(session, [source])
    while True:
        with reading(engine) as session:
            page = next_problems(solution_in_source(source), after=last, n=_PROBLEMS)
            rows = session.execute(
                sa.select(
                    Solution.solution_id,
                    Solution.problem_id,
                    Problem.family,
                    Problem.statement,
                    Solution.steps,
                    Solution.answer,
                    Solution.outcome,
                )
                .join(page, page.c.problem_id == Solution.problem_id)
                .join(Problem, Problem.problem_id == Solution.problem_id)
                .where(solution_in_source(source))
                .order_by(Solution.problem_id, Solution.solution_id)
            ).all()
            labels = _labels(session, page) if rows else {}
        if not rows:
            return
        last = rows[-1].problem_id
        for row in rows:
            marks = labels.get(row.solution_id, {})
            if marks or not labelled_only:
                yield LabelledSolution(
                    row.solution_id,
                    row.problem_id,
                    row.family,
                    row.statement,
                    tuple(row.steps),
                    row.answer,
                    row.outcome,
                    tuple(marks.get(index) for index in range(max(marks) + 1)) if marks else (),
                )


def _labels(session: Session, page: sa.Subquery) -> dict[int, dict[int, int]]:
    """Labels by solution and step."""
    rank = sa.case((Annotator.kind == "person", 0), (Annotator.kind == "program", 1), else_=2)
    query = (
        sa.select(Annotation.solution_id, Annotation.annotation_id, StepLabel.step_index, StepLabel.label)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .join(StepLabel, StepLabel.annotation_id == Annotation.annotation_id)
        .join(Solution, Solution.solution_id == Annotation.solution_id)
        .join(page, page.c.problem_id == Solution.problem_id)
        .where(tells_first_error(), Annotation.superseded_by_id.is_(None))
        .order_by(Annotation.solution_id, rank, Annotation.annotation_id)
    )
    found: dict[int, dict[int, int]] = {}
    taken: dict[int, int] = {}
    for solution_id, annotation_id, index, label in session.execute(query):
        if taken.setdefault(solution_id, annotation_id) == annotation_id:
            found.setdefault(solution_id, {})[index] = label
    return found


@dataclass(frozen=True, slots=True)
class JudgedVerdict:
    """A critique's verdict on a solution, and whether it is right."""

    critic: str
    kind: str
    on_variant: bool
    solution_id: int
    family: str
    verdict: str
    is_confirmed: bool | None
    outcome: bool | None
    planted: str | None
    """How the solution was made wrong on purpose (`extra.planted`); None of any other."""


def judged_verdicts(
    engine: sa.Engine, *, source: str | None = None, critic: str | None = None
) -> Iterator[JudgedVerdict]:
    """Yields the verdicts of critiques of solutions, ordered by critique.

    Args:
        engine: The database.
        source: Only on solutions of sources that match this pattern.
        critic: Only by critics whose name matches this pattern.
    """
    last = 0
    while True:
        query = (
            sa.select(
                Critique.critique_id,
                Critique.critic,
                Critique.kind,
                (Critique.problem_id != Solution.problem_id).label("on_variant"),
                Critique.solution_id,
                Problem.family,
                Critique.verdict,
                Critique.is_confirmed,
                Solution.outcome,
                Solution.extra,
            )
            .join(Solution, Solution.solution_id == Critique.solution_id)
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .where(
                Critique.critique_id > last,
                Critique.target_critique_id.is_(None),
                solution_in_source(source),
                sa.true() if critic is None else name_like(Critique.critic, critic),
            )
            .order_by(Critique.critique_id)
            .limit(2000)
        )
        with reading(engine) as session:
            rows = session.execute(query).all()
        if not rows:
            return
        last = rows[-1].critique_id
        for row in rows:
            planted = (row.extra or {}).get("planted")
            yield JudgedVerdict(
                row.critic or "unnamed",
                row.kind,
                row.on_variant,
                row.solution_id,
                row.family,
                row.verdict,
                row.is_confirmed,
                row.outcome,
                planted if isinstance(planted, str) else None,
            )
