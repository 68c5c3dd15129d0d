"""Opening a database: SQLite by default, PostgreSQL by URL; and the sessions on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import DatabaseError, LimitReached

DEFAULT_URL = "sqlite:///stepmark.db"


def open_database(url: str = DEFAULT_URL, *, create: bool = False, pool_size: int = 5) -> sa.Engine:
    """Opens the database at `url` and checks that its schema is the one this version speaks.

    Args:
        url: `sqlite:///path`, or `postgresql://user@host/name` (driver psycopg).
        create: Make the schema, or bring it up to date, first.
        pool_size: Connections held open (PostgreSQL).

    Raises:
        DatabaseError: The URL is unknown, the server does not answer, or the schema is missing or of another version.
    """
    engine = create_engine(url, pool_size=pool_size)
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if not create and file and file != ":memory:" and not Path(file).exists():
        raise DatabaseError(f"there is no database {file!r}; make it by `stepmark db upgrade --db {url}`")
    try:
        from . import migrate

        if create:
            migrate.upgrade(engine)
        else:
            migrate.check(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def create_engine(url: str, *, pool_size: int = 5) -> sa.Engine:
    """An engine for the URL, whatever the state of its schema; `open_database` is what programs want.

    Raises:
        DatabaseError: The URL cannot be used.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as err:
        raise DatabaseError(
            f"{url!r} is not a database URL; use sqlite:///FILE or postgresql://USER@HOST/NAME"
        ) from err
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database and parsed.database != ":memory:" and not Path(parsed.database).parent.is_dir():
            raise DatabaseError(f"the folder of {parsed.database!r} does not exist; create it, or give another --db")
        engine = sa.create_engine(parsed, connect_args={"timeout": 60})
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    if backend == "postgresql":
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
        )
    raise DatabaseError(f"{backend!r} is not supported; use sqlite:///FILE or postgresql://USER@HOST/NAME")


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves (_begin_sqlite)
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=60000",
        "cache_size=-65536",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A deferred transaction that reads first and writes later fails at once with "database is locked" when
    # another process wrote in between, whatever the time-out; writers therefore begin as writers.
    immediate = connection.get_execution_options().get("sqlite_immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[Session]:
    """A session for reading; nothing is committed."""
    with Session(engine) as session:
        yield session


@contextmanager
def writing(engine: sa.Engine) -> Iterator[Session]:
    """A session for one unit of writing: committed at the end, rolled back whole on any error.

    Raises:
        LimitReached: The disk is full; the database stands as it was before.
    """
    with Session(_for_writing(engine)) as session:
        try:
            yield session
            session.commit()
        except sa.exc.OperationalError as err:
            session.rollback()
            if is_disk_full(err):
                raise LimitReached(
                    f"the disk of {engine.url.render_as_string()} is full; nothing of this batch was stored. "
                    "Free some space and run the command again: it resumes."
                ) from err
            raise
        except BaseException:
            session.rollback()
            raise


@lru_cache(maxsize=8)
def _for_writing(engine: sa.Engine) -> sa.Engine:
    """The same engine, whose transactions begin as writers; made once, because making it costs as much as a query."""
    return engine.execution_options(sqlite_immediate=True)


def is_disk_full(err: BaseException) -> bool:
    """Tells whether a driver's error means that the disk is full."""
    text = str(err).lower()
    return "disk is full" in text or "no space left" in text or "disk i/o error" in text
