"""Sessions that see one state of the database, however long they read and whatever others write meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .connect import reading
from .models import Solution
from .sqlite_process import CACHE_KB, ProcessConnection

ALONE = "is_alone"
"""In a session's `info`: it has a connection of its own, which waits for the database without Python's lock."""


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
    """Two sessions that see the same state, for two threads, the second one `ALONE`.

    For a database of SQLite in memory both are one, which is for one thread.
    """
    if engine.dialect.name == "postgresql":
        pair = _two_of_postgresql(engine)
    elif engine.url.database and Path(engine.url.database).is_file():
        pair = _two_of_sqlite(engine, Path(engine.url.database))
    else:
        with snapshot(engine) as session:
            yield session, session
        return
    with pair as (first, second):
        second.info[ALONE] = True
        yield first, second


@contextmanager
def _two_of_postgresql(engine: sa.Engine) -> Iterator[tuple[Session, Session]]:
    with snapshot(engine) as first:
        exported = first.scalar(sa.select(sa.func.pg_export_snapshot()))
        with reading(engine.execution_options(isolation_level="REPEATABLE READ")) as second:
            second.connection().exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{exported}'")
            yield first, second


@contextmanager
def _two_of_sqlite(engine: sa.Engine, file: Path) -> Iterator[tuple[Session, Session]]:
    """The second in another process.

    SQLite has no name for a state; where a transaction was committed between the two beginnings, both begin anew.
    """
    beside = sa.create_engine("sqlite://", creator=lambda: ProcessConnection(file), poolclass=sa.NullPool)
    with Session(beside) as second:
        connection = second.connection()

        def version() -> int:
            found: int = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
            return found

        while True:
            before = version()
            with snapshot(engine) as first:
                connection.exec_driver_sql("BEGIN")
                if version() == before:
                    with _small_cache(first):
                        yield first, second
                    return
                connection.exec_driver_sql("ROLLBACK")


@contextmanager
def _small_cache(session: Session) -> Iterator[None]:
    """Keeps less of the database in memory, for who reads it once and in order."""
    connection = session.connection()
    usual = connection.exec_driver_sql("PRAGMA cache_size").scalar_one()
    connection.exec_driver_sql(f"PRAGMA cache_size=-{CACHE_KB}")
    try:
        yield
    finally:
        connection.exec_driver_sql(f"PRAGMA cache_size={usual}")
