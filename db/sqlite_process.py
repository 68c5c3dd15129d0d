"""A SQLite connection in a process of its own: the database is read while the caller's Python does other work.

SQLite's driver takes Python's lock at each row, so a thread gains nothing there. The process is this file run by
itself, hence the standard library alone: it answers a query by all of its rows, as `marshal` writes them, behind
their length. It is for reading a database file; what SQLAlchemy asks of a driver is there, no more.
"""

import marshal
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

_LENGTH_BYTES = 8
CACHE_KB = 16_384
"""Of the database, for who reads it in order."""


class ProcessConnection:
    """A connection as the Python database API (PEP 249) has it; transactions begin and end by what is executed."""

    isolation_level = None

    def __init__(self, path: Path) -> None:
        """Starts the process, which ends with `close`, or when this one does."""
        # Isolated, and without what is installed: it starts in a few hundredths of a second.
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", "-S", __file__, str(path.resolve()), str(theirs.fileno())]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def answer(self, sql: str, parameters: Sequence[Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The names of the columns, and all rows.

        Raises:
            sqlite3.Error: As the driver raises it there; `OperationalError` if the process has ended.
        """
        try:
            _send(self._socket, (sql, tuple(parameters)))
            failed, names, rows = _receive(self._socket)
        except (EOFError, OSError) as err:
            raise sqlite3.OperationalError("the process that reads the database has ended") from err
        if failed is not None:
            kind, message = failed
            raise getattr(sqlite3, kind)(message)
        return names, rows

    def cursor(self) -> "ProcessCursor":
        """A cursor for one query after the other."""
        return ProcessCursor(self)

    def create_function(self, *_: Any, **__: Any) -> None:
        """Nothing: SQLAlchemy offers functions that no query of ours uses."""

    def commit(self) -> None:
        """Nothing, as for a driver that leaves transactions to its caller."""

    rollback = commit

    def close(self) -> None:
        """Ends the process, and with it the transaction."""
        self._socket.close()
        self._process.wait()


class ProcessCursor:
    """What was found by the last query."""

    arraysize = 1
    rowcount = -1
    lastrowid = None

    def __init__(self, connection: ProcessConnection) -> None:
        self._connection = connection
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self.description: list[tuple[Any, ...]] | None = None

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Asks, and waits for all rows."""
        names, rows = self._connection.answer(sql, parameters)
        self._rows = iter(rows)
        self.description = [(name, *[None] * 6) for name in names] or None

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row."""
        return next(self._rows, None)

    def fetchmany(self, size: int = arraysize) -> list[tuple[Any, ...]]:
        """The next rows."""
        return list(islice(self._rows, size))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that were not fetched yet."""
        return list(self._rows)

    def close(self) -> None:
        """Forgets the rows."""
        self._rows = iter(())


def _send(to: socket.socket, what: Any) -> None:
    content = marshal.dumps(what)
    to.sendall(len(content).to_bytes(_LENGTH_BYTES, "little") + content)


def _receive(sender: socket.socket) -> Any:
    """What was sent.

    Raises:
        EOFError: The other side has ended.
    """
    length = sender.recv(_LENGTH_BYTES, socket.MSG_WAITALL)
    # One call for all of it: after each, a thread waits for Python's lock.
    content = sender.recv(int.from_bytes(length, "little"), socket.MSG_WAITALL) if length else b""
    return marshal.loads(content)  # EOFError where nothing came, or less than all


def _serve(path: str, caller: socket.socket) -> None:
    """Answers the queries that come, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the caller's affair; it ends this process too
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    connection.execute(f"PRAGMA cache_size=-{CACHE_KB}")
    while True:
        try:
            sql, parameters = _receive(caller)
            try:
                cursor = connection.execute(sql, parameters)
                names = [column[0] for column in cursor.description or ()]
                _send(caller, (None, names, cursor.fetchall()))
            except sqlite3.Error as err:
                _send(caller, ((type(err).__name__, str(err)), [], []))
        except (EOFError, ConnectionError):
            return  # the caller is done, or gone


if __name__ == "__main__":
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
