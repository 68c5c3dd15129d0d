"""Streamlit's page as our pages' addresses serve it: with a word about where its server is.

Opened at `/progress`, Streamlit's front end looks for its server below that address first, is refused twice, and
only then finds it at the root; each time the browser's console fills with errors.
"""

from functools import cache
from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from .pages import PAGES

_SCRIPT = "/stepmark/origin.js"
_WORD = "window.__streamlit = { BACKEND_BASE_URL: window.location.origin };\n"


def front_routes() -> list[Route]:
    """The addresses of all pages but the first, which is the root, and of the script that they load."""
    return [Route(_SCRIPT, _script), *(Route(f"/{page.view}", _front_page) for page in PAGES[1:])]


@cache
def _html() -> str:
    html = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    # A script of its own file, before the others: the policy of the pages allows no other inline scripts.
    return html.replace("<script", f'<script src="{_SCRIPT}"></script>\n    <script', 1)


def _front_page(_request: Request) -> Response:
    return HTMLResponse(_html(), headers={"cache-control": "no-cache"})


def _script(_request: Request) -> Response:
    return Response(_WORD, media_type="text/javascript", headers={"cache-control": "no-cache"})
