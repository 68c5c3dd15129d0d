"""What annotators may see of their own quality: how many tasks with a known answer they got right, where a project
shows it.

Gold tasks are silent: a figure that moved after each would give them away. So they are counted five at a time.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from stepmark.projects import read_settings

from .connect import reading
from .models import Annotation, Project, Task
from .tasks.quality import MISSED

GOLD_AT_ONCE = 5
"""Gold answers are counted in groups of so many; those of a group that is not full yet are not shown."""


@dataclass(slots=True)
class OwnQuality:
    """One project's figures for one annotator."""

    project: str
    n_gold: int = 0
    """Gold tasks answered, in full groups; skipped ones left out."""
    n_gold_right: int = 0
    n_entry: int = 0
    """Tasks of the entry test answered."""
    n_entry_right: int = 0


def own_quality(engine: sa.Engine, annotator_id: int) -> list[OwnQuality]:
    """An annotator's figures in each project whose settings show them (`shows_own_quality`), by name."""
    query = (
        sa.select(Project.name, Project.settings, Task.purpose, Annotation.checks)
        .join(Task, Task.project_id == Project.project_id)
        .join(Annotation, Annotation.task_id == Task.task_id)
        .where(
            Annotation.annotator_id == annotator_id,
            Annotation.superseded_by_id.is_(None),
            sa.or_(Task.purpose == "entry", sa.and_(Task.purpose == "gold", Annotation.finish_reason != "skipped")),
        )
        .order_by(Project.name, Annotation.annotation_id)
    )
    answers: dict[tuple[str, str], list[bool]] = {}
    with reading(engine) as session:
        for name, settings, purpose, checks in session.execute(query):
            if read_settings(settings).shows_own_quality:
                answers.setdefault((name, purpose), []).append(MISSED not in (checks or ()))
    found: dict[str, OwnQuality] = {}
    for (name, purpose), are_right in answers.items():
        one = found.setdefault(name, OwnQuality(name))
        if purpose == "entry":
            one.n_entry, one.n_entry_right = len(are_right), sum(are_right)
        else:
            one.n_gold = len(are_right) - len(are_right) % GOLD_AT_ONCE
            one.n_gold_right = sum(are_right[: one.n_gold])
    return list(found.values())
