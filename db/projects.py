"""Labelling campaigns: made, listed, changed. Who takes part is in `db.members`, what is to be done in `db.queue`."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError
from stepmark.projects import ProjectSettings, read_settings

from .connect import reading, writing
from .guidelines import guideline_id_of
from .models import PROJECT_ACCESS, TASK_KINDS, TASK_MODES, Annotation, Event, Guideline, Membership, Project, Task

WORK = ("label", "relabel")
"""Purposes of the tasks that are the work itself; the others test, train and compare."""
_LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project with its counts."""

    project_id: int
    name: str
    kind: str
    mode: str
    n_wanted: int
    access: str
    guideline: str | None
    """Version of the rules in force; None for the default ones."""
    is_open: bool
    settings: ProjectSettings
    created_at: dt.datetime
    n_open: int
    """Tasks of `WORK` that still want an answer."""
    n_closed: int
    n_answers: int
    n_members: int

    def as_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "settings": self.settings.model_dump(mode="json"),
            "created_at": self.created_at.isoformat(),
        }


def create_project(
    engine: sa.Engine,
    name: str,
    *,
    kind: str = "steps",
    mode: str = "first_error",
    n_wanted: int = 1,
    access: str = "everyone",
    guideline: str | None = None,
    settings: Mapping[str, Any] | None = None,
    author_id: int | None = None,
) -> int:
    """Makes a project; returns its id.

    Args:
        engine: The database.
        name: Of 1 to 128 characters; no two projects share one.
        kind: What is labelled: `steps`, `preference` or `critique`.
        mode: How steps are labelled.
        n_wanted: Independent annotators of each new task.
        access: `everyone`, or only `members`.
        guideline: Version of the rules; None for the default ones.
        settings: Those that differ from the defaults (`stepmark.projects.ProjectSettings`).
        author_id: Who makes it, for the record.

    Raises:
        InputError: Names the value that cannot be used.
    """
    name = _checked_name(name)
    _check(kind=kind, mode=mode, access=access, n_wanted=n_wanted)
    read = read_settings(dict(settings or {}))
    with writing(engine) as session:
        if session.scalar(sa.select(Project.project_id).where(Project.name == name)) is not None:
            raise InputError(f"there is a project {name!r} already; give another name")
        row = Project(
            name=name,
            kind=kind,
            mode=mode,
            n_wanted=n_wanted,
            access=access,
            guideline_id=None if guideline is None else guideline_id_of(session, guideline),
            settings=_stored(read),
        )
        session.add(row)
        session.flush()
        _note(session, "project_created", row, author_id, {"name": name})
        return row.project_id


def change_project(
    engine: sa.Engine, project_id: int, *, author_id: int | None = None, **changes: Any
) -> dict[str, tuple[Any, Any]]:
    """Changes a project: `name`, `mode`, `n_wanted`, `access`, `guideline`, `is_open`, `settings`; the kind stays.

    Settings that are given replace those of the same name; the others stay. A new `n_wanted` and a new mode hold for
    tasks that are added from now on.

    Returns:
        What changed: old and new value by name; it is also written to the events.

    Raises:
        InputError: A value cannot be used, or there is no such project.
    """
    unknown = set(changes) - {"name", "mode", "n_wanted", "access", "guideline", "is_open", "settings"}
    if unknown:
        raise InputError(f"a project has no {sorted(unknown)[0]!r} that can be changed")
    _check(**{key: value for key, value in changes.items() if key in ("mode", "access", "n_wanted")})
    with writing(engine) as session:
        row = project_row(session, project_id)
        before = _values(session, row)
        if "name" in changes:
            name = _checked_name(changes["name"])
            taken = session.scalar(sa.select(Project.project_id).where(Project.name == name))
            if taken not in (None, project_id):
                raise InputError(f"there is a project {name!r} already; give another name")
            row.name = name
        if "guideline" in changes:
            version = changes["guideline"]
            row.guideline_id = None if version is None else guideline_id_of(session, version)
        if "settings" in changes:
            row.settings = _stored(read_settings({**row.settings, **changes["settings"]}))
        for key in ("mode", "n_wanted", "access", "is_open"):
            if key in changes:
                setattr(row, key, changes[key])
        session.flush()
        after = _values(session, row)
        changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
        if changed:
            _note(
                session, "project_changed", row, author_id, {key: [old, new] for key, (old, new) in changed.items()}
            )
        return changed


