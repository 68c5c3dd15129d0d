"""The schema's version: bringing a database up to date, and refusing one that is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from stepmark.errors import DatabaseError

_FOLDER = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Where a database's schema stands."""

    current: str | None
    """Its revision; None for a database without our tables."""
    newest: str
    """The revision that this version of stepmark speaks."""

    @property
    def is_current(self) -> bool:
        """Whether nothing is to be done."""
        return self.current == self.newest


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def status(engine: sa.Engine) -> SchemaStatus:
    """Reads the schema's revision.

    Raises:
        DatabaseError: The database does not answer, or the file is no database.
    """
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    except sa.exc.DBAPIError as err:
        reason = " ".join(str(err.orig).split())  # libpq writes several lines
        raise DatabaseError(
            f"cannot open {engine.url.render_as_string()}: {reason.rstrip('.')}. "
            "Check the URL, and that the server runs."
        ) from err
    return SchemaStatus(current, newest)


def check(engine: sa.Engine) -> None:
    """Refuses a database whose schema is missing or of another version.

    Raises:
        DatabaseError: With what to do about it.
    """
    found = status(engine)
    if found.is_current:
        return
    where = engine.url.render_as_string()
    if found.current is None:
        raise DatabaseError(f"{where} holds no stepmark tables; run `stepmark db upgrade` first")
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found.current not in known:
        raise DatabaseError(f"{where} was written by a newer stepmark (schema {found.current}); install that version")
    raise DatabaseError(
        f"{where} has schema {found.current}, this version needs {found.newest}; run `stepmark db upgrade`"
    )


def upgrade(engine: sa.Engine, revision: str = "head") -> SchemaStatus:
    """Creates the schema or brings it up to date, in one transaction, and returns where it stands.

    Raises:
        DatabaseError: As `status`.
    """
    if revision == "head" and (found := status(engine)).is_current:
        return found
    immediate = engine.execution_options(sqlite_immediate=True)
    with immediate.connect() as connection, _tables_made_anew(connection), connection.begin():
        command.upgrade(_config(connection), revision)
        if engine.dialect.name == "sqlite":
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
            assert broken is None, f"the migration to {revision} would leave {broken} without what it refers to"
    return status(engine)


@contextmanager
def _tables_made_anew(connection: sa.Connection) -> Iterator[None]:
    """Lets SQLite drop a table that others refer to, to make it anew; inside a transaction the setting is ignored."""
    if connection.dialect.name != "sqlite":
        yield
        return
    try:
        _keep_references(connection, "OFF")
        yield
    finally:
        _keep_references(connection, "ON")


def _keep_references(connection: sa.Connection, setting: str) -> None:
    cursor = connection.connection.cursor()
    cursor.execute(f"PRAGMA foreign_keys={setting}")
    cursor.close()
