"""Sessions that see one state of the database, however long they read and whatever others write meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .connect import reading
from .models import Solution


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[Session]:
    """A session that sees one state; a transaction of SQLite does so anyhow."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with reading(engine) as session:
        session.scalar(sa.select(Solution.solution_id).limit(1))  # a transaction sees the state of its first query
        yield session


@contextmanager
def two_snapshots(engine: sa.Engine) -> Iterator[tuple[Session, Session]]:
    """Two sessions that see the same state, for two threads; on SQLite both are one, which is for one thread."""
    with snapshot(engine) as first:
        if engine.dialect.name != "postgresql":
            yield first, first
            return
        exported = first.scalar(sa.select(sa.func.pg_export_snapshot()))
        with reading(engine.execution_options(isolation_level="REPEATABLE READ")) as second:
            second.connection().exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{exported}'")
            yield first, second
