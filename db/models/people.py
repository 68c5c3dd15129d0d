"""Whoever labels, how people sign in, and what they tell each other."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..schema import Base, BigId, Json, UtcDateTime, creation_time, one_of

ANNOTATOR_KINDS = ("person", "model", "program")
ANNOTATOR_ROLES = ("annotator", "reviewer", "admin")
INVITATION_KINDS = ("invite", "reset")
NOTE_KINDS = ("sent_back", "feedback", "message")


class Annotator(Base):
    """Whoever labels: a person, a model or a program."""

    __tablename__ = "annotators"
    __table_args__ = (
        one_of("kind", ANNOTATOR_KINDS, name="kind"),
        one_of("role", ANNOTATOR_ROLES, name="role"),
    )

    annotator_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(128), unique=True)
    """Erasing a person replaces the name; the labels stay."""
    kind: Mapped[str] = mapped_column(sa.String(16), default="person")
    role: Mapped[str] = mapped_column(sa.String(16), default="annotator")
    is_active: Mapped[bool] = mapped_column(sa.Boolean, default=True)
    created_at: Mapped[dt.datetime] = creation_time()
    erased_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)


class Account(Base):
    """How a person signs in, and what they have set; the name and the role are the annotator's."""

    __tablename__ = "accounts"

    annotator_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), primary_key=True)
    password_hash: Mapped[str | None] = mapped_column(sa.String(256))
    """Argon2id, with its parameters and salt; None for who signs in elsewhere."""
    identity: Mapped[str | None] = mapped_column(sa.String(512), unique=True)
    """Issuer and subject of an OpenID provider."""
    n_failures: Mapped[int] = mapped_column(sa.Integer, default=0, server_default="0")
    """Wrong passwords since the last right one."""
    locked_until: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    settings: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """The person's own: remapped keys and the like."""
    created_at: Mapped[dt.datetime] = creation_time()


class SignIn(Base):
    """A browser that is signed in: what its cookie stands for."""

    __tablename__ = "sign_ins"

    token_hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    """SHA-256 of the cookie's secret, which is stored nowhere."""
    annotator_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    created_at: Mapped[dt.datetime] = creation_time()
    expires_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When the person signed out, or somebody took the right away."""


class Invitation(Base):
    """A link that lets a person make an account, or set a new password, once."""

    __tablename__ = "invitations"
    __table_args__ = (
        one_of("kind", INVITATION_KINDS, name="kind"),
        one_of("role", ANNOTATOR_ROLES, name="role"),
        sa.CheckConstraint("(kind = 'reset') = (annotator_id IS NOT NULL)", name="reset_names_account"),
    )

    token_hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    """SHA-256 of the secret in the link."""
    kind: Mapped[str] = mapped_column(sa.String(16))
    role: Mapped[str] = mapped_column(sa.String(16), default="annotator")
    annotator_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    """Whose password is set anew."""
    project_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("projects.project_id"), index=True)
    """The project that the new account joins."""
    created_by_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    created_at: Mapped[dt.datetime] = creation_time()
    expires_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)


class Note(Base):
    """Words from one person to another about their work."""

    __tablename__ = "notes"
    __table_args__ = (one_of("kind", NOTE_KINDS, name="kind"),)

    note_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(16))
    """`sent_back`: the task is to be answered again; `feedback`: a label was changed; `message`."""
    annotator_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    """To whom."""
    author_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    task_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"), index=True)
    text: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[dt.datetime] = creation_time()
    read_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
