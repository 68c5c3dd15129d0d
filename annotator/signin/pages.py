"""The pages that are open to all: signing in and out, taking up an invitation, setting a new password.

Drawn on the server, without scripts. A form counts only if the browser says that it comes from this app (the Origin
header, which every browser sends with a form), so that no other site can sign anybody in or out.
"""

from collections.abc import Mapping
from functools import partial
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from annotator.assets import ICON
from db import accounts, invitations, sign_ins
from db.passwords import MIN_CHARS
from stepmark.errors import UserError

from .answers import TEMPLATES, go, let_in, page, sentence
from .door import INVITATION, SIGN_IN, SIGN_OUT, Door, own_path
from .throttle import network_of

_FORM_BYTES = 16_384


class _Unwanted(Exception):
    """A form that does not come from this app, or is none."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Pages:
    """The pages of one door.

    Args:
        door: The rules.
        provider: What people call the OpenID provider; None if there is none.
    """

    def __init__(self, door: Door, *, provider: str | None = None) -> None:
        self._door = door
        self._provider = provider
        # Hashing waits in threads of its own: a flood of sign-ins does not take those that answer everybody else.
        self._hashing = anyio.CapacityLimiter(4)

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
            return go(wanted)
        return self._sign_in_page(wanted=wanted, name="", error=None)

    async def sign_in(self, request: Request) -> Response:
        """Looks at a name and a password, and gives the browser its cookie."""
        try:
            form = await self._read_form(request)
        except _Unwanted as err:
            return _refusal(err)
        wanted, name = own_path(form.get("next")), form.get("name", "")
        address = network_of(request.client.host if request.client else None)
        checked = await anyio.to_thread.run_sync(
            self._check, name, form.get("password", ""), address, limiter=self._hashing
        )
        if checked.annotator_id is not None:
            return await let_in(self._door, request, checked.annotator_id, wanted)
        if checked.wait_s:
            error = f"Too many tries. Wait {_in_words(checked.wait_s)}, then try again."
            headers = {"retry-after": str(checked.wait_s)}
            return self._sign_in_page(429, headers, wanted=wanted, name=name, error=error)
        return self._sign_in_page(401, wanted=wanted, name=name, error="The name or the password is not right.")

    async def show_sign_out(self, request: Request) -> Response:
        """Asks once: a link alone signs nobody out."""
        person = request.state.signed_in
        return page("signout.html.j2", name=person.name if person else "")

    async def sign_out(self, request: Request) -> Response:
        """Ends the sign-in of this browser."""
        try:
            await self._read_form(request)
        except _Unwanted as err:
            return _refusal(err)
        if person := request.state.signed_in:
            await run_in_threadpool(sign_ins.end, self._door.engine, person.token_hash)
        answer = go(SIGN_IN)
        answer.delete_cookie(self._door.cookie, secure=self._door.is_https, httponly=True, samesite="lax")
        return answer

    async def show_invitation(self, request: Request) -> Response:
        """What the link offers; looking at it does not use it up, for mail programs look too."""
        offer = await run_in_threadpool(invitations.look_at, self._door.engine, request.path_params["secret"])
        return self._invitation_page(request, offer)

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
                annotator_id = await anyio.to_thread.run_sync(
                    partial(invitations.take_up, self._door.engine, secret, name=name, password=password),
                    limiter=self._hashing,
                )
            except UserError as err:
                error = sentence(str(err))
            else:
                return await let_in(self._door, request, annotator_id, "/")
        offer = await run_in_threadpool(invitations.look_at, self._door.engine, secret)
        return self._invitation_page(request, offer, name=name, error=error)

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

    def _sign_in_page(
        self,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        wanted: str,
        name: str,
        error: str | None,
    ) -> Response:
        return page("signin.html.j2", status, headers, wanted=wanted, name=name, error=error, provider=self._provider)

    def _invitation_page(
        self, request: Request, offer: invitations.Offer | None, *, name: str = "", error: str | None = None
    ) -> Response:
        return page(
            "invitation.html.j2",
            410 if offer is None else 422 if error else 200,
            offer=offer,
            name=name,
            error=error,
            min_chars=MIN_CHARS,
            provider=self._provider,
            secret=request.path_params["secret"],
        )

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


def _refusal(err: _Unwanted) -> Response:
    return PlainTextResponse(f"{err}\n", status_code=err.status)


def _style_sheet(_request: Request) -> Response:
    return FileResponse(TEMPLATES / "signin.css", headers={"cache-control": "max-age=300"})


def _icon(_request: Request) -> Response:
    return FileResponse(ICON, headers={"cache-control": "max-age=300"})


def _in_words(seconds: int) -> str:
    """A wait as people say it, rounded up.

    >>> _in_words(29), _in_words(61), _in_words(1)
    ('29 seconds', '2 minutes', '1 second')
    """
    n, unit = (-(-seconds // 60), "minute") if seconds > 60 else (seconds, "second")
    return f"{n} {unit}{'' if n == 1 else 's'}"
