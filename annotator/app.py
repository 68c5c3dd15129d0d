"""Starting the labelling app: one process that serves the pages, the surface's files, KaTeX and a health answer.

The app calls no other host. Without accounts it listens on this machine only, and whoever reaches the port labels as
the annotator it was started for; from the first account on, people sign in (`annotator.signin`).
"""

import gc
import ipaddress
import socket
import threading
import time
import webbrowser
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from db.accounts import has_accounts
from db.annotators import find_or_create_annotator
from db.connect import open_database, reading
from db.sign_ins import SignedIn
from stepmark.errors import SettingsError

from .assets import COMPONENT, component_url, find_katex
from .front_page import front_routes
from .pages import PAGES
from .signin.door import Door
from .signin.guard import Guard
from .signin.pages import Pages
from .signin.provider import Provider
from .workplace import EvidenceOf, Workplace, database, open_door

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
    public_url: str | None = None,
    provider: Provider | None = None,
    reason: str | None = None,
    evidence: EvidenceOf | None = None,
    opens_browser: bool = True,
) -> None:
    """Serves the app until it is stopped.

    Args:
        database_url: The database; its schema is brought up to date.
        annotator: Who labels while there are no accounts; made where there is none of this name.
        host: Address to listen on; one that others can reach needs accounts.
        port: Port to listen on.
        public_url: Where people reach the app, if a proxy or a host name stands before it; needs accounts.
        provider: An OpenID provider that people may sign in with.
        reason: Only tasks that this rule put into the queue.
        evidence: Finds what is shown beside the steps after an answer; None shows nothing.
        opens_browser: Show the page in the default browser once it answers.

    Raises:
        SettingsError: Others could reach an app without accounts, the addresses do not fit, or the port is taken.
        DatabaseError: The database cannot be opened.
    """
    check_address(host, port, public_url=public_url)
    is_shared = public_url is not None or not is_this_machine(host)
    engine = open_database(database_url, create=True, pool_size=10)
    door = Door(engine, public_url=public_url, always_asks=is_shared)
    try:
        if is_shared and not has_accounts(engine):
            raise SettingsError(
                f"others can reach {public_url or host}, and there are no accounts; make the first one: "
                "stepmark annotators add NAME --role admin"
            )
        single = None
        if not door.asks():
            annotator_id = find_or_create_annotator(engine, annotator)
            single = Workplace(engine, annotator_id, annotator.strip(), reason, evidence=evidence)
        open_door(door, single=single, reason=reason, evidence=evidence)
        url = public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}"
        print(f"Labelling {f'as {annotator}' if single else 'with accounts'} at {url} (Ctrl-C stops it)", flush=True)
        if is_shared and not door.is_https:
            print("Passwords travel unencrypted: put a proxy with https before it (docs/accounts.md)", flush=True)
        if opens_browser and not is_shared:
            threading.Thread(target=_open_when_up, args=(url,), daemon=True).start()
        hosts = allowed_hosts(host, public_url)
        app = st.App(_ENTRY, routes=routes(door, provider), middleware=middleware(door, single, hosts))
        send_at_once()
        keep_what_is_loaded()
        app.run(config=server_config(host, port, hosts=hosts))
    finally:
        engine.dispose()


def routes(door: Door | None = None, provider: Provider | None = None) -> list[BaseRoute]:
    """The app's own addresses, beside Streamlit's."""
    found: list[BaseRoute] = [
        Route("/stepmark/health", health),
        Mount(component_url(), StaticFiles(directory=COMPONENT)),
        *front_routes(),
    ]
    katex = find_katex()
    if katex is not None and katex.directory is not None:
        found.append(Mount("/stepmark/katex", StaticFiles(directory=katex.directory)))
    if door is not None:
        found.extend(Pages(door, provider=provider.name if provider else None).routes())
    if door is not None and provider is not None:
        from .signin.openid import OpenId  # loads much that an app without a provider does not need

        found.extend(OpenId(door, provider).routes())
    return found


def middleware(door: Door, single: Workplace | None, hosts: list[str]) -> list[Middleware]:
    """What stands before Streamlit's pages and our own: the host's name, then the guard."""
    roles = {page.view: page.role for page in PAGES if page.role != "annotator"}
    alone = None if single is None else SignedIn("", single.annotator_id, single.annotator, single.role)
    names = [f"[{name}]" if ":" in name else name for name in hosts]  # as a Host header writes an IPv6 address
    return [
        Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False),  # against DNS rebinding
        Middleware(Guard, door=door, roles=roles, single=alone),
    ]


def health(_request: Request) -> JSONResponse:
    """Answers 200 while the database answers, else 503."""
    try:
        with reading(database()) as session:
            session.execute(sa.text("SELECT 1"))
    except sa.exc.SQLAlchemyError as err:
        return JSONResponse({"status": "database does not answer", "error": type(err).__name__}, status_code=503)
    return JSONResponse({"status": "ok"})


def server_config(host: str, port: int, *, hosts: list[str]) -> dict[str, Any]:
    """Streamlit's options: nobody called, no traceback on the page, no other site's requests."""
    return {
        "server.address": host,
        "server.port": port,
        "server.allowedHosts": hosts,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "browser.serverAddress": hosts[0],
        "browser.gatherUsageStats": False,
        "logger.hideWelcomeMessage": True,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        "runner.postScriptGC": False,  # see keep_what_is_loaded
        **_LOOK,
    }


def allowed_hosts(host: str, public_url: str | None) -> list[str]:
    """The names by which the app may be asked for; the public one first."""
    public = urlsplit(public_url).hostname if public_url is not None else None
    return list(dict.fromkeys(name for name in (public, host, "127.0.0.1", "localhost", "::1") if name))


def send_at_once() -> None:
    """Makes Streamlit's server send small packets without waiting for the browser's acknowledgement of the last one.

    Its listening socket is made without a protocol number, and asyncio then leaves Nagle's algorithm on: an answer
    over a kept connection took 44 ms, with this 1 ms. There is no public way to reach that socket (Streamlit 1.67).
    """
    from streamlit.web.server.starlette import starlette_server

    bind = starlette_server._bind_socket

    def bind_without_delay(address: str, port: int, backlog: int) -> socket.socket:
        listening = bind(address, port, backlog)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
        return listening

    starlette_server._bind_socket = bind_without_delay


def keep_what_is_loaded() -> None:
    """Loads the pages before the first one is asked for, and takes all modules out of garbage collection for good.

    Streamlit would collect all garbage after every run of a script, and look through half a million objects of
    modules each time: 60 to 120 ms, most of what an answer cost. Python's own collections do (`runner.postScriptGC`).
    """
    for page in PAGES:
        import_module(f"annotator.views.{page.view}")
    gc.collect()
    gc.freeze()


def is_this_machine(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, port: int, *, public_url: str | None = None) -> None:
    """Refuses addresses that do not fit together, and a port that is taken.

    Raises:
        SettingsError: Says what is wrong, and what to do.
    """
    if public_url is not None:
        found = urlsplit(public_url)
        if found.scheme not in ("http", "https") or not found.hostname or found.path.strip("/") or found.query:
            raise SettingsError(
                f"public URL {public_url!r} is not an address without a path; use one like https://label.example.org"
            )
    elif host in ("0.0.0.0", "::", ""):
        raise SettingsError(
            f"host {host!r} is every address of this machine; say by which one people reach the app: "
            f"--public-url http://HOSTNAME:{port}, or https://... behind a proxy"
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
