"""Flags that several commands share."""

from typing import Annotated

import typer

Db = Annotated[
    str | None,
    typer.Option("--db", metavar="URL", help="Database URL [default: $STEPMARK_DB, else sqlite:///stepmark.db]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def database_url(db: str | None) -> str:
    """The URL to use: the flag, else the setting."""
    if db is not None:
        return db
    from stepmark.settings import Settings

    return Settings().db
