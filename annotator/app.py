"""Starting the labelling app: one process that serves the pages, the surface's files, KaTeX and a health answer.

The app listens on this machine only and calls no other host. Accounts come later: whoever reaches the port labels
as the annotator it was started for.
"""

import ipaddress
import socket
import threading
import time
import webbrowser
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from db.annotators import find_or_create_annotator
from db.connect import open_database, reading
from stepmark.errors import SettingsError

from .assets import COMPONENT, component_url, find_katex
from .workplace import Workplace, current, open_workplace

_ENTRY = Path(__file__).parent / "entry.py"

_LOOK = {
    "theme.baseRadius": "medium",
    "theme.headingFontSizes": ["1.75rem", "1.3rem", "1.1rem", "1rem", "1rem", "1rem"],
    "theme.light.primaryColor": "#3d5bd9",
    "theme.light.backgroundColor": "#fcfbf8",
    "theme.light.secondaryBackgroundColor": "#f3f1ea",
    "theme.light.textColor": "#20242c",
    "theme.dark.primaryColor": "#8fa5ff",
    "theme.dark.backgroundColor": "#14161a",
    "theme.dark.secondaryBackgroundColor": "#1d2026",
    "theme.dark.textColor": "#e8e8e4",
}


def run_app(
    database_url: str,
    *,
    annotator: str = "annotator-1",
    host: str = "127.0.0.1",
    port: int = 8501,
    reason: str | None = None,
    opens_browser: bool = True,
) -> None:
    """Serves the app until it is stopped.

    Args:
        database_url: The database; its schema is brought up to date.
        annotator: Who labels; made where there is none of this name.
        host: A loopback address.
        port: Port to listen on.
        reason: Only tasks that this rule put into the queue.
        opens_browser: Show the page in the default browser once it answers.

    Raises:
        SettingsError: The host is not this machine, or the port is taken.
        DatabaseError: The database cannot be opened.
    """
    check_address(host, port)
    engine = open_database(database_url, create=True)
    annotator_id = find_or_create_annotator(engine, annotator)
    open_workplace(Workplace(engine, annotator_id, annotator.strip(), reason))
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"Labelling as {annotator} at {url} (Ctrl-C stops it)", flush=True)
    if opens_browser:
        threading.Thread(target=_open_when_up, args=(url,), daemon=True).start()
    try:
        st.App(_ENTRY, routes=routes()).run(config=server_config(host, port))
    finally:
        engine.dispose()


def routes() -> list[BaseRoute]:
    """The app's own addresses, beside Streamlit's."""
    found: list[BaseRoute] = [
        Route("/stepmark/health", health),
        Mount(component_url(), StaticFiles(directory=COMPONENT)),
    ]
    katex = find_katex()
    if katex is not None and katex.directory is not None:
        found.append(Mount("/stepmark/katex", StaticFiles(directory=katex.directory)))
    return found


def health(_request: Request) -> JSONResponse:
    """Answers 200 while the database answers, else 503."""
    try:
        with reading(current().engine) as session:
            session.execute(sa.text("SELECT 1"))
    except sa.exc.SQLAlchemyError as err:
        return JSONResponse({"status": "database does not answer", "error": type(err).__name__}, status_code=503)
    return JSONResponse({"status": "ok"})


def server_config(host: str, port: int) -> dict[str, Any]:
    """Streamlit's options: this machine only, nobody called, no traceback on the page."""
    return {
        "server.address": host,
        "server.port": port,
        "server.allowedHosts": sorted({"localhost", "127.0.0.1", "::1", host}),  # against DNS rebinding
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "browser.serverAddress": host,
        "browser.gatherUsageStats": False,
        "logger.hideWelcomeMessage": True,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        **_LOOK,
    }


def check_address(host: str, port: int) -> None:
    """Refuses a host that others can reach, and a port that is taken.

    Raises:
        SettingsError: Says which of both, and what to do.
    """
    try:
        is_local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise SettingsError(
            f"host {host!r} is not this machine; the app has no accounts yet, use 127.0.0.1 "
            "(from another machine: an SSH tunnel to that port)"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server will: a port in TIME_WAIT after a restart is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as err:
            raise SettingsError(
                f"port {port} cannot be used on {host}: {err.strerror or err}; "
                f"stop the program that holds it, or give another: --port {port + 1}"
            ) from err


def _open_when_up(url: str, *, timeout_s: float = 60.0) -> None:
    host, port = url.removeprefix("http://").rsplit(":", 1)
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            webbrowser.open(url)
            return
