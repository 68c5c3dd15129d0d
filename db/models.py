"""The tables. A field's meaning stands under it; rules that rows must obey are constraints, not habits.

Nothing is overwritten: a correction is a new row that supersedes the old one. What an importer does not model
stays in `extra`, so that a round trip is exact. The only updates are state (a run's status, a claim's lease, a
solution's outcome when `verify` learns it) and the erasure of a person's name.
"""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from .schema import Base, BigId, Hash, Json, UtcDateTime, one_of, utc_now

PROBLEM_KINDS = ("original", "template", "program", "rephrased", "backward", "other_variant")
ANSWER_KINDS = ("value", "tests")
FLAG_KINDS = ("duplicate", "contaminated")
RUN_KINDS = ("solutions", "alternatives", "variants", "critiques", "preferences", "rollouts")
RUN_STATUSES = ("running", "done", "stopped", "failed")
REQUEST_STATUSES = ("done", "failed")
ANNOTATOR_KINDS = ("person", "model", "program")
ANNOTATOR_ROLES = ("annotator", "reviewer", "admin")
TASK_KINDS = ("steps", "preference", "critique")
TASK_MODES = ("first_error", "all_steps", "alternatives", "verify")
ANNOTATION_KINDS = ("steps", "preference", "critique")
FINISH_REASONS = ("found_error", "solution", "bad_problem", "give_up", "skipped")
PREFERENCE_CHOICES = ("a", "b", "equal", "both_bad")
VERDICTS = ("pass", "fail", "unreadable")
REWARD_KINDS = ("prm", "orm", "bt")


def _created_at() -> Mapped[dt.datetime]:
    return mapped_column(UtcDateTime, server_default=utc_now(), nullable=False)


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
    created_at: Mapped[dt.datetime] = _created_at()


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
    created_at: Mapped[dt.datetime] = _created_at()


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
    created_at: Mapped[dt.datetime] = _created_at()
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
    created_at: Mapped[dt.datetime] = _created_at()
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
    created_at: Mapped[dt.datetime] = _created_at()


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
    created_at: Mapped[dt.datetime] = _created_at()


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
    """Another step in the place of one of a solution's, sampled from the prefix before it."""

    __tablename__ = "alternatives"
    __table_args__ = (sa.UniqueConstraint("request_id", "solution_id", "step_index"),)

    alternative_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    step_index: Mapped[int] = mapped_column(sa.Integer)
    """0-based; the steps before it are the solution's."""
    run_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("runs.run_id"), index=True)
    request_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("requests.request_id"))
    text: Mapped[str] = mapped_column(sa.Text)
    """The bare step."""
    is_answer: Mapped[bool] = mapped_column(sa.Boolean, default=False)
    """Whether it is a final answer in the place of a further step."""
    created_at: Mapped[dt.datetime] = _created_at()


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
    created_at: Mapped[dt.datetime] = _created_at()


class Refinement(Base):
    """A solution that was written after a critique of another one."""

    __tablename__ = "refinements"

    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), primary_key=True)
    """The corrected solution."""
    critique_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("critiques.critique_id"), index=True)
    """The critique, which names the solution that it was about."""


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
    created_at: Mapped[dt.datetime] = _created_at()
    erased_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)


class Task(Base):
    """One thing to label, wanted from `n_wanted` independent annotators."""

    __tablename__ = "tasks"
    __table_args__ = (
        one_of("kind", TASK_KINDS, name="kind"),
        one_of("mode", TASK_MODES, name="mode"),
        sa.CheckConstraint("n_wanted >= 1", name="n_wanted_positive"),
        sa.CheckConstraint("(kind = 'preference') = (other_solution_id IS NOT NULL)", name="pair_has_two"),
        sa.CheckConstraint("(kind = 'critique') = (critique_id IS NOT NULL)", name="critique_task"),
        sa.CheckConstraint("solution_id <> other_solution_id", name="pair_differs"),
        sa.Index("ix_tasks_queue", "is_open", "priority", "task_id"),
    )

    task_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(16))
    mode: Mapped[str] = mapped_column(sa.String(16), default="first_error")
    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    other_solution_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    critique_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("critiques.critique_id"), index=True)
    priority: Mapped[float] = mapped_column(sa.Float, default=0.0)
    """Higher is shown first."""
    reason: Mapped[str | None] = mapped_column(sa.String(64))
    """The rule that put it into the queue."""
    n_wanted: Mapped[int] = mapped_column(sa.Integer, default=1)
    is_open: Mapped[bool] = mapped_column(sa.Boolean, default=True)
    created_at: Mapped[dt.datetime] = _created_at()


class Claim(Base):
    """An annotator's lease on a task; times are the database's clock."""

    __tablename__ = "claims"
    __table_args__ = (sa.UniqueConstraint("task_id", "annotator_id"),)

    claim_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"))
    annotator_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    token: Mapped[str] = mapped_column(sa.String(32))
    """Proves that a submission belongs to this lease."""
    claimed_at: Mapped[dt.datetime] = _created_at()
    expires_at: Mapped[dt.datetime] = mapped_column(UtcDateTime, index=True)


