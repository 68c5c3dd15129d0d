"""What the open pages answer with: a page, the way to another one, and the cookie of who came in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from db import sign_ins

from .door import Door

TEMPLATES = Path(__file__).parent / "templates"

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_environment = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def page(template: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any) -> Response:
    """A page of our own; it may load our style sheet and pictures, and nothing else."""
    html = _environment.get_template(template).render(**values)
    return HTMLResponse(
        html,
        status_code=status,
        headers={"cache-control": "no-store", "content-security-policy": _POLICY, **(headers or {})},
    )


def go(where: str) -> Response:
    """The way to another page, by GET."""
    return RedirectResponse(where, status_code=303, headers={"cache-control": "no-store"})


async def let_in(door: Door, request: Request, annotator_id: int, wanted: str) -> Response:
    """Signs a person in with a new secret, and ends the sign-in that this browser had before."""
    if (before := request.state.signed_in) is not None:
        await run_in_threadpool(sign_ins.end, door.engine, before.token_hash)
    secret = await run_in_threadpool(sign_ins.begin, door.engine, annotator_id)
    answer = go(wanted)
    # Lax, not Strict: with Strict a link to the app in a mail would find everybody signed out, and so would the way
    # back from an OpenID provider. Nothing that changes anything is a GET, and WebSockets check the origin.
    answer.set_cookie(
        door.cookie, secret, max_age=sign_ins.LONGEST_S, httponly=True, secure=door.is_https, samesite="lax"
    )
    return answer


def sentence(message: str) -> str:
    """An error of ours as a sentence on a page.

    >>> sentence("the name is empty; give one")
    'The name is empty; give one.'
    """
    return message[:1].upper() + message[1:].rstrip(".") + "."
