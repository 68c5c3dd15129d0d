"""Signing in through an OpenID provider: a small one of the tests' own on loopback, with real keys and redirects."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2 as httpx
import pytest
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.testclient import TestClient

from annotator.app import middleware, routes
from annotator.signin.door import Door
from annotator.signin.provider import Provider
from annotator.workplace import open_door
from db import accounts, invitations, sign_ins
from db.connect import open_database
from stepmark.errors import SettingsError

APP = "https://label.example.org"
Claims = dict[str, Any]


class Issuer:
    """An OpenID provider: whoever asks is `person`, and `bend` may falsify what it says."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "1", "alg": "RS256"})
        self.other_key = RSAKey.generate_key(2048, {"kid": "1", "alg": "RS256"})
        self.reset()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
                if path == "/.well-known/openid-configuration":
                    self.answer(issuer.metadata)
                elif path == "/jwks":
                    self.answer({"keys": [issuer.key.as_dict(private=False)]})
                else:
                    self.send_response(303)
                    self.send_header(
                        "Location", issuer.authorize({name: values[0] for name, values in query.items()})
                    )
                    self.end_headers()

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                status, body = issuer.token(
                    {name: values[0] for name, values in form.items()}, self.headers.get("authorization", "")
                )
                self.answer(body, status)

            def answer(self, body: object, status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.metadata = {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/jwks",
        }

    def reset(self) -> None:
        self.asked: dict[str, dict[str, str]] = {}
        self.person: Claims = {"sub": "7", "preferred_username": "annotator-7"}
        self.bend: Callable[[Claims], Claims] = lambda claims: claims
        self.signing_key = self.key

    def authorize(self, query: dict[str, str]) -> str:
        assert (query["response_type"], query["client_id"], query["code_challenge_method"]) == ("code", "app", "S256")
        assert set(query["scope"].split()) == {"openid", "email", "profile"}
        code = f"code-{len(self.asked)}"
        self.asked[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, object]:
        asked = self.asked.pop(form["code"], None)
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().strip("=")
        )
        secret = base64.b64encode(b"app:secret").decode()
        if asked is None or (challenge, form["redirect_uri"], authorization) != (
            asked["code_challenge"],
            asked["redirect_uri"],
            f"Basic {secret}",
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": "app",
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.person,
        }
        signed = jwt.encode({"alg": "RS256", "kid": "1"}, self.bend(claims), self.signing_key)
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": signed}


@pytest.fixture(scope="module")
def provider() -> Iterator[Issuer]:
    found = Issuer()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def issuer(provider: Issuer) -> Issuer:
    provider.reset()
    return provider


@pytest.fixture
def engine(sqlite_template: Path, tmp_path: Path) -> Iterator[sa.Engine]:
    path = tmp_path / "stepmark.db"
    path.write_bytes(sqlite_template.read_bytes())
    engine = open_database(f"sqlite:///{path}")
    accounts.create_account(engine, "lead", role="admin")
    yield engine
    engine.dispose()


def browser(engine: sa.Engine, issuer: Issuer, *, domain: str | None = None) -> TestClient:
    door = Door(engine, public_url=APP, always_asks=True)
    open_door(door, single=None)
    found = Provider(issuer.address, "app", "secret", name="Example", domain=domain)
    app = Starlette(routes=routes(door, found), middleware=middleware(door, None, ["label.example.org"]))
    return TestClient(app, base_url=APP, follow_redirects=False)


def go_round(client: TestClient, query: str = "") -> Any:
    """From the button to the provider and back."""
    asked = client.get(f"/stepmark/openid{query}")
    assert asked.status_code == 303
    back = httpx.get(asked.headers["location"]).headers["location"]
    assert back.startswith(f"{APP}/stepmark/openid/callback?")
    return client.get(back)


def who(client: TestClient, engine: sa.Engine) -> str | None:
    found = sign_ins.find(engine, client.cookies.get("__Host-stepmark"))
    return None if found is None else found.name


