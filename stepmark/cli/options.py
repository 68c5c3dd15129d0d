"""Flags that several commands share."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import sqlalchemy as sa

Db = Annotated[
    str | None,
    typer.Option("--db", metavar="URL", help="Database URL [default: $STEPMARK_DB, else sqlite:///stepmark.db]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


_opened: "list[sa.Engine]" = []


def database_url(db: str | None) -> str:
    """The URL to use: the flag, else the setting."""
    if db is not None:
        return db
    from stepmark.settings import Settings

    return Settings().db


def open_db(db: str | None, *, create: bool = False) -> "sa.Engine":
    """The database to use, which is closed when the command ends.

    Args:
        db: The flag.
        create: Make the schema, or bring it up to date, first.

    Raises:
        DatabaseError: It cannot be opened.
    """
    from db.connect import open_database

    engine = open_database(database_url(db), create=create)
    _opened.append(engine)
    return engine


def close_databases() -> None:
    """Closes what `open_db` opened."""
    while _opened:
        _opened.pop().dispose()
