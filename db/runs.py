"""Runs of the generator and the samples they asked for: what was asked already, and storing what came.

The table of requests is the cache: its key is the hash of what was asked and the sample's number, so nothing is
asked twice, whichever run asks. Failed samples are kept with their kind and are asked again by the next run.
"""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from .bulk import fetch_each, is_among, table_of
from .connect import reading, writing
from .models import Problem, Request, Run, Solution
from .schema import utc_now
from .selection import check_sources, in_source, is_flagged, passing

_RUNS = table_of(Run)
_LONGEST_LICENCE = 128
"""Characters that the column holds."""
_CHUNK = 500
"""Problems read at once."""


@dataclass(frozen=True, slots=True)
class ProblemSelection:
    """Which problems a run is about, in the order of their ids."""

    source: str | None = None
    """Name of a source (`gsm8k/test`), or a pattern with `*`; None takes every problem."""
    limit: int | None = None
    """The first so many problems; None takes all."""
    min_pass: float | None = None
    """Only problems of whose solutions at least this share is right, of those of known outcome as they stand."""
    max_pass: float | None = None
    """Only problems of whose solutions at most this share is right."""
    with_flagged: bool = False
    """Also problems that a filter found to repeat another, or one of a test set."""

    def query(self) -> sa.Select[int, str, str]:
        """Selects the columns of `ProblemToSolve`, without the limit."""
        query = sa.select(Problem.problem_id, Problem.statement, Problem.statement_hash)
        query = query.where(in_source(Problem.problem_id, self.source))
        if not self.with_flagged:
            query = query.where(~is_flagged(Problem.problem_id))
        if self.min_pass is not None or self.max_pass is not None:
            query = query.where(Problem.problem_id.in_(passing(self.min_pass, self.max_pass)))
        return query.order_by(Problem.problem_id)


@dataclass(frozen=True, slots=True)
class ProblemToSolve:
    """What a run needs to know of a problem."""

    problem_id: int
    statement: str
    statement_hash: str


def count_problems(engine: sa.Engine, selection: ProblemSelection) -> int:
    """Counts the problems of a selection.

    Raises:
        InputError: No source is named as the selection says.
    """
    with reading(engine) as session:
        if selection.source is not None:
            check_sources(session, [selection.source])
        found = session.scalar(sa.select(sa.func.count()).select_from(selection.query().order_by(None).subquery()))
    return found or 0 if selection.limit is None else min(found or 0, selection.limit)


def iterate_problems(engine: sa.Engine, selection: ProblemSelection) -> Iterator[list[ProblemToSolve]]:
    """Yields the problems in chunks; no transaction stays open between two chunks."""
    after, left = 0, selection.limit
    while left is None or left > 0:
        size = _CHUNK if left is None else min(_CHUNK, left)
        with reading(engine) as session:
            rows = session.execute(selection.query().where(Problem.problem_id > after).limit(size)).all()
        if not rows:
            return
        yield [ProblemToSolve(*row) for row in rows]
        after = rows[-1].problem_id
        left = None if left is None else left - len(rows)


def find_run(engine: sa.Engine, run_key: str) -> int | None:
    """The id of the run of this key, where it was ever started."""
    with reading(engine) as session:
        return session.scalar(sa.select(Run.run_id).where(Run.run_key == run_key))


def start_run(
    engine: sa.Engine,
    run_key: str,
    *,
    kind: str,
    engine_name: str,
    model: str,
    record: Mapping[str, Any],
    round_id: int | None = None,
) -> int:
    """Opens the run of this key, new or resumed, and returns its id; only a new one is the round's."""
    with writing(engine) as session:
        run_id = session.scalar(sa.select(Run.run_id).where(Run.run_key == run_key))
        if run_id is None:
            run = Run(
                run_key=run_key,
                kind=kind,
                engine=engine_name,
                model=model,
                record=dict(record),
                round_id=round_id,
            )
            session.add(run)
            session.flush()
            return run.run_id
        session.execute(sa.update(Run).where(Run.run_id == run_id).values(status="running", finished_at=None))
        return run_id


