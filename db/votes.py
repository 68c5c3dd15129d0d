"""What several judges say of one thing: of a solution, by their critiques; of a pair, by their choices."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from .connect import reading
from .models import Annotation, Annotator, Critique, Preference, Solution

_TURNED = {"a": "b", "b": "a"}


@dataclass(slots=True)
class SolutionVotes:
    """The verdicts of one critic, of one kind, on a solution's own problem."""

    kind: str
    critic: str | None
    n_pass: int = 0
    n_fail: int = 0
    n_unreadable: int = 0
    first_errors: dict[int, int] = field(default_factory=dict)
    """Each step (0-based) that is named as the first error, and how many verdicts name it."""


@dataclass(frozen=True, slots=True)
class PairVotes:
    """The choices of one model or program between two solutions, in the order that was asked for."""

    judge: str
    choices: Mapping[str, int]
    """How often it chose `a`, `b`, `equal`, `both_bad`."""


def solution_votes(engine: sa.Engine, solution_id: int) -> list[SolutionVotes]:
    """The verdicts on a solution, a row for each kind and critic; those on variants of its problem are left out."""
    said = (Critique.kind, Critique.critic, Critique.verdict, Critique.first_error)
    query = (
        sa.select(*said, sa.func.count().label("n"))
        .join(Solution, Solution.solution_id == Critique.solution_id)
        .where(
            Critique.solution_id == solution_id,
            Critique.target_critique_id.is_(None),
            Critique.problem_id == Solution.problem_id,
        )
        .group_by(*said)
        .order_by(*said)
    )
    found: dict[tuple[str, str | None], SolutionVotes] = {}
    with reading(engine) as session:
        for row in session.execute(query):
            votes = found.setdefault((row.kind, row.critic), SolutionVotes(row.kind, row.critic))
            if row.verdict == "pass":
                votes.n_pass += row.n
            elif row.verdict == "fail":
                votes.n_fail += row.n
            else:
                votes.n_unreadable += row.n
            if row.first_error is not None:
                votes.first_errors[row.first_error] = votes.first_errors.get(row.first_error, 0) + row.n
    return list(found.values())


def pair_votes(engine: sa.Engine, a_id: int, b_id: int) -> list[PairVotes]:
    """What models and programs chose between two solutions, whichever of them stood first; by judge."""
    query = (
        sa.select(Annotator.name, Preference.solution_a_id, Preference.choice, sa.func.count().label("n"))
        .join(Annotation, Annotation.annotation_id == Preference.annotation_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(
            Annotator.kind != "person",
            Annotation.superseded_by_id.is_(None),
            sa.or_(
                sa.and_(Preference.solution_a_id == a_id, Preference.solution_b_id == b_id),
                sa.and_(Preference.solution_a_id == b_id, Preference.solution_b_id == a_id),
            ),
        )
        .group_by(Annotator.name, Preference.solution_a_id, Preference.choice)
        .order_by(Annotator.name)
    )
    found: dict[str, dict[str, int]] = {}
    with reading(engine) as session:
        for row in session.execute(query):
            choice = row.choice if row.solution_a_id == a_id else _TURNED.get(row.choice, row.choice)
            choices = found.setdefault(row.name, {})
            choices[choice] = choices.get(choice, 0) + row.n
    return [PairVotes(judge, choices) for judge, choices in found.items()]
