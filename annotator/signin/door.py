"""The rules of who may come in, for one process of the app.

With no account in the database, and on this machine alone, everybody is the one annotator that the app was started
for. From the first account on, or where others can reach the app, it asks who comes: a cookie holds a random secret
whose hash is a sign-in in the database.
"""

import threading
import time
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

import sqlalchemy as sa

from db import accounts, sign_ins
from db.sign_ins import SignedIn

from .throttle import Throttle

SIGN_IN = "/stepmark/signin"
SIGN_OUT = "/stepmark/signout"
INVITATION = "/stepmark/invitation"
OPENID = "/stepmark/openid"

ROLES = ("annotator", "reviewer", "admin")
"""Each may do what the ones before it may."""

_N_FREE_TRIES_OF_ADDRESS = 20
_SESSIONS_KEPT = 10_000


def is_allowed(role: str, needed: str) -> bool:
    """Whether a role may do what another one is needed for.

    >>> is_allowed("admin", "reviewer"), is_allowed("annotator", "reviewer")
    (True, False)
    """
    return ROLES.index(role) >= ROLES.index(needed)


class Door:
    """Who may come in, and who did.

    Args:
        engine: The database.
        public_url: Where people reach the app, if not at the address it listens on; https makes cookies Secure.
        always_asks: Ask for a sign-in even while there is no account.
    """

    def __init__(self, engine: sa.Engine, *, public_url: str | None = None, always_asks: bool = False) -> None:
        self.engine = engine
        self.public_url = public_url.rstrip("/") if public_url else None
        self.is_https = (self.public_url or "").startswith("https://")
        # A browser takes a __Host- cookie only from the very host, over https: no neighbour can set one.
        self.cookie = "__Host-stepmark" if self.is_https else "stepmark"
        self.by_address = Throttle(_N_FREE_TRIES_OF_ADDRESS)
        self.by_unknown_name = Throttle(5)
        self._always_asks = always_asks
        self._looked_at = float("-inf")
        self._sessions: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def asks(self) -> bool:
        """Whether a sign-in is needed; once true, it stays so. A first account is noticed within a second."""
        if not self._always_asks and time.monotonic() - self._looked_at > 1:
            self._always_asks = accounts.has_accounts(self.engine)
            self._looked_at = time.monotonic()
        return self._always_asks

    def who(self, secret: str | None) -> SignedIn | None:
        """Who the cookie's secret stands for now."""
        return sign_ins.find(self.engine, secret)

    def secret_in(self, cookie_header: str) -> str | None:
        """The secret in a request's cookies."""
        try:
            found = SimpleCookie(cookie_header).get(self.cookie)
        except CookieError:
            return None
        return None if found is None else found.value

    def is_own_origin(self, origin: str | None, host: str | None) -> bool:
        """Whether a browser's Origin header names this app: the host it asked, or the public address."""
        if not origin:
            return False
        found = urlsplit(origin)
        if self.public_url is not None and origin == self.public_url:
            return True
        return found.scheme in ("http", "https") and bool(host) and found.netloc == host

    def remember_session(self, session_id: str, token_hash: str) -> None:
        """Notes whose a Streamlit session is; only the same sign-in may come back to it after a lost connection."""
        with self._lock:
            self._sessions.pop(session_id, None)
            self._sessions[session_id] = token_hash
            while len(self._sessions) > _SESSIONS_KEPT:
                self._sessions.popitem(last=False)

    def owner_of_session(self, session_id: str) -> str | None:
        """The hash of the sign-in that a Streamlit session belongs to."""
        return self._sessions.get(session_id)


def own_path(address: str | None) -> str:
    r"""Where to go after signing in: a path of this app; what leads elsewhere becomes the first page.

    >>> [own_path(text) for text in ("/progress?x=1", "//evil.example", "https://evil.example", "/\\evil", None)]
    ['/progress?x=1', '/', '/', '/', '/']
    """
    if not address or not address.startswith("/") or address.startswith("//"):
        return "/"
    if "\\" in address or not address.isprintable() or address.startswith("/stepmark/"):
        return "/"
    found = urlsplit(address)
    return "/" if found.scheme or found.netloc else address
