"""Holding a run: two processes that worked on one at once would ask, and pay, for the same answers twice.

The lock is the operating system's or the server's own, so that it ends with the process, however that ends.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from stepmark.errors import UserError

_PATIENCE_S = 2.0
"""A server may take so long to notice that the process that held a lock is gone."""
_BUSY = (
    "this run is under way in another process, which asks for the same; "
    "wait until it ends, or stop it and run the command again: it resumes"
)


@contextmanager
def holding_run(engine: sa.Engine, run_key: str) -> Iterator[None]:
    """Holds the run of this key as long as the context lasts.

    SQLite: a lock on a file beside the database. PostgreSQL: an advisory lock of a connection of its own.

    Raises:
        UserError: Another process (or another thread of this one) holds it.
    """
    if engine.dialect.name == "postgresql":
        key = int.from_bytes(bytes.fromhex(run_key[:16]), signed=True)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            patient_until = time.monotonic() + _PATIENCE_S
            while not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))):
                if time.monotonic() > patient_until:
                    raise UserError(_BUSY)
                time.sleep(0.1)
            try:
                yield
            finally:
                connection.scalar(sa.select(sa.func.pg_advisory_unlock(key)))
        return
    file = engine.url.database
    if not file or file == ":memory:":
        yield
        return
    path = Path(f"{file}-run-{run_key[:16]}.lock")
    descriptor = _lock_file(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock_file(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            os.close(descriptor)
            raise UserError(_BUSY) from err
        if path.exists() and os.stat(path).st_ino == os.fstat(descriptor).st_ino:
            return descriptor
        os.close(descriptor)  # its holder has just let go of it, and removed it
