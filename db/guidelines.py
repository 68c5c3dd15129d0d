"""Versions of the rules by which people label: a new version is a new row, and no row ever changes."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError
from stepmark.guidelines import GuidelineBody, read_guideline

from .connect import reading, writing
from .models import Annotation, Annotator, Event, Guideline, Project, Task


@dataclass(frozen=True, slots=True)
class GuidelineVersion:
    """A stored version of the rules."""

    guideline_id: int
    version: str
    body: GuidelineBody
    author: str | None
    created_at: dt.datetime


def add_guideline(
    engine: sa.Engine, version: str, body: Mapping[str, Any] | GuidelineBody, *, author_id: int | None = None
) -> int:
    """Stores a version of the rules; returns its id.

    Raises:
        InputError: There is a version of this name, the name is empty or too long, or the rules cannot be read.
    """
    version = version.strip()
    if not version or len(version) > 64:
        raise InputError(f"guideline version {version!r}: give a name of 1 to 64 characters, such as rules-2")
    read = body if isinstance(body, GuidelineBody) else read_guideline(body)
    with writing(engine) as session:
        if session.scalar(sa.select(Guideline.guideline_id).where(Guideline.version == version)) is not None:
            raise InputError(
                f"there is a guideline {version!r} already, and versions never change; give another name"
            )
        row = Guideline(version=version, body=read.as_json(), author_id=author_id)
        session.add(row)
        session.flush()
        session.add(Event(kind="guideline_added", annotator_id=author_id, data={"version": version}))
        return row.guideline_id


def list_guidelines(engine: sa.Engine) -> list[GuidelineVersion]:
    """All versions, newest first."""
    with reading(engine) as session:
        rows = session.execute(
            sa.select(Guideline, Annotator.name)
            .outerjoin(Annotator, Annotator.annotator_id == Guideline.author_id)
            .order_by(Guideline.guideline_id.desc())
        )
        return [
            GuidelineVersion(
                row.guideline_id, row.version, GuidelineBody.model_validate(row.body), name, row.created_at
            )
            for row, name in rows
        ]


def bodies_of(engine: sa.Engine, versions: Iterable[str]) -> dict[str, GuidelineBody]:
    """The rules of these versions; one that is not stored is left out."""
    with reading(engine) as session:
        rows = session.execute(
            sa.select(Guideline.version, Guideline.body).where(Guideline.version.in_(sorted(set(versions))))
        )
        return {version: GuidelineBody.model_validate(body) for version, body in rows}


def guideline_id_of(session: Session, version: str) -> int:
    """The id of a version.

    Raises:
        InputError: There is none of this name.
    """
    found = session.scalar(sa.select(Guideline.guideline_id).where(Guideline.version == version))
    if found is None:
        known = (
            ", ".join(session.scalars(sa.select(Guideline.version).order_by(Guideline.guideline_id))) or "none yet"
        )
        raise InputError(f"there is no guideline {version!r}; there are: {known}")
    return found


def guideline_of_project(engine: sa.Engine, project_id: int | None) -> GuidelineVersion | None:
    """The rules in force in a project; None for the default ones."""
    with reading(engine) as session:
        row = session.execute(
            sa.select(Guideline, Annotator.name)
            .join(Project, Project.guideline_id == Guideline.guideline_id)
            .outerjoin(Annotator, Annotator.annotator_id == Guideline.author_id)
            .where(Project.project_id == project_id)
        ).one_or_none()
        if row is None:
            return None
        found, name = row
        return GuidelineVersion(
            found.guideline_id, found.version, GuidelineBody.model_validate(found.body), name, found.created_at
        )


def labels_by_guideline(engine: sa.Engine, project_id: int | None = None) -> dict[str | None, int]:
    """How many current answers to tasks name which version."""
    query = (
        sa.select(Annotation.guideline, sa.func.count())
        .join(Task, Task.task_id == Annotation.task_id)
        .where(Annotation.superseded_by_id.is_(None))
        .group_by(Annotation.guideline)
    )
    if project_id is not None:
        query = query.where(Task.project_id == project_id)
    with reading(engine) as session:
        return {version: count for version, count in session.execute(query)}