def list_projects(engine: sa.Engine) -> list[ProjectRow]:
    """All projects, open ones first, then by name."""
    return _rows(engine, sa.true())


def get_project(engine: sa.Engine, name: str) -> ProjectRow:
    """The project of this name.

    Raises:
        InputError: There is none.
    """
    found = _rows(engine, Project.name == name)
    if not found:
        known = ", ".join(repr(row.name) for row in list_projects(engine)) or "none yet"
        raise InputError(f"there is no project {name!r}; there are: {known}")
    return found[0]


def _rows(engine: sa.Engine, condition: sa.ColumnElement[bool]) -> list[ProjectRow]:
    with reading(engine) as session:
        projects = session.execute(
            sa.select(Project, Guideline.version)
            .outerjoin(Guideline, Guideline.guideline_id == Project.guideline_id)
            .where(condition)
            .order_by(Project.is_open.desc(), Project.name)
        ).all()
        ids = [row.project_id for row, _ in projects]
        tasks = {
            project_id: (int(n_open), int(n))
            for project_id, n_open, n in session.execute(
                sa.select(Task.project_id, sa.func.sum(sa.case((Task.is_open, 1), else_=0)), sa.func.count())
                .where(Task.project_id.in_(ids), Task.purpose.in_(WORK))
                .group_by(Task.project_id)
            )
        }
        answers = {
            project_id: count
            for project_id, count in session.execute(
                sa.select(Task.project_id, sa.func.count())
                .join(Annotation, Annotation.task_id == Task.task_id)
                .where(Task.project_id.in_(ids), Annotation.superseded_by_id.is_(None), Task.purpose.in_(WORK))
                .group_by(Task.project_id)
            )
        }
        members = {
            project_id: count
            for project_id, count in session.execute(
                sa.select(Membership.project_id, sa.func.count())
                .where(Membership.project_id.in_(ids))
                .group_by(Membership.project_id)
            )
        }
        return [
            ProjectRow(
                project_id=row.project_id,
                name=row.name,
                kind=row.kind,
                mode=row.mode,
                n_wanted=row.n_wanted,
                access=row.access,
                guideline=version,
                is_open=row.is_open,
                settings=read_settings(row.settings),
                created_at=row.created_at,
                n_open=tasks.get(row.project_id, (0, 0))[0],
                n_closed=tasks.get(row.project_id, (0, 0))[1] - tasks.get(row.project_id, (0, 0))[0],
                n_answers=answers.get(row.project_id, 0),
                n_members=members.get(row.project_id, 0),
            )
            for row, version in projects
        ]


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME:
        raise InputError(f"project name {name!r}: give one of 1 to {_LONGEST_NAME} characters")
    return name


def _check(**values: Any) -> None:
    allowed = {"kind": TASK_KINDS, "mode": TASK_MODES, "access": PROJECT_ACCESS}
    for key, value in values.items():
        if key == "n_wanted":
            if not isinstance(value, int) or value < 1:
                raise InputError(f"n_wanted is {value!r}; at least one annotator must be wanted")
        elif value not in allowed[key]:
            raise InputError(f"{key} is {value!r}; use one of {', '.join(allowed[key])}")


def _stored(settings: ProjectSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_defaults=True)


def _values(session: Session, row: Project) -> dict[str, Any]:
    version = session.scalar(sa.select(Guideline.version).where(Guideline.guideline_id == row.guideline_id))
    return {
        "name": row.name,
        "mode": row.mode,
        "n_wanted": row.n_wanted,
        "access": row.access,
        "guideline": version,
        "is_open": row.is_open,
        "settings": dict(row.settings),
    }


def project_row(session: Session, project_id: int) -> Project:
    """The project of this id, within a session.

    Raises:
        InputError: There is none.
    """
    row = session.get(Project, project_id)
    if row is None:
        raise InputError(f"there is no project {project_id}")
    return row


def _note(session: Session, kind: str, row: Project, author_id: int | None, data: dict[str, Any]) -> None:
    session.add(Event(kind=kind, annotator_id=author_id, data={"project_id": row.project_id, **data}))