def finish_run(engine: sa.Engine, run_id: int, status: str) -> None:
    """Says how a run ended: `done`, `stopped` or `failed`."""
    with writing(engine) as session:
        session.execute(sa.update(Run).where(Run.run_id == run_id).values(status=status, finished_at=utc_now()))


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run has used."""

    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    cost_usd: float = 0.0
    """Of the answers whose price is known."""
    n_unpriced: int = 0
    """Answers of unknown price."""
    n_samples: int = 0
    """Samples that came."""

    def __add__(self, other: "Usage") -> "Usage":
        # Written out: it runs for every answer, and `dataclasses.astuple` takes a third of a millisecond.
        return Usage(
            self.n_prompt_tokens + other.n_prompt_tokens,
            self.n_completion_tokens + other.n_completion_tokens,
            self.cost_usd + other.cost_usd,
            self.n_unpriced + other.n_unpriced,
            self.n_samples + other.n_samples,
        )


_USAGE = tuple(field.name for field in fields(Usage))
_ADD_USAGE = (
    sa.update(_RUNS)
    .where(_RUNS.c.run_id == sa.bindparam("run"))
    .values({name: _RUNS.c[name] + sa.bindparam(f"more_{name}") for name in _USAGE})
)


def usage_of(engine: sa.Engine, run_keys: Collection[str]) -> Usage:
    """What the runs of these keys have used so far, all their calls together; those never begun, nothing."""
    return _sum_usage(engine, Run.run_key.in_(run_keys))


def usage_of_runs(engine: sa.Engine, *, kind: str, model: str) -> Usage:
    """What all runs of a kind have used with a model: it tells what a further sample may take."""
    return _sum_usage(engine, Run.kind == kind, Run.model == model)


def _sum_usage(engine: sa.Engine, *conditions: sa.ColumnElement[bool]) -> Usage:
    sums = (sa.func.coalesce(sa.func.sum(getattr(Run, name)), 0) for name in _USAGE)
    with reading(engine) as session:
        row = session.execute(sa.select(*sums).where(*conditions)).one()
    return Usage(int(row[0]), int(row[1]), float(row[2]), int(row[3]), int(row[4]))


def add_usage(session: Session, run_id: int, used: Usage) -> None:
    """Adds to what a run has used, in the caller's transaction."""
    values = {f"more_{name}": getattr(used, name) for name in _USAGE}
    session.connection().execute(_ADD_USAGE, {"run": run_id, **values})


def find_asked(engine: sa.Engine, payload_hashes: Collection[str], product: type[Any]) -> dict[str, frozenset[int]]:
    """Looks up which samples of these payloads have become rows of `product`, which names their `request_id`.

    Args:
        engine: The database.
        payload_hashes: As many as you like.
        product: `Solution`, `Critique`, ...

    Returns:
        The sample indices by payload; payloads without any are left out.
    """
    found: dict[str, set[int]] = defaultdict(set)
    query = sa.select(Request.payload_hash, Request.sample_index)
    query = query.join(product, product.request_id == Request.request_id)
    with reading(engine) as session:
        wanted = is_among(session, Request.payload_hash, payload_hashes)
        for payload_hash, sample_index in session.execute(query.where(wanted)):
            found[payload_hash].add(sample_index)
    return {payload: frozenset(indices) for payload, indices in found.items()}


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample as the database holds it."""

    request_id: int
    response: str
    reasoning: str | None
    finish_reason: str | None
    n_completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the database knows of one payload, by sample index."""

    done: dict[int, StoredSample]
    failed: set[int]


def recall(engine: sa.Engine, payload_hashes: Collection[str]) -> dict[str, Recalled]:
    """Reads the samples of many payloads; unknown payloads are left out."""
    found: dict[str, Recalled] = defaultdict(lambda: Recalled({}, set()))
    query = sa.select(
        Request.payload_hash,
        Request.sample_index,
        Request.request_id,
        Request.response,
        Request.reasoning,
        Request.finish_reason,
        Request.n_completion_tokens,
    )
    with reading(engine) as session:
        rows = session.execute(query.where(is_among(session, Request.payload_hash, payload_hashes)))
        for payload_hash, index, request_id, response, reasoning, finish_reason, n_tokens in rows:
            if response is None:
                found[payload_hash].failed.add(index)
                continue
            sample = StoredSample(request_id, response, reasoning, finish_reason, n_tokens)
            found[payload_hash].done[index] = sample
    return dict(found)


