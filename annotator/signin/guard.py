"""The guard before every request: ASGI middleware around Streamlit and our own routes.

Nothing is reachable without a sign-in but the pages in `pages`, their style sheet and icon, and health. A WebSocket
is refused before it is accepted, and one that stands is closed within seconds after its sign-in ended: each of its
messages is held against the database, and all open ones every two seconds. The scripts of the pages ask once more
(`workplace.current`).
"""

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import anyio.to_thread
import sqlalchemy as sa
import streamlit
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnected
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from db import sign_ins
from db.sign_ins import SignedIn

from .door import INVITATION, OPENID, SIGN_IN, Door, is_allowed

CHECK_EVERY_S = 2.0

# Whole paths: one that merely begins so could lead elsewhere (`..`).
_OPEN = re.compile(
    rf"/stepmark/(?:health|signin|signin\.css|icon\.svg)|{re.escape(INVITATION)}/[A-Za-z0-9_-]{{1,128}}"
    rf"|{re.escape(OPENID)}(?:/callback)?|/_stcore/health"
)


def _inline_scripts() -> str:
    """The hashes of the scripts that stand in Streamlit's page itself, as a policy names them."""
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    found = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in found)


CSP_OF_STREAMLIT = (
    "default-src 'self'; "
    # Blob: the loader of our component. WebAssembly: Streamlit's drawings of graphs.
    f"script-src 'self' blob: 'wasm-unsafe-eval' {_inline_scripts()}; "
    # Streamlit writes its styles into the page as it draws.
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    # Not no-referrer: browsers would send "Origin: null" with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-frame-options": "DENY",
}

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Connection:
    """An open WebSocket."""

    token_hash: str | None
    """Of its sign-in; None where none was needed."""
    is_over: asyncio.Event = field(default_factory=asyncio.Event)


class Guard:
    """Lets in who may come in.

    Args:
        app: What is guarded.
        door: The rules.
        roles: The role that a page's address needs, where it is more than annotator.
        single: Stands for whoever comes while no sign-in is needed.
    """

    def __init__(self, app: ASGIApp, door: Door, roles: Mapping[str, str], single: SignedIn | None) -> None:
        self._app = app
        self._door = door
        self._roles = roles
        self._single = single
        self._connections: set[_Connection] = set()
        self._watcher: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, one WebSocket, or the start and the end of the app."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            person = await anyio.to_thread.run_sync(self._find, Headers(scope=scope).get("cookie", ""))
        except sa.exc.SQLAlchemyError as err:
            _log.warning("who asks cannot be looked up: %s", type(err).__name__)
            person = None  # health can still be asked for
        # Never from what a client sends: whatever stands here was put here.
        scope.setdefault("state", {})["signed_in"] = person
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, person)
        else:
            await self._http(scope, receive, _with_headers(send), person)

    def _find(self, cookies: str) -> SignedIn | None:
        if not self._door.asks():
            return self._single
        return self._door.who(self._door.secret_in(cookies))

    async def _http(self, scope: Scope, receive: Receive, send: Send, person: SignedIn | None) -> None:
        path = scope["path"]
        if person is None and not _OPEN.fullmatch(path):
            await _sign_in_first(scope)(scope, receive, send)
            return
        needed = self._roles.get(path.strip("/"))
        if needed is not None and person is not None and not is_allowed(person.role, needed):
            answer = f"This page is for the role {needed}; {person.name} is {person.role}.\n"
            await PlainTextResponse(answer, status_code=403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, person: SignedIn | None) -> None:
        headers = Headers(scope=scope)
        is_own = self._door.is_own_origin(headers.get("origin"), headers.get("host"))
        if person is None or not is_own:
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
            return
        connection = _Connection(None if person is self._single else person.token_hash)
        if connection.token_hash is not None:
            self._keep_session_apart(scope, connection.token_hash)
        self._connections.add(connection)
        self._watch()
        try:
            await self._converse(scope, receive, send, connection)
        finally:
            self._connections.discard(connection)

    def _keep_session_apart(self, scope: Scope, token_hash: str) -> None:
        """Drops the wish to come back to a session that began under another sign-in.

        Streamlit's browser names the session it had as the third "subprotocol".
        """
        headers = MutableHeaders(scope=scope)
        named = [part.strip() for part in headers.get("sec-websocket-protocol", "").split(",")]
        if len(named) >= 3 and self._door.owner_of_session(named[2]) != token_hash:
            headers["sec-websocket-protocol"] = ", ".join(named[:2])

    async def _converse(self, scope: Scope, receive: Receive, send: Send, connection: _Connection) -> None:
        over = asyncio.ensure_future(connection.is_over.wait())
        is_closed = False

        async def guarded_receive() -> Message:
            coming = asyncio.ensure_future(receive())
            await asyncio.wait({coming, over}, return_when=asyncio.FIRST_COMPLETED)
            if not connection.is_over.is_set():
                message = coming.result()
                if message["type"] != "websocket.receive" or await self._still_may(connection):
                    return message
                connection.is_over.set()
            coming.cancel()
            await close()
            return {"type": "websocket.disconnect", "code": 1008}

        async def guarded_send(message: Message) -> None:
            if not connection.is_over.is_set():
                await send(message)

        async def close() -> None:
            nonlocal is_closed
            if not is_closed:
                is_closed = True
                # Streamlit's own way of leading a browser to another page.
                leave = ForwardMsg()
                leave.auth_redirect.url = SIGN_IN
                await send({"type": "websocket.send", "bytes": leave.SerializeToString()})
                await send({"type": "websocket.close", "code": 1008})

        try:
            await self._app(scope, guarded_receive, guarded_send)
        except WebSocketDisconnected:
            # The browser went away in the middle of an answer; Streamlit (1.67) takes that for a text frame, and
            # closes the connection a second time.
            _log.debug("a connection was gone before its last answer")
        finally:
            over.cancel()

    async def _still_may(self, connection: _Connection) -> bool:
        def look() -> bool:
            if connection.token_hash is None:
                return not self._door.asks()
            return sign_ins.find_by_hash(self._door.engine, connection.token_hash) is not None

        return await anyio.to_thread.run_sync(look)

    def _watch(self) -> None:
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._close_what_ended(), name="stepmark-sign-ins")

    async def _close_what_ended(self) -> None:
        while self._connections:
            await asyncio.sleep(CHECK_EVERY_S)
            here = list(self._connections)
            hashes = {connection.token_hash for connection in here if connection.token_hash is not None}
            try:
                asks = await anyio.to_thread.run_sync(self._door.asks)
                alive = await anyio.to_thread.run_sync(sign_ins.alive, self._door.engine, hashes)
            except sa.exc.SQLAlchemyError as err:
                # No page can do anything either while the database is away.
                _log.warning("sign-ins cannot be looked up: %s", type(err).__name__)
                continue
            for connection in here:
                if asks if connection.token_hash is None else connection.token_hash not in alive:
                    connection.is_over.set()


def _sign_in_first(scope: Scope) -> Response:
    """For a page that a person opens, the way to the sign-in page; for all else a bare refusal."""
    headers = Headers(scope=scope)
    is_page = scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", "")
    if not is_page:
        return PlainTextResponse("Sign in first.\n", status_code=401, headers={"cache-control": "no-store"})
    query = scope["query_string"].decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    where = SIGN_IN if wanted == "/" else f"{SIGN_IN}?next={quote(wanted, safe='/')}"
    return RedirectResponse(where, status_code=303, headers={"cache-control": "no-store"})


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in {**_HEADERS, "content-security-policy": CSP_OF_STREAMLIT}.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
