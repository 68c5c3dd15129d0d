"""`stepmark db`: the schema of the database."""

import typer

from .options import Db, Json, open_db
from .output import print_json

app = typer.Typer(help="Create, update and inspect the database.", no_args_is_help=True)


@app.command()
def upgrade(db: Db = None, json: Json = False) -> None:
    """Creates the tables, or brings them to this version's schema."""
    from db.migrate import status as schema_status

    engine = open_db(db, create=True)
    found = schema_status(engine)
    if json:
        print_json({"url": engine.url.render_as_string(), "schema": found.current})
    else:
        print(f"{engine.url.render_as_string()}: schema {found.current}")


@app.command()
def status(db: Db = None, json: Json = False) -> None:
    """Says where the schema stands, and how many rows each table holds."""
    from db.counts import table_counts

    engine = open_db(db)
    counts = table_counts(engine)
    if json:
        print_json({"url": engine.url.render_as_string(), "rows": counts})
    else:
        for table, count in counts.items():
            print(f"{count:>12,}  {table}")
