"""What models were asked and what they made: runs, requests, solutions, step values, alternatives, critiques."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..schema import Base, BigId, Hash, Json, UtcDateTime, creation_time, one_of

RUN_KINDS = ("solutions", "alternatives", "variants", "critiques", "preferences", "rollouts")
RUN_STATUSES = ("running", "done", "stopped", "failed")
REQUEST_STATUSES = ("done", "failed")
VERDICTS = ("pass", "fail", "unreadable")


class Run(Base):
    """One batch job of the generator, with its sampling record."""

    __tablename__ = "runs"
    __table_args__ = (one_of("kind", RUN_KINDS, name="kind"), one_of("status", RUN_STATUSES, name="status"))

    run_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_key: Mapped[str] = mapped_column(Hash, unique=True)
    """Hash of what was asked (engine identity, prompt, sampling, selection): the same command finds its run again."""
    kind: Mapped[str] = mapped_column(sa.String(16))
    engine: Mapped[str] = mapped_column(sa.String(32))
    model: Mapped[str] = mapped_column(sa.String(256))
    record: Mapped[dict[str, Any]] = mapped_column(Json)
    """Everything needed to repeat it: engine identity, prompt text and hash, sampling parameters, selection."""
    status: Mapped[str] = mapped_column(sa.String(16), default="running")
    n_samples: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    """Samples that came, over all calls that resumed the run; so are the next four."""
    n_prompt_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    n_completion_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    cost_usd: Mapped[float] = mapped_column(sa.Float, default=0.0, server_default="0")
    """Of the answers whose price is known."""
    n_unpriced: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    """Answers of unknown price."""
    round_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("rounds.round_id"), index=True)
    """The round of a loop that first asked for it; so all that it made can be traced to a round."""
    licence: Mapped[str | None] = mapped_column(sa.String(128))
    """Terms of what it sampled, which its solutions have too; None where nobody has said."""
    created_at: Mapped[dt.datetime] = creation_time()
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)


class Batch(Base):
    """A file of requests that was handed to a batch service; it may take a day, and outlive the process."""

    __tablename__ = "batches"
    __table_args__ = (sa.UniqueConstraint("endpoint", "batch_key"),)

    batch_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    endpoint: Mapped[str] = mapped_column(sa.String(256))
    batch_key: Mapped[str] = mapped_column(sa.String(128))
    """The service's own name of it."""
    status: Mapped[str] = mapped_column(sa.String(32))
    """As the service last said."""
    asked: Mapped[dict[str, list[int]]] = mapped_column(Json)
    """Sample indices wanted, by payload hash: what must not be asked again while it is under way."""
    is_open: Mapped[bool] = mapped_column(sa.Boolean, default=True, index=True)
    """Whether answers may still come of it."""
    created_at: Mapped[dt.datetime] = creation_time()
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)


class Request(Base):
    """One sample asked of a model: the cache entry that keeps it from being asked again."""

    __tablename__ = "requests"
    __table_args__ = (
        sa.UniqueConstraint("payload_hash", "sample_index"),
        one_of("status", REQUEST_STATUSES, name="status"),
        sa.CheckConstraint("(status = 'failed') = (error_kind IS NOT NULL)", name="failure_has_kind"),
        sa.CheckConstraint("(status = 'done') = (response IS NOT NULL)", name="done_has_response"),
    )

    request_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("runs.run_id"), index=True)
    problem_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("problems.problem_id"), index=True)
    payload_hash: Mapped[str] = mapped_column(Hash)
    """Hash of messages, sampling parameters, model, its revision and the endpoint; never of time-outs or keys."""
    sample_index: Mapped[int] = mapped_column(sa.Integer)
    """0-based number of the sample among those of one payload."""
    status: Mapped[str] = mapped_column(sa.String(16))
    response: Mapped[str | None] = mapped_column(sa.Text)
    """The sampled text, untouched."""
    reasoning: Mapped[str | None] = mapped_column(sa.Text)
    """Reasoning that the server kept apart from the answer."""
    finish_reason: Mapped[str | None] = mapped_column(sa.String(32))
    """`stop`, `length` (truncated), or what the server said."""
    error_kind: Mapped[str | None] = mapped_column(sa.String(64))
    error: Mapped[str | None] = mapped_column(sa.Text)
    n_prompt_tokens: Mapped[int | None] = mapped_column(sa.Integer)
    n_completion_tokens: Mapped[int | None] = mapped_column(sa.Integer)
    cost_usd: Mapped[float | None] = mapped_column(sa.Float)
    """None where the price is unknown."""
    latency_ms: Mapped[float | None] = mapped_column(sa.Float)
    created_at: Mapped[dt.datetime] = creation_time()


