"""Problems, where they were found, and why some are left out."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..schema import Base, BigId, Hash, Json, creation_time, one_of

PROBLEM_KINDS = ("original", "template", "program", "rephrased", "backward", "other_variant")
ANSWER_KINDS = ("value", "tests")
FLAG_KINDS = ("duplicate", "contaminated")


class Problem(Base):
    """A problem, once, however many sources hold it."""

    __tablename__ = "problems"
    __table_args__ = (
        one_of("kind", PROBLEM_KINDS, name="kind"),
        sa.CheckConstraint("(parent_id IS NULL) = (kind = 'original')", name="variant_has_parent"),
        sa.CheckConstraint("length(statement) > 0", name="statement_not_empty"),
    )

    problem_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    statement_hash: Mapped[str] = mapped_column(Hash, unique=True)
    """Identity: hash of the normalised statement (`stepmark.problems.statement_hash`)."""
    family: Mapped[str] = mapped_column(Hash, index=True)
    """Problems that must stay on one side of a split: variants and near-duplicates share it."""
    statement: Mapped[str] = mapped_column(sa.Text)
    reference_answer: Mapped[str | None] = mapped_column(sa.Text)
    """The answer held to be right; None where no source gives one."""
    reference_solution: Mapped[str | None] = mapped_column(sa.Text)
    reference_trust: Mapped[str | None] = mapped_column(sa.String(32))
    """How the reference answer is known: `source`, `template`, `programs`, `program_and_majority`, `majority`."""
    answer_kind: Mapped[str] = mapped_column(sa.String(16), default="value", server_default="value")
    """One of `ANSWER_KINDS`: `value`, or `tests`: the reference answer is a Python program of assertions that is run
    after a solution's own program."""
    kind: Mapped[str] = mapped_column(sa.String(16), default="original")
    parent_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("problems.problem_id"), index=True)
    created_at: Mapped[dt.datetime] = creation_time()


class ProblemSource(Base):
    """Where a problem was found: one row for each source that holds it."""

    __tablename__ = "problem_sources"
    __table_args__ = (sa.UniqueConstraint("source", "source_key"),)

    problem_source_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    problem_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("problems.problem_id"), index=True)
    source: Mapped[str] = mapped_column(sa.String(128))
    """Name of the data set, with its part where it has parts: `gsm8k/test`."""
    source_key: Mapped[str] = mapped_column(sa.String(256))
    """The row's own id in that source, or its 0-based line number."""
    licence: Mapped[str | None] = mapped_column(sa.String(128))
    extra: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """What the source says and no column holds."""


class ProblemFlag(Base):
    """Why a problem should be left out of what is generated and exported; what was asked of it before stays."""

    __tablename__ = "problem_flags"
    __table_args__ = (
        one_of("kind", FLAG_KINDS, name="kind"),
        sa.UniqueConstraint("problem_id", "kind", "against"),
    )

    problem_flag_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    problem_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("problems.problem_id"))
    kind: Mapped[str] = mapped_column(sa.String(16))
    against: Mapped[str] = mapped_column(sa.String(256))
    """What it repeats: a problem's id, or the name of a test set."""
    rule: Mapped[str] = mapped_column(sa.String(64))
    """What found it: `exact`, `masked`, `minhash`, `13-gram`, ..."""
    extra: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[dt.datetime] = creation_time()
