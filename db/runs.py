"""Runs of the generator and the samples they asked for: what was asked already, and storing what came.

The table of requests is the cache: its key is the hash of what was asked and the sample's number, so nothing is
asked twice, whichever run asks. Failed samples are kept with their kind and are asked again by the next run.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from .connect import reading, writing
from .models import Problem, Request, Run, Solution
from .schema import utc_now
from .selection import in_source

_CHUNK = 500
"""Rows of one look-up; SQLite takes a limited number of parameters."""


@dataclass(frozen=True, slots=True)
class ProblemSelection:
    """Which problems a run is about, in the order of their ids."""

    source: str | None = None
    """Name of a source (`gsm8k/test`), or a pattern with `*`; None takes every problem."""
    limit: int | None = None
    """The first so many problems; None takes all."""

    def query(self) -> sa.Select[int, str, str]:
        """Selects the columns of `ProblemToSolve`, without the limit."""
        query = sa.select(Problem.problem_id, Problem.statement, Problem.statement_hash)
        return query.where(in_source(Problem.problem_id, self.source)).order_by(Problem.problem_id)


@dataclass(frozen=True, slots=True)
class ProblemToSolve:
    """What a run needs to know of a problem."""

    problem_id: int
    statement: str
    statement_hash: str


def count_problems(engine: sa.Engine, selection: ProblemSelection) -> int:
    """Counts the problems of a selection."""
    with reading(engine) as session:
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


def start_run(
    engine: sa.Engine, run_key: str, *, kind: str, engine_name: str, model: str, record: Mapping[str, Any]
) -> int:
    """Opens the run of this key, new or resumed, and returns its id."""
    with writing(engine) as session:
        run_id = session.scalar(sa.select(Run.run_id).where(Run.run_key == run_key))
        if run_id is None:
            run = Run(run_key=run_key, kind=kind, engine=engine_name, model=model, record=dict(record))
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
class Asked:
    """Which samples of one payload the database knows."""

    done: frozenset[int]
    failed: frozenset[int]


def find_asked(engine: sa.Engine, payload_hashes: Collection[str]) -> dict[str, Asked]:
    """Looks up which samples were asked before, for many payloads in few queries; unknown ones are left out."""
    hashes = list(payload_hashes)
    found: dict[str, dict[str, set[int]]] = defaultdict(lambda: {"done": set(), "failed": set()})
    columns = sa.select(Request.payload_hash, Request.sample_index, Request.status)
    with reading(engine) as session:
        for start in range(0, len(hashes), _CHUNK):
            rows = session.execute(columns.where(Request.payload_hash.in_(hashes[start : start + _CHUNK])))
            for payload_hash, sample_index, status in rows:
                found[payload_hash][status].add(sample_index)
    return {payload: Asked(frozenset(asked["done"]), frozenset(asked["failed"])) for payload, asked in found.items()}


def store_samples(
    session: Session, requests: Sequence[Mapping[str, Any]], solutions: Sequence[Mapping[str, Any] | None]
) -> int:
    """Stores samples with the solutions read from them; a sample that is there already stays as it is.

    A stored failure gives way to what was asked again. Another process may have stored the same sample meanwhile;
    then its solution is there too.

    Args:
        session: Of one unit of writing.
        requests: Values of the rows of `requests`; each names its `payload_hash` and `sample_index` once.
        solutions: For each request the values of its row of `solutions`, without `request_id`; None for a failure.

    Returns:
        How many samples were new.
    """
    if not requests:
        return 0
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    insert = sqlite.insert(Request) if is_sqlite else postgresql.insert(Request)
    key = ("payload_hash", "sample_index")
    replaced = {name: insert.excluded[name] for name in requests[0] if name not in key} | {"created_at": utc_now()}
    upsert = insert.on_conflict_do_update(index_elements=key, set_=replaced, where=Request.status == "failed")
    stored = session.execute(
        upsert.returning(Request.payload_hash, Request.sample_index, Request.request_id), list(requests)
    )
    ids = {(payload_hash, sample_index): request_id for payload_hash, sample_index, request_id in stored}
    rows = [
        {**solution, "request_id": ids[request["payload_hash"], request["sample_index"]]}
        for request, solution in zip(requests, solutions, strict=True)
        if solution is not None and (request["payload_hash"], request["sample_index"]) in ids
    ]
    if rows:
        session.execute(sa.insert(Solution), rows)
    return len(ids)
