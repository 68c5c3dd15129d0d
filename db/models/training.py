"""What leaves for training, and what trained reward models say."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..schema import Base, BigId, Json, creation_time, one_of

REWARD_KINDS = ("prm", "orm", "bt")


class Score(Base):
    """What a trained reward model gave a solution; never a label."""

    __tablename__ = "scores"
    __table_args__ = (
        sa.UniqueConstraint("solution_id", "reward_model"),
        one_of("kind", REWARD_KINDS, name="kind"),
        sa.Index("ix_scores_reward_model", "reward_model"),
    )

    score_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"))
    reward_model: Mapped[str] = mapped_column(sa.String(256))
    """Name of the checkpoint."""
    kind: Mapped[str] = mapped_column(sa.String(16))
    value: Mapped[float] = mapped_column(sa.Float)
    """The solution's score."""
    step_values: Mapped[list[float] | None] = mapped_column(Json)
    """A PRM's P(correct) of each segment, in order."""
    created_at: Mapped[dt.datetime] = creation_time()


class Export(Base):
    """A training set that was written, with the flags that made it and the hash of its manifest."""

    __tablename__ = "exports"

    export_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    config: Mapped[str] = mapped_column(sa.String(32))
    path: Mapped[str] = mapped_column(sa.Text)
    flags: Mapped[dict[str, Any]] = mapped_column(Json)
    counts: Mapped[dict[str, Any]] = mapped_column(Json)
    manifest_sha256: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[dt.datetime] = creation_time()


class Secret(Base):
    """A random text of this database alone, such as the salt of pseudonyms; made when it is first asked for."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    value: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[dt.datetime] = creation_time()
