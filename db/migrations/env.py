"""Alembic's entry point; `db.migrate` passes the connection, so no ini file is needed."""

from alembic import context

import db.models  # noqa: F401 - fills the metadata
from db.schema import Base


def _run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    context.run_migrations()


_run()