class Annotation(Base):
    """What one labeller said of one thing at one time; its labels hang below it."""

    __tablename__ = "annotations"
    __table_args__ = (
        one_of("kind", ANNOTATION_KINDS, name="kind"),
        one_of("mode", TASK_MODES, name="mode"),
        one_of("finish_reason", FINISH_REASONS, name="finish_reason"),
        sa.CheckConstraint("superseded_by_id <> annotation_id", name="not_by_itself"),
        sa.Index("ix_annotations_solution_id_annotator_id", "solution_id", "annotator_id"),
        sa.Index(
            "uq_annotations_current_of_task",
            "task_id",
            "annotator_id",
            unique=True,
            sqlite_where=sa.text("superseded_by_id IS NULL AND task_id IS NOT NULL"),
            postgresql_where=sa.text("superseded_by_id IS NULL AND task_id IS NOT NULL"),
        ),
    )

    annotation_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    submission_id: Mapped[str] = mapped_column(sa.String(128), unique=True)
    """Chosen by whoever submits, so that a repeated submission is recognised."""
    kind: Mapped[str] = mapped_column(sa.String(16))
    annotator_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    task_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"), index=True)
    """None for labels that came by import or from a program."""
    run_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("runs.run_id"), index=True)
    """The run in which a model gave them."""
    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"))
    mode: Mapped[str | None] = mapped_column(sa.String(16))
    finish_reason: Mapped[str | None] = mapped_column(sa.String(16))
    first_error: Mapped[int | None] = mapped_column(sa.Integer)
    """0-based first step labelled -1; None where there is none."""
    comment: Mapped[str | None] = mapped_column(sa.Text)
    guideline: Mapped[str | None] = mapped_column(sa.String(64))
    """Version of the guideline it was made under."""
    suggestion_shown: Mapped[bool | None] = mapped_column(sa.Boolean)
    """Was a model's opinion on screen before the answer."""
    duration_ms: Mapped[int | None] = mapped_column(sa.Integer)
    source: Mapped[str | None] = mapped_column(sa.String(128))
    extra: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[dt.datetime] = _created_at()
    superseded_by_id: Mapped[int | None] = mapped_column(
        BigId, sa.ForeignKey("annotations.annotation_id"), index=True
    )


class StepLabel(Base):
    """One labeller's judgement of one step: +1 correct, 0 neutral, -1 incorrect; unjudged steps have no row."""

    __tablename__ = "step_labels"
    __table_args__ = (
        sa.CheckConstraint("label IN (-1, 0, 1)", name="scale"),
        sa.CheckConstraint("step_index >= 0", name="index"),
    )

    annotation_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotations.annotation_id"), primary_key=True)
    step_index: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    """0-based; the index after the last step is the answer's."""
    label: Mapped[int] = mapped_column(sa.SmallInteger)
    is_unsure: Mapped[bool] = mapped_column(sa.Boolean, default=False)
    duration_ms: Mapped[int | None] = mapped_column(sa.Integer)


class Preference(Base):
    """A labeller's choice between two solutions of one problem, stored in the pair's order, not the screen's."""

    __tablename__ = "preferences"
    __table_args__ = (
        one_of("choice", PREFERENCE_CHOICES, name="choice"),
        sa.CheckConstraint("solution_a_id <> solution_b_id", name="pair_differs"),
        sa.CheckConstraint("strength BETWEEN 1 AND 3", name="strength"),
    )

    annotation_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotations.annotation_id"), primary_key=True)
    solution_a_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    solution_b_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    choice: Mapped[str] = mapped_column(sa.String(16))
    strength: Mapped[int | None] = mapped_column(sa.Integer)
    """1 slightly, 2 clearly, 3 far better; None where not asked."""
    shown_first: Mapped[str | None] = mapped_column(sa.String(1))
    """Which of `a`, `b` stood first on the screen."""


class Adjudication(Base):
    """A reviewer's decision on a step on which labellers differ."""

    __tablename__ = "adjudications"
    __table_args__ = (
        sa.UniqueConstraint("task_id", "step_index", "annotator_id"),
        sa.CheckConstraint("label IN (-1, 0, 1)", name="scale"),
    )

    adjudication_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"))
    step_index: Mapped[int] = mapped_column(sa.Integer)
    label: Mapped[int] = mapped_column(sa.SmallInteger)
    annotator_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    adopted_from_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("annotations.annotation_id"), index=True)
    note: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[dt.datetime] = _created_at()


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
    created_at: Mapped[dt.datetime] = _created_at()


class Export(Base):
    """A training set that was written, with the flags that made it and the hash of its manifest."""

    __tablename__ = "exports"

    export_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    config: Mapped[str] = mapped_column(sa.String(32))
    path: Mapped[str] = mapped_column(sa.Text)
    flags: Mapped[dict[str, Any]] = mapped_column(Json)
    counts: Mapped[dict[str, Any]] = mapped_column(Json)
    manifest_sha256: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[dt.datetime] = _created_at()


class Event(Base):
    """What happened, for whoever must trust the labels: claims, submissions, changes of role, erasures."""

    __tablename__ = "events"

    event_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(64), index=True)
    annotator_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    task_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"), index=True)
    data: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[dt.datetime] = _created_at()
