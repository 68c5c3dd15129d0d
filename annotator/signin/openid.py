"""Signing in through an OpenID Connect provider: the authorization code flow, with PKCE, state and nonce.

Who comes back from the provider is let in only with an account that knows this identity, with an invitation or a
reset link, or with a confirmed mail address of the domain that the settings name. What the flow must remember is in a
cookie of ten minutes, so that any process of the app can finish it. Authlib and joserfc do the protocol and the
signatures.
"""

import base64
import json
import secrets
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from db import accounts, invitations
from stepmark.errors import UserError

from .answers import let_in, page, sentence
from .door import OPENID, Door, own_path
from .provider import Provider

_FLOW_S = 600
_TIMEOUT_S = 10.0
# Signed with the provider's private key; never "none", never a shared secret.
_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]


class _NotVouchedFor(Exception):
    """The provider's answer is not one to believe; the message is for the person."""


class OpenId:
    """The two addresses of the flow."""

    def __init__(self, door: Door, provider: Provider) -> None:
        self._door = door
        self._provider = provider
        self._cookie = f"{door.cookie}-openid"

    def routes(self) -> list[BaseRoute]:
        """Where the flow begins, and where the provider sends people back to."""
        return [Route(OPENID, self.begin), Route(f"{OPENID}/callback", self.finish)]

    async def begin(self, request: Request) -> Response:
        """Leads to the provider."""
        flow = {
            "state": secrets.token_urlsafe(32),
            "nonce": secrets.token_urlsafe(32),
            "verifier": secrets.token_urlsafe(48),
            "next": own_path(request.query_params.get("next")),
            "invitation": request.query_params.get("invitation", "")[:128],
        }
        try:
            where = await run_in_threadpool(self._address_to_ask, self._return_address(request), flow)
        except (httpx2.HTTPError, _NotVouchedFor, ValueError) as err:
            return page(
                "refusal.html.j2", 502, message=f"{self._provider.name} does not answer: {type(err).__name__}."
            )
        answer = RedirectResponse(where, status_code=303, headers={"cache-control": "no-store"})
        packed = base64.urlsafe_b64encode(json.dumps(flow).encode()).decode()
        answer.set_cookie(
            self._cookie, packed, max_age=_FLOW_S, httponly=True, secure=self._door.is_https, samesite="lax"
        )
        return answer

    async def finish(self, request: Request) -> Response:
        """Takes the provider's answer."""
        try:
            flow = _unpack(request.cookies.get(self._cookie))
            if not secrets.compare_digest(flow["state"].encode(), request.query_params.get("state", "").encode()):
                raise _NotVouchedFor("The answer does not belong to this browser's question. Start again.")
            if "error" in request.query_params:
                raise _NotVouchedFor(f"{self._provider.name} did not sign you in. Start again.")
            code = request.query_params.get("code", "")
            claims = await run_in_threadpool(self._claims, code, self._return_address(request), flow)
            annotator_id = await run_in_threadpool(self._annotator, claims, flow["invitation"])
        except _NotVouchedFor as err:
            answer = page("refusal.html.j2", 403, message=str(err))
        else:
            answer = await let_in(self._door, request, annotator_id, flow["next"])
        answer.delete_cookie(self._cookie, secure=self._door.is_https, httponly=True, samesite="lax")
        return answer

    def _return_address(self, request: Request) -> str:
        base = self._door.public_url or f"http://{request.headers['host']}"  # the host was looked at before
        return f"{base}{OPENID}/callback"

    def _address_to_ask(self, return_address: str, flow: dict[str, str]) -> str:
        client = self._client(return_address)
        where, _state = client.create_authorization_url(
            self._metadata()["authorization_endpoint"],
            state=flow["state"],
            code_verifier=flow["verifier"],
            nonce=flow["nonce"],
        )
        return str(where)

    def _client(self, return_address: str) -> Any:
        return OAuth2Client(
            self._provider.client_id,
            self._provider.client_secret,
            scope="openid email profile",
            redirect_uri=return_address,
            code_challenge_method="S256",
            timeout=_TIMEOUT_S,
        )

    def _metadata(self) -> dict[str, Any]:
        found = _get_json(f"{self._provider.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self._provider.issuer:
            raise _NotVouchedFor("The provider names itself otherwise than the settings do.")
        return found

    def _claims(self, code: str, return_address: str, flow: dict[str, str]) -> dict[str, Any]:
        """What the provider says of the person, its signature and all its conditions checked."""
        try:
            metadata = self._metadata()
            with self._client(return_address) as client:
                token = client.fetch_token(metadata["token_endpoint"], code=code, code_verifier=flow["verifier"])
            keys = KeySet.import_key_set(_get_json(metadata["jwks_uri"]))  # type: ignore[arg-type]
            claims = jwt.decode(token["id_token"], keys, algorithms=_ALGORITHMS).claims
            jwt.JWTClaimsRegistry(
                leeway=60,
                iss={"essential": True, "value": self._provider.issuer},
                aud={"essential": True, "value": self._provider.client_id},
                exp={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": flow["nonce"]},
            ).validate(claims)
        except (httpx2.HTTPError, AuthlibBaseError, JoseError, KeyError, ValueError) as err:
            raise _NotVouchedFor(
                f"{self._provider.name} did not vouch for you ({type(err).__name__}). Start again."
            ) from err
        audience, ours = claims["aud"], self._provider.client_id
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != ours:
            raise _NotVouchedFor(f"{self._provider.name} vouched for you to others. Start again.")
        return claims

    def _annotator(self, claims: dict[str, Any], invitation: str) -> int:
        """Whose account this is, which may be made now."""
        engine = self._door.engine
        identity = f"{self._provider.issuer}|{claims['sub']}"
        owner = accounts.find_by_identity(engine, identity)
        if owner is not None:
            if not owner.is_active:
                raise _NotVouchedFor("Your account is closed. Ask the person who runs this project.")
            return owner.annotator_id
        name = accounts.free_name(engine, _name_in(claims))
        try:
            if invitation:
                return invitations.take_up(engine, invitation, name=name, identity=identity)
            if self._is_of_domain(claims):
                return accounts.create_account(engine, name, identity=identity)
        except UserError as err:
            raise _NotVouchedFor(sentence(str(err))) from err
        raise _NotVouchedFor("There is no account for you. Ask the person who runs this project for an invitation.")

    def _is_of_domain(self, claims: dict[str, Any]) -> bool:
        domain, mail = self._provider.domain, claims.get("email")
        if not domain or not isinstance(mail, str) or claims.get("email_verified") is not True:
            return False
        return mail.lower().rpartition("@")[2] == domain.lower()


def _name_in(claims: dict[str, Any]) -> str:
    r"""The name that labels will stand under: what the person chose at the provider, else the mail's first part.

    >>> _name_in({"preferred_username": " a\x07b "}), _name_in({"email": "c@example.org"}), _name_in({})
    ('ab', 'c', 'annotator')
    """
    mail = str(claims.get("email") or "").partition("@")[0]
    for found in (claims.get("preferred_username"), claims.get("name"), mail):
        if isinstance(found, str) and (name := "".join(filter(str.isprintable, found)).strip()[:100]):
            return name
    return "annotator"


def _get_json(address: str) -> dict[str, Any]:
    answer = httpx2.get(address, timeout=_TIMEOUT_S)
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, dict):
        raise ValueError(f"{address} did not answer with an object")
    return found


def _unpack(cookie: str | None) -> dict[str, str]:
    try:
        flow = json.loads(base64.urlsafe_b64decode((cookie or "").encode()))
        return {name: str(flow[name]) for name in ("state", "nonce", "verifier", "invitation")} | {
            "next": own_path(str(flow["next"]))
        }
    except (ValueError, KeyError, TypeError) as err:
        raise _NotVouchedFor("This took longer than ten minutes, or began in another browser. Start again.") from err
