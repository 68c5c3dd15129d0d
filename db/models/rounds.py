"""Rounds of a loop: what each did, what it measured, and why the loop stopped."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..schema import Base, BigId, Json, UtcDateTime, creation_time


class Round(Base):
    """One round of a loop: generate, verify, select, label, export, train, evaluate."""

    __tablename__ = "rounds"
    __table_args__ = (
        sa.UniqueConstraint("loop", "number"),
        sa.CheckConstraint("number >= 0", name="number"),
    )

    round_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    loop: Mapped[str] = mapped_column(sa.String(128))
    """Name of the loop."""
    number: Mapped[int] = mapped_column(sa.Integer)
    """0-based."""
    started_at: Mapped[dt.datetime] = creation_time()
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """None while the round is under way, or was interrupted."""
    plan: Mapped[dict[str, Any]] = mapped_column(Json)
    """What the round was to do: the model that it began with, numbers, labels, rules."""
    selected: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    """What was chosen, and why: `reason`, `n`, `examples` (ids of solutions)."""
    metrics: Mapped[dict[str, float]] = mapped_column(Json, default=dict)
    """Figures by name: `pass@1`, `pass@16`, `prm_best_of_16`, `n_rows_trained`, ..."""
    guards: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    """Readings: `name`, `value`, `bound`, `direction` (`min` or `max`), `tripped`, `words`."""
    counts: Mapped[dict[str, dict[str, Any]]] = mapped_column(Json, default=dict)
    """By stage: `read`, `kept` and `dropped` by reason."""
    stop_reason: Mapped[str | None] = mapped_column(sa.Text)
    """Why the loop ended with this round, where a guard stopped it; the guard's name and words."""