def store_requests(session: Session, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], int]:
    """Stores samples and failures; a sample that is there already stays as it is.

    A stored failure gives way to what was asked again. Another process may have stored the same sample meanwhile;
    then it has made of it what there is to be made.

    Args:
        session: Of one unit of writing.
        rows: Values of rows of `requests`, all of the same columns; each names its `payload_hash` and
            `sample_index` once.

    Returns:
        The ids of the rows that are new, by payload and sample index.
    """
    if not rows:
        return {}
    columns = list(rows[0])
    names = ", ".join(columns)
    connection = session.connection()
    now = utc_now().compile(dialect=connection.dialect)
    replaced = ", ".join(
        f"{name} = excluded.{name}" for name in columns if name not in ("payload_hash", "sample_index")
    )
    upsert = (
        f"ON CONFLICT (payload_hash, sample_index) DO UPDATE SET {replaced}, created_at = {now} "
        "WHERE requests.status = 'failed' RETURNING payload_hash, sample_index, request_id"
    )
    # SQLAlchemy's own way, VALUES with a parameter for each value, takes up to six times as long.
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        insert = f"INSERT INTO requests ({names}) VALUES ({marks}) {upsert}"
        stored: Iterable[Sequence[Any]] = fetch_each(
            connection, insert, [tuple(row[name] for name in columns) for row in rows]
        )
    else:
        insert = (
            f"INSERT INTO requests ({names}) SELECT {names} FROM json_populate_recordset(NULL::requests, %s) {upsert}"
        )
        stored = connection.exec_driver_sql(insert, (json.dumps(rows),))
    return {(payload_hash, sample_index): request_id for payload_hash, sample_index, request_id in stored}


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as a listing shows it."""

    run_id: int
    kind: str
    engine: str
    model: str
    status: str
    """`running` also of a run whose process was killed."""
    n_samples: int
    n_prompt_tokens: int
    n_completion_tokens: int
    cost_usd: float | None
    """None where no answer had a price."""
    n_unpriced: int
    failures: dict[str, int]
    """Samples that stand as failed, by kind; those asked again with success are none."""
    created_at: dt.datetime
    finished_at: dt.datetime | None
    licence: str | None
    """Terms of what it sampled; None where nobody has said."""
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SampledRun:
    """A run of which there are solutions."""

    run_id: int
    model: str
    n_samples: int
    """Samples that it asked for."""
    created_at: dt.datetime


def sampled_runs(engine: sa.Engine, *, n: int = 200) -> list[SampledRun]:
    """The newest runs that made solutions."""
    query = (
        sa.select(Run.run_id, Run.model, Run.n_samples, Run.created_at)
        .where(sa.exists().where(Solution.run_id == Run.run_id))
        .order_by(Run.run_id.desc())
        .limit(n)
    )
    with reading(engine) as session:
        return [SampledRun(*row) for row in session.execute(query)]


def list_runs(engine: sa.Engine, *, run_id: int | None = None) -> list[RunState]:
    """Lists the runs in the order they were begun, or one of them alone."""
    failed = sa.select(Request.run_id, Request.error_kind, sa.func.count()).where(Request.status == "failed")
    runs = sa.select(Run).order_by(Run.run_id)
    if run_id is not None:
        failed, runs = failed.where(Request.run_id == run_id), runs.where(Run.run_id == run_id)
    failures: dict[int, dict[str, int]] = defaultdict(dict)
    with reading(engine) as session:
        for of_run, kind, count in session.execute(failed.group_by(Request.run_id, Request.error_kind)):
            failures[of_run][str(kind)] = count
        found = session.scalars(runs).all()
    return [
        RunState(
            run.run_id,
            run.kind,
            run.engine,
            run.model,
            run.status,
            run.n_samples,
            run.n_prompt_tokens,
            run.n_completion_tokens,
            None if run.n_samples and run.n_unpriced and not run.cost_usd else run.cost_usd,
            run.n_unpriced,
            failures[run.run_id],
            run.created_at,
            run.finished_at,
            run.licence,
            run.record,
        )
        for run in found
    ]


def set_licence(engine: sa.Engine, run_ids: Collection[int], licence: str | None) -> dict[int, int]:
    """Says under which terms stands what runs sampled, what they have yet to sample too.

    Returns:
        How many solutions of each run have the licence now.

    Raises:
        InputError: There is no such run, or the name is too long; nothing was changed.
    """
    if licence is not None and not 0 < len(licence) <= _LONGEST_LICENCE:
        raise InputError(
            f"the licence {licence[:40]!r} has {len(licence)} characters; give a name of 1 to {_LONGEST_LICENCE}"
        )
    wanted = sorted(set(run_ids))
    with writing(engine) as session:
        there = set(session.scalars(sa.select(Run.run_id).where(Run.run_id.in_(wanted))))
        if missing := [run_id for run_id in wanted if run_id not in there]:
            raise InputError(f"there is no run {missing[0]}; `stepmark runs list` names them")
        session.execute(sa.update(Run).where(Run.run_id.in_(wanted)).values(licence=licence))
        session.execute(sa.update(Solution).where(Solution.run_id.in_(wanted)).values(licence=licence))
        count = sa.select(Solution.run_id, sa.func.count()).where(Solution.run_id.in_(wanted))
        found = {run_id: n for run_id, n in session.execute(count.group_by(Solution.run_id))}
    return {run_id: found.get(run_id, 0) for run_id in wanted}
