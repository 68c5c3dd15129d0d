"""The work to be done by labellers: projects, guidelines, tasks, leases, drafts; and what happened on the way."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..schema import Base, BigId, Json, UtcDateTime, creation_time, one_of, utc_now

TASK_KINDS = ("steps", "preference", "critique")
TASK_MODES = ("first_error", "all_steps", "alternatives", "verify")
TASK_PURPOSES = ("label", "gold", "entry", "practice", "calibration", "repeat", "relabel")
PROJECT_ACCESS = ("everyone", "members")
MEMBER_STATES = ("testing", "active", "paused")


class Guideline(Base):
    """A version of the rules by which people label; never changed once it is there."""

    __tablename__ = "guidelines"

    guideline_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    version: Mapped[str] = mapped_column(sa.String(64), unique=True)
    """What annotations made under it name."""
    body: Mapped[dict[str, Any]] = mapped_column(Json)
    """Sections, rules and flowchart (`stepmark.guidelines.Guideline`)."""
    author_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    created_at: Mapped[dt.datetime] = creation_time()


class Project(Base):
    """A labelling campaign: what its tasks ask, of whom, and by which rules."""

    __tablename__ = "projects"
    __table_args__ = (
        one_of("kind", TASK_KINDS, name="kind"),
        one_of("mode", TASK_MODES, name="mode"),
        one_of("access", PROJECT_ACCESS, name="access"),
        sa.CheckConstraint("n_wanted >= 1", name="n_wanted_positive"),
    )

    project_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(128), unique=True)
    kind: Mapped[str] = mapped_column(sa.String(16))
    mode: Mapped[str] = mapped_column(sa.String(16), default="first_error")
    """How steps are labelled; of no meaning for pairs and critiques."""
    n_wanted: Mapped[int] = mapped_column(sa.Integer, default=1)
    """Independent annotators of each new task."""
    guideline_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("guidelines.guideline_id"), index=True)
    """The rules in force; None for the default ones."""
    access: Mapped[str] = mapped_column(sa.String(16), default="everyone")
    """`everyone` who may label at all, or only `members`."""
    is_open: Mapped[bool] = mapped_column(sa.Boolean, default=True)
    """Whether its tasks are handed out."""
    settings: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """Everything else (`stepmark.projects.ProjectSettings`)."""
    created_at: Mapped[dt.datetime] = creation_time()


class Membership(Base):
    """An annotator's place in a project."""

    __tablename__ = "memberships"
    __table_args__ = (one_of("state", MEMBER_STATES, name="state"),)

    project_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("projects.project_id"), primary_key=True)
    annotator_id: Mapped[int] = mapped_column(
        BigId, sa.ForeignKey("annotators.annotator_id"), primary_key=True, index=True
    )
    state: Mapped[str] = mapped_column(sa.String(16), default="active")
    """`testing` until the entry test is passed; `paused` gets no tasks."""
    reason: Mapped[str | None] = mapped_column(sa.Text)
    """Why it is paused, for the annotator to read."""
    created_at: Mapped[dt.datetime] = creation_time()


class Task(Base):
    """One thing to label, wanted from `n_wanted` independent annotators."""

    __tablename__ = "tasks"
    __table_args__ = (
        one_of("kind", TASK_KINDS, name="kind"),
        one_of("mode", TASK_MODES, name="mode"),
        one_of("purpose", TASK_PURPOSES, name="purpose"),
        sa.CheckConstraint("n_wanted >= 1", name="n_wanted_positive"),
        sa.CheckConstraint("(kind = 'preference') = (other_solution_id IS NOT NULL)", name="pair_has_two"),
        sa.CheckConstraint("(kind = 'critique') = (critique_id IS NOT NULL)", name="critique_task"),
        sa.CheckConstraint("solution_id <> other_solution_id", name="pair_differs"),
        sa.Index("ix_tasks_queue", "project_id", "is_open", "priority", "task_id"),
    )

    task_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("projects.project_id"))
    """None: put into the queue outside any project; the default settings hold."""
    purpose: Mapped[str] = mapped_column(sa.String(16), default="label", server_default="label")
    """`label`; or, with a known answer, `gold` (silent), `entry`, `practice`, `calibration` (answered by all, then
    talked over); or `repeat` (the same person once more), `relabel` (under newer guidelines)."""
    assigned_to_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    """The only person who gets it; None for whoever comes."""
    kind: Mapped[str] = mapped_column(sa.String(16))
    mode: Mapped[str] = mapped_column(sa.String(16), default="first_error")
    step_index: Mapped[int | None] = mapped_column(sa.Integer)
    """0-based step whose alternatives are rated; None in other modes."""
    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    other_solution_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    critique_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("critiques.critique_id"), index=True)
    priority: Mapped[float] = mapped_column(sa.Float, default=0.0)
    """Higher is shown first."""
    reason: Mapped[str | None] = mapped_column(sa.String(64))
    """The rule that put it into the queue."""
    n_wanted: Mapped[int] = mapped_column(sa.Integer, default=1)
    is_open: Mapped[bool] = mapped_column(sa.Boolean, default=True)
    created_at: Mapped[dt.datetime] = creation_time()


class KnownAnswer(Base):
    """The answer that a task is held against: of gold, entry tests, practice and calibration."""

    __tablename__ = "known_answers"

    task_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"), primary_key=True)
    answer: Mapped[dict[str, Any]] = mapped_column(Json)
    """`labels` of steps (None where any will do), or `choice` of a pair, or the judgement of a critique."""
    note: Mapped[str | None] = mapped_column(sa.Text)
    """Why, to be read after the answer where it is not silent."""
    created_at: Mapped[dt.datetime] = creation_time()


class Claim(Base):
    """An annotator's lease on a task; times are the database's clock."""

    __tablename__ = "claims"
    __table_args__ = (sa.UniqueConstraint("task_id", "annotator_id"),)

    claim_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"))
    annotator_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    token: Mapped[str] = mapped_column(sa.String(32))
    """Proves that a submission belongs to this lease."""
    claimed_at: Mapped[dt.datetime] = creation_time()
    expires_at: Mapped[dt.datetime] = mapped_column(UtcDateTime, index=True)


class Draft(Base):
    """Unfinished work on a task, as the browser last sent it."""

    __tablename__ = "drafts"

    task_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"), primary_key=True)
    annotator_id: Mapped[int] = mapped_column(
        BigId, sa.ForeignKey("annotators.annotator_id"), primary_key=True, index=True
    )
    body: Mapped[dict[str, Any]] = mapped_column(Json)
    updated_at: Mapped[dt.datetime] = mapped_column(UtcDateTime, server_default=utc_now(), nullable=False)


class Event(Base):
    """What happened, for whoever must trust the labels: claims, submissions, changes of role, erasures."""

    __tablename__ = "events"

    event_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(64), index=True)
    annotator_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    task_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"), index=True)
    data: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[dt.datetime] = creation_time()