class Solution(Base):
    """One attempt at a problem."""

    __tablename__ = "solutions"
    __table_args__ = (
        sa.UniqueConstraint("source", "source_key"),
        sa.CheckConstraint("(source IS NULL) = (source_key IS NULL)", name="source_has_key"),
        sa.CheckConstraint("(request_id IS NULL) <> (source IS NULL)", name="sampled_or_imported"),
    )

    solution_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    problem_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("problems.problem_id"), index=True)
    run_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("runs.run_id"), index=True)
    request_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("requests.request_id"), unique=True)
    source: Mapped[str | None] = mapped_column(sa.String(128))
    source_key: Mapped[str | None] = mapped_column(sa.String(256))
    generator: Mapped[str | None] = mapped_column(sa.String(256))
    """The model (or person) that wrote it, as the source or the engine names it."""
    text: Mapped[str] = mapped_column(sa.Text)
    """As written, before splitting."""
    text_hash: Mapped[str] = mapped_column(Hash)
    """Hash of problem and text: equal solutions of one problem share it."""
    steps: Mapped[list[str]] = mapped_column(Json)
    """Bare steps, 0-based."""
    answer: Mapped[str | None] = mapped_column(sa.Text)
    """The final answer as written; None where none can be read."""
    outcome: Mapped[bool | None] = mapped_column(sa.Boolean)
    """Is the final answer right; None while unknown. Unreadable is not false."""
    outcome_rule: Mapped[str | None] = mapped_column(sa.String(64))
    """What decided it: a rule of the verifier, or `source`."""
    licence: Mapped[str | None] = mapped_column(sa.String(128))
    extra: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[dt.datetime] = creation_time()


class StepValue(Base):
    """The value of a step prefix, estimated by rollouts: `n_right` of `n_rollouts` reached the right answer."""

    __tablename__ = "step_values"
    __table_args__ = (
        sa.UniqueConstraint("solution_id", "step_index", "run_id"),
        sa.CheckConstraint("step_index >= -1 AND n_right >= 0 AND n_right <= n_rollouts", name="range"),
    )

    step_value_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"))
    step_index: Mapped[int] = mapped_column(sa.Integer)
    """0-based: the value of the prefix that ends with this step; -1: of the problem itself, before any step."""
    run_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("runs.run_id"), index=True)
    n_right: Mapped[int] = mapped_column(sa.Integer)
    n_rollouts: Mapped[int] = mapped_column(sa.Integer)
    n_unreadable: Mapped[int] = mapped_column(sa.Integer, default=0, server_default="0")
    """Of the rollouts, those whose answer nobody could read; they are not right."""


class Alternative(Base):
    """Another step in the place of one of a solution's, sampled from the prefix before it or imported."""

    __tablename__ = "alternatives"
    __table_args__ = (
        sa.UniqueConstraint("request_id", "solution_id", "step_index"),
        sa.UniqueConstraint("source", "source_key"),
        sa.CheckConstraint("(source IS NULL) = (source_key IS NULL)", name="source_has_key"),
        sa.CheckConstraint("(request_id IS NULL) <> (source IS NULL)", name="sampled_or_imported"),
    )

    alternative_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    step_index: Mapped[int] = mapped_column(sa.Integer)
    """0-based; the steps before it are the solution's."""
    run_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("runs.run_id"), index=True)
    request_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("requests.request_id"))
    source: Mapped[str | None] = mapped_column(sa.String(128))
    source_key: Mapped[str | None] = mapped_column(sa.String(256))
    text: Mapped[str] = mapped_column(sa.Text)
    """The bare step."""
    is_answer: Mapped[bool] = mapped_column(sa.Boolean, default=False)
    """Whether it is a final answer in the place of a further step."""
    created_at: Mapped[dt.datetime] = creation_time()


class Critique(Base):
    """Text about a solution, ending in a verdict, on the solution's own problem or on a variant of it."""

    __tablename__ = "critiques"
    __table_args__ = (
        one_of("verdict", VERDICTS, name="verdict"),
        sa.UniqueConstraint("source", "source_key"),
    )

    critique_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    problem_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("problems.problem_id"), index=True)
    """What it was applied to: the solution's problem, or a variant."""
    run_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("runs.run_id"), index=True)
    request_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("requests.request_id"), unique=True)
    source: Mapped[str | None] = mapped_column(sa.String(128))
    source_key: Mapped[str | None] = mapped_column(sa.String(256))
    kind: Mapped[str] = mapped_column(sa.String(32))
    critic: Mapped[str | None] = mapped_column(sa.String(256))
    """The model (or person) that wrote it."""
    target_critique_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("critiques.critique_id"), index=True)
    """The critique that this one judges, where it does not judge the solution itself."""
    text: Mapped[str] = mapped_column(sa.Text)
    verdict: Mapped[str] = mapped_column(sa.String(16))
    first_error: Mapped[int | None] = mapped_column(sa.Integer)
    """0-based first wrong step as the critique sees it; None where it names none."""
    answer: Mapped[str | None] = mapped_column(sa.Text)
    """The answer that the carried chain reached."""
    is_confirmed: Mapped[bool | None] = mapped_column(sa.Boolean)
    """Does the verifier agree with the verdict; None while unknown."""
    confirmation_rule: Mapped[str | None] = mapped_column(sa.String(64))
    """What decided that: `outcome`, `step labels`, `variant answer`, ...; None while nobody has looked."""
    extra: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[dt.datetime] = creation_time()


class Refinement(Base):
    """A solution that was written after a critique of another one."""

    __tablename__ = "refinements"

    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), primary_key=True)
    """The corrected solution."""
    critique_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("critiques.critique_id"), index=True)
    """The critique, which names the solution that it was about."""
