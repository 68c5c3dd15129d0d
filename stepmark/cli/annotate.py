"""`stepmark annotate`: the labelling app in the browser."""

from typing import Annotated

import typer

from .options import Db, database_url


def annotate(
    db: Db = None,
    annotator: Annotated[
        str, typer.Option(help="Who labels while there are no accounts; made where there is none of this name.")
    ] = "annotator-1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others can reach needs accounts.")
    ] = "127.0.0.1",
    public_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where people reach the app behind a proxy, such as https://label.example.org; needs accounts "
            "[default: $STEPMARK_PUBLIC_URL].",
        ),
    ] = None,
    queue: Annotated[
        str | None, typer.Option(metavar="RULE", help="Only the part of the queue with this name (see `queue show`).")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Opens the labelling app: for one annotator on this machine, or, with accounts, for whoever signs in."""
    from annotator.app import run_app
    from annotator.signin.provider import Provider
    from stepmark.flows.evidence import evidence_of
    from stepmark.settings import Settings

    settings = Settings()
    provider = None
    if settings.oidc_issuer:
        provider = Provider(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret,
            name=settings.oidc_name,
            domain=settings.oidc_domain,
        )
    run_app(
        database_url(db),
        annotator=annotator,
        host=host,
        port=port,
        public_url=public_url or settings.public_url,
        provider=provider,
        reason=queue,
        evidence=evidence_of,
        opens_browser=not no_browser,
    )
