"""The SQLite connection of another process, beside the driver's own."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from db.sqlite_process import ProcessConnection

TEXT = "grüße 🍎 \x00 end"
VALUES = [(1, TEXT, 2.5, None, b"\x00\xff"), (2**63 - 1, "", -0.0, 0, b""), (-(2**63), "x" * 300_000, 1e300, 7, b"")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "it's a file.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE things (a INTEGER, b TEXT, c REAL, d, e BLOB)")
        connection.executemany("INSERT INTO things VALUES (?, ?, ?, ?, ?)", VALUES)
    connection.close()
    return path


@pytest.fixture
def connection(file: Path) -> Iterator[ProcessConnection]:
    connection = ProcessConnection(file)
    yield connection
    connection.close()


def process_of(connection: ProcessConnection) -> psutil.Process:
    """That of the only connection, which has answered."""
    (found,) = (one for one in psutil.Process().children() if any("sqlite_process" in word for word in one.cmdline()))
    return found


def test_rows_are_those_of_the_driver(file: Path, connection: ProcessConnection) -> None:
    for sql, parameters in (
        ("SELECT * FROM things", ()),
        ("SELECT b, a FROM things WHERE a > ? AND b <> ?", (0, "")),
        ("SELECT 1 WHERE 0", ()),
        ("SELECT ?, ?, ?, ?, ?", VALUES[0]),
    ):
        driver, ours = sqlite3.connect(file).execute(sql, parameters), connection.cursor()
        ours.execute(sql, parameters)
        assert ours.description == [tuple(column) for column in driver.description]
        assert ours.fetchall() == driver.fetchall()


def test_rows_are_fetched_one_by_one_some_or_all(connection: ProcessConnection) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT value FROM json_each('[1, 2, 3, 4, 5, 6]')")
    assert cursor.fetchone() == (1,)
    assert cursor.fetchmany() == [(2,)]
    assert cursor.fetchmany(2) == [(3,), (4,)]
    assert cursor.fetchall() == [(5,), (6,)]
    assert (cursor.fetchone(), cursor.fetchmany(3), cursor.fetchall()) == (None, [], [])
    cursor.execute("BEGIN")
    assert cursor.description is None


def test_an_error_is_the_drivers_and_the_next_query_is_answered(connection: ProcessConnection) -> None:
    cursor = connection.cursor()
    with pytest.raises(sqlite3.OperationalError, match="no such column: z"):
        cursor.execute("SELECT z FROM things")
    cursor.execute("SELECT count(*) FROM things")
    assert cursor.fetchone() == (3,)


def test_a_process_that_was_killed_is_told(connection: ProcessConnection) -> None:
    connection.cursor().execute("SELECT 1")
    process_of(connection).kill()
    with pytest.raises(sqlite3.OperationalError, match="has ended"):
        connection.cursor().execute("SELECT 1")
    with pytest.raises(sqlite3.OperationalError, match="has ended"):
        connection.cursor().execute("SELECT 1")


def test_ctrl_c_is_left_to_the_caller(connection: ProcessConnection) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    process_of(connection).send_signal(signal.SIGINT)
    cursor.execute("SELECT 2")
    assert cursor.fetchall() == [(2,)]


def test_the_process_ends_when_its_starter_was_killed(file: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from db.sqlite_process import ProcessConnection\n"
        "connection = ProcessConnection(Path(sys.argv[1])); connection.cursor().execute('SELECT 1')\n"
        "print('begun', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(file)], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "begun\n"
        (child,) = psutil.Process(starter.pid).children()
        starter.kill()
    _, alive = psutil.wait_procs([child], timeout=20)
    assert alive == []
