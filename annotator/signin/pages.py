"""The pages that are open to all: signing in and out, taking up an invitation, setting a new password.

Drawn on the server, without scripts. A form counts only if the browser says that it comes from this app (the Origin
header, which every browser sends with a form), so that no other site can sign anybody in or out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from annotator.assets import ICON
from db import accounts, invitations, sign_ins
from db.passwords import MIN_CHARS
from stepmark.errors import UserError

from .door import INVITATION, SIGN_IN, SIGN_OUT, Door, own_path
from .guard import CSP_OF_PAGES
from .throttle import network_of

_TEMPLATES = Path(__file__).parent / "templates"
_FORM_BYTES = 16_384

_environment = Environment(
    loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


class _Unwanted(Exception):
    """A form that does not come from this app, or is none."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Pages:
    """The pages of one door."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def routes(self) -> list[BaseRoute]:
        """Their addresses."""
        return [
            Route(SIGN_IN, self.show_sign_in),
            Route(SIGN_IN, self.sign_in, methods=["POST"]),
            Route(SIGN_OUT, self.show_sign_out),
            Route(SIGN_OUT, self.sign_out, methods=["POST"]),
            Route(f"{INVITATION}/{{secret}}", self.show_invitation),
            Route(f"{INVITATION}/{{secret}}", self.take_up_invitation, methods=["POST"]),
            Route("/stepmark/signin.css", _style_sheet),
            Route("/stepmark/icon.svg", _icon),
        ]

    async def show_sign_in(self, request: Request) -> Response:
        """The sign-in page; whoever is signed in goes on."""
        wanted = own_path(request.query_params.get("next"))
        if request.state.signed_in is not None:
            return _go(wanted)
        return _page("signin.html.j2", wanted=wanted, name="", error=None)

    async def sign_in(self, request: Request) -> Response:
        """Looks at a name and a password, and gives the browser its cookie."""
        try:
            form = await self._read_form(request)
        except _Unwanted as err:
            return _refusal(err)
        wanted, name = own_path(form.get("next")), form.get("name", "")
        address = network_of(request.client.host if request.client else None)
        checked = await run_in_threadpool(self._check, name, form.get("password", ""), address)
        if checked.annotator_id is not None:
            return await self._let_in(request, checked.annotator_id, wanted)
        if checked.wait_s:
            error = f"Too many tries. Wait {_in_words(checked.wait_s)}, then try again."
            headers = {"retry-after": str(checked.wait_s)}
            return _page("signin.html.j2", 429, headers, wanted=wanted, name=name, error=error)
        return _page("signin.html.j2", 401, wanted=wanted, name=name, error="The name or the password is not right.")

    async def show_sign_out(self, request: Request) -> Response:
        """Asks once: a link alone signs nobody out."""
        person = request.state.signed_in
        return _page("signout.html.j2", name=person.name if person else "")

    async def sign_out(self, request: Request) -> Response:
        """Ends the sign-in of this browser."""
        try:
            await self._read_form(request)
        except _Unwanted as err:
            return _refusal(err)
        if person := request.state.signed_in:
            await run_in_threadpool(sign_ins.end, self._door.engine, person.token_hash)
        answer = _go(SIGN_IN)
        answer.delete_cookie(self._door.cookie, secure=self._door.is_https, httponly=True, samesite="lax")
        return answer

    async def show_invitation(self, request: Request) -> Response:
        """What the link offers; looking at it does not use it up, for mail programs look too."""
        offer = await run_in_threadpool(invitations.look_at, self._door.engine, request.path_params["secret"])
        return _page(
            "invitation.html.j2", 200 if offer else 410, offer=offer, name="", error=None, min_chars=MIN_CHARS
        )

    async def take_up_invitation(self, request: Request) -> Response:
        """Makes the account, or sets the password, and signs the person in."""
        try:
            form = await self._read_form(request)
        except _Unwanted as err:
            return _refusal(err)
        secret, name, password = request.path_params["secret"], form.get("name", ""), form.get("password", "")
        error = None
        if password != form.get("again", ""):
            error = "The two passwords differ. Type them once more."
        else:
            try:
                annotator_id = await run_in_threadpool(
                    invitations.take_up, self._door.engine, secret, name=name, password=password
                )
            except UserError as err:
                error = _sentence(str(err))
            else:
                return await self._let_in(request, annotator_id, "/")
        offer = await run_in_threadpool(invitations.look_at, self._door.engine, secret)
        status = 422 if offer else 410
        return _page("invitation.html.j2", status, offer=offer, name=name, error=error, min_chars=MIN_CHARS)

    def _check(self, name: str, password: str, address: str) -> accounts.Checked:
        if wait_s := self._door.by_address.begin(address):
            return accounts.Checked(None, wait_s)
        # A name that nobody has waits like one that somebody has, and so does not tell.
        is_known = accounts.is_account(self._door.engine, name)
        if not is_known and (wait_s := self._door.by_unknown_name.begin(name.strip()[:128])):
            return accounts.Checked(None, wait_s)
        checked = accounts.check_sign_in(self._door.engine, name, password)
        if checked.annotator_id is not None:
            self._door.by_address.take_back(address)
        return checked

    async def _let_in(self, request: Request, annotator_id: int, wanted: str) -> Response:
        if (before := request.state.signed_in) is not None:
            await run_in_threadpool(sign_ins.end, self._door.engine, before.token_hash)
        secret = await run_in_threadpool(sign_ins.begin, self._door.engine, annotator_id)
        answer = _go(wanted)
        # Lax, not Strict: with Strict a link to the app in a mail would find everybody signed out, and so would the
        # way back from an OpenID provider. Nothing that changes anything is a GET, and WebSockets check the origin.
        answer.set_cookie(
            self._door.cookie,
            secret,
            max_age=sign_ins.LONGEST_S,
            httponly=True,
            secure=self._door.is_https,
            samesite="lax",
        )
        return answer

    async def _read_form(self, request: Request) -> dict[str, str]:
        if not self._door.is_own_origin(request.headers.get("origin"), request.headers.get("host")):
            raise _Unwanted("This form does not come from this app.", 403)
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/x-www-form-urlencoded":
            raise _Unwanted("This is not a form.", 415)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _FORM_BYTES:
                raise _Unwanted("This form is too long.", 413)
        try:
            found = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
        except ValueError as err:
            raise _Unwanted("This form cannot be read.", 400) from err
        return {name: values[-1] for name, values in found.items()}


def _page(template: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any) -> Response:
    html = _environment.get_template(template).render(**values)
    return HTMLResponse(
        html,
        status_code=status,
        headers={"cache-control": "no-store", "content-security-policy": CSP_OF_PAGES, **(headers or {})},
    )


def _go(where: str) -> Response:
    return RedirectResponse(where, status_code=303, headers={"cache-control": "no-store"})


def _refusal(err: _Unwanted) -> Response:
    return PlainTextResponse(f"{err}\n", status_code=err.status)


def _style_sheet(_request: Request) -> Response:
    return FileResponse(_TEMPLATES / "signin.css", headers={"cache-control": "max-age=300"})


def _icon(_request: Request) -> Response:
    return FileResponse(ICON, headers={"cache-control": "max-age=300"})


def _sentence(message: str) -> str:
    """An error of ours as a sentence on a page.

    >>> _sentence("the name is empty; give one")
    'The name is empty; give one.'
    """
    return message[:1].upper() + message[1:].rstrip(".") + "."


def _in_words(seconds: int) -> str:
    """A wait as people say it, rounded up.

    >>> _in_words(29), _in_words(61), _in_words(1)
    ('29 seconds', '2 minutes', '1 second')
    """
    n, unit = (-(-seconds // 60), "minute") if seconds > 60 else (seconds, "second")
    return f"{n} {unit}{'' if n == 1 else 's'}"
