"""`stepmark annotate`: the labelling app in the browser."""

from typing import Annotated

import typer

from .options import Db, database_url


def annotate(
    db: Db = None,
    annotator: Annotated[
        str, typer.Option(help="Who labels; made where there is none of this name.")
    ] = "annotator-1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8501,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    queue: Annotated[
        str | None, typer.Option(metavar="RULE", help="Only the part of the queue with this name (see `queue show`).")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Opens the labelling app for one annotator on this machine."""
    from annotator.app import run_app

    run_app(database_url(db), annotator=annotator, host=host, port=port, reason=queue, opens_browser=not no_browser)