def test_an_invited_person_makes_an_account_and_comes_back_to_it(engine: sa.Engine, issuer: Issuer) -> None:
    client = browser(engine, issuer)
    stranger = go_round(client)
    assert (stranger.status_code, "There is no account for you" in stranger.text) == (403, True)
    secret = invitations.invite(engine, role="reviewer")
    assert f"/stepmark/openid?invitation={secret}" in client.get(f"/stepmark/invitation/{secret}").text
    assert go_round(client, f"?invitation={secret}").headers["location"] == "/"
    assert who(client, engine) == "annotator-7"
    person = accounts.find_person(engine, "annotator-7")
    assert (person.role, person.has_password, person.identity) == ("reviewer", False, f"{issuer.address}|7")
    other = browser(engine, issuer)
    assert "Continue with Example" in other.get("/stepmark/signin?next=/progress").text
    assert go_round(other, "?next=/progress").headers["location"] == "/progress"
    assert who(other, engine) == "annotator-7"
    issuer.person["sub"] = "8"
    used = go_round(browser(engine, issuer), f"?invitation={secret}")
    assert (used.status_code, "used already" in used.text) == (403, True)
    issuer.person["sub"] = "7"
    accounts.close_account(engine, person.annotator_id)
    closed = go_round(browser(engine, issuer))
    assert (closed.status_code, "Your account is closed" in closed.text) == (403, True)


def test_a_reset_link_ties_an_identity_to_an_account_that_is_there(engine: sa.Engine, issuer: Issuer) -> None:
    annotator_id = accounts.create_account(engine, "annotator-1")
    client = browser(engine, issuer)
    assert go_round(client, f"?invitation={invitations.invite_reset(engine, annotator_id)}").status_code == 303
    assert who(client, engine) == "annotator-1"


def test_a_confirmed_address_of_the_domain_is_enough_and_names_stay_apart(engine: sa.Engine, issuer: Issuer) -> None:
    accounts.create_account(engine, "annotator-7")
    for mail, is_confirmed in (
        ("a@example.org", False),
        ("a@example.org", "true"),
        ("a@example.org.evil.example", True),
        ("a@notexample.org", True),
        (None, True),
    ):
        issuer.person |= {"email": mail, "email_verified": is_confirmed}
        assert go_round(browser(engine, issuer, domain="example.org")).status_code == 403
    issuer.person |= {"email": "a@Example.org", "email_verified": True}
    client = browser(engine, issuer, domain="example.org")
    assert go_round(client).status_code == 303
    assert who(client, engine) == "annotator-7-2"
    assert accounts.find_person(engine, "annotator-7-2").role == "annotator"


def test_answers_that_nobody_should_believe_let_nobody_in(engine: sa.Engine, issuer: Issuer) -> None:
    accounts.create_account(engine, "annotator-7", identity=f"{issuer.address}|7")
    bends: list[Claims] = [
        {"nonce": "another"},
        {"aud": "another"},
        {"aud": ["app", "another"]},
        {"iss": "https://another.example"},
        {"exp": int(time.time()) - 120},
        {"sub": None},
    ]
    for bend in bends:
        issuer.bend = lambda claims, bend=bend: {**claims, **bend}  # type: ignore[misc]
        assert go_round(browser(engine, issuer)).status_code == 403, bend
    issuer.reset()
    issuer.signing_key = issuer.other_key
    assert go_round(browser(engine, issuer)).status_code == 403
    issuer.reset()
    client = browser(engine, issuer)
    back = httpx.get(client.get("/stepmark/openid").headers["location"]).headers["location"]
    for changed in (
        back.replace("state=", "state=x"),
        back.replace("code=", "code=x"),
        f"{back}&error=access_denied",
    ):
        began = browser(engine, issuer)
        began.cookies.update(client.cookies)
        assert began.get(changed).status_code == 403, changed
    elsewhere = browser(engine, issuer).get(back)  # a browser that did not begin it
    assert (elsewhere.status_code, "began in another browser" in elsewhere.text) == (403, True)
    assert client.get(back).status_code == 303
    assert client.get(back).status_code == 403  # once


def test_a_provider_that_is_away_or_not_itself_is_said_so(engine: sa.Engine, issuer: Issuer) -> None:
    issuer.metadata["issuer"] = "https://another.example"
    assert browser(engine, issuer).get("/stepmark/openid").status_code == 502
    issuer.metadata["issuer"] = issuer.address
    with pytest.raises(SettingsError, match=r"STEPMARK_OIDC_ISSUER is 'http://provider\.example'"):
        Provider("http://provider.example", "app", "secret")
