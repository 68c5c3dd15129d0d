"""Reviewers' decisions as one more labeller: how often each annotator said what was decided.

A decision is held against every other answer to the same task, never against the reviewer's own. Annotators who were
adopted agree by that alone, and tasks are decided where people differ: the shares tell annotators apart, they are no
measure of all labels.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .adjudications import standing_decisions
from .agreement import LabelSelection, is_selected
from .connect import reading
from .models import Adjudication, Annotation, Annotator, CritiqueJudgement, Preference, Solution, StepLabel
from .selection import check_sources, solution_in_source


@dataclass(slots=True)
class WithDecisions:
    """How often an annotator's current answers say what a reviewer decided."""

    annotator: str
    n_steps: int = 0
    """Steps that the annotator labelled and a reviewer decided."""
    n_steps_same: int = 0
    n_pairs: int = 0
    n_pairs_same: int = 0
    n_critiques: int = 0
    n_critiques_same: int = 0
    """The same judgement of the critique, whatever is said of its verdict."""

    @property
    def n(self) -> int:
        """All that was decided."""
        return self.n_steps + self.n_pairs + self.n_critiques

    @property
    def n_same(self) -> int:
        """Of all, what the annotator says as well."""
        return self.n_steps_same + self.n_pairs_same + self.n_critiques_same


def agreement_with_decisions(engine: sa.Engine, selection: LabelSelection) -> list[WithDecisions]:
    """Holds the answers of a selection against the decisions that stand; by name, without those who share none.

    Raises:
        InputError: No source is named as the selection says.
    """
    found: dict[str, WithDecisions] = {}
    with reading(engine) as session:
        if selection.source is not None:
            check_sources(session, [selection.source])
        for kind, query in (("steps", _steps()), ("pairs", _pairs()), ("critiques", _critiques())):
            query = query.where(
                *is_selected(selection),
                Annotation.superseded_by_id.is_(None),
                Annotator.kind.in_(selection.annotator_kinds),
            )
            if selection.source is not None:
                query = query.join(Solution, Solution.solution_id == Annotation.solution_id)
                query = query.where(solution_in_source(selection.source))
            for name, n, n_same in session.execute(query.group_by(Annotator.name)):
                one = found.setdefault(name, WithDecisions(name))
                setattr(one, f"n_{kind}", int(n))
                setattr(one, f"n_{kind}_same", int(n_same))
    return [found[name] for name in sorted(found)]


def _steps() -> sa.Select[*tuple[Any, ...]]:
    place = sa.func.row_number().over(
        partition_by=(Adjudication.task_id, Adjudication.step_index), order_by=Adjudication.adjudication_id.desc()
    )
    ranked = sa.select(Adjudication, place.label("place")).subquery()
    return (
        _counted(StepLabel.label == ranked.c.label)
        .join(StepLabel, StepLabel.annotation_id == Annotation.annotation_id)
        .join(ranked, sa.and_(ranked.c.task_id == Annotation.task_id, ranked.c.step_index == StepLabel.step_index))
        .where(ranked.c.place == 1, ranked.c.annotator_id != Annotation.annotator_id, Annotation.segments.is_(None))
    )


def _pairs() -> sa.Select[*tuple[Any, ...]]:
    decided = standing_decisions().subquery()
    return (
        _counted(Preference.choice == decided.c.choice)
        .join(Preference, Preference.annotation_id == Annotation.annotation_id)
        .join(decided, decided.c.task_id == Annotation.task_id)
        .where(decided.c.choice.is_not(None), decided.c.annotator_id != Annotation.annotator_id)
    )


def _critiques() -> sa.Select[*tuple[Any, ...]]:
    decided = standing_decisions().subquery()
    return (
        _counted(CritiqueJudgement.judgement == decided.c.judgement)
        .join(CritiqueJudgement, CritiqueJudgement.annotation_id == Annotation.annotation_id)
        .join(decided, decided.c.task_id == Annotation.task_id)
        .where(decided.c.judgement.is_not(None), decided.c.annotator_id != Annotation.annotator_id)
    )


def _counted(is_same: sa.ColumnElement[bool]) -> sa.Select[*tuple[Any, ...]]:
    n_same = sa.func.sum(sa.case((is_same, 1), else_=0))
    return (
        sa.select(Annotator.name, sa.func.count(), n_same)
        .select_from(Annotation)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
    )
