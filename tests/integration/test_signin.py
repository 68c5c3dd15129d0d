"""Signing in to the real app: two processes of it over one PostgreSQL, asked over HTTP and by WebSockets."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from annotator.app import middleware, routes
from annotator.pages import PAGES
from annotator.signin.door import Door
from annotator.signin.guard import Guard
from annotator.signin.throttle import Throttle
from annotator.workplace import Workplace, open_door, open_workplace
from db import accounts, invitations, sign_ins
from db.annotators import find_or_create_annotator
from db.connect import open_database, writing
from db.models import Account, SignIn
from db.schema import utc_now
from db.sign_ins import SignedIn
from stepmark.cli.main import app as command_line

ROOT = Path(__file__).parents[2]
PASSWORD = "three brown horses"
OTHER = "a boat on the lake"


@dataclass(frozen=True)
class Team:
    """Two processes of the app over one database."""

    engine: sa.Engine
    addresses: tuple[str, str]

    def person(self, role: str = "annotator", *, password: str | None = None) -> tuple[str, int]:
        """A new account: its name and its annotator."""
        name = f"annotator-{uuid.uuid4().hex[:8]}"
        return name, accounts.create_account(self.engine, name, role=role, password=password)

    def cookie(self, annotator_id: int) -> dict[str, str]:
        return {"Cookie": f"stepmark={sign_ins.begin(self.engine, annotator_id)}"}

    def post(
        self, path: str, *, process: int = 0, headers: dict[str, str] | None = None, **form: str
    ) -> httpx.Response:
        address = self.addresses[process]
        # The server believes a proxy on its own machine, so every test can come from an address of its own.
        return httpx.post(address + path, data=form, headers={"Origin": address, **(headers or {})}, timeout=30)


@pytest.fixture(scope="module")
def team(
    postgresql_server: sa.URL, postgresql_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    name = f"test_{uuid.uuid4().hex}"
    admin = sa.create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {postgresql_template}"))
    url = postgresql_server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    engine = open_database(url)
    accounts.create_account(engine, "lead", role="admin")
    log = tmp_path_factory.mktemp("team") / "server.log"
    servers: list[subprocess.Popen[bytes]] = []
    found: list[str] = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "stepmark", "annotate", "--no-browser", "--db", url, "--port", str(port)]
        with log.open("ab") as out:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            servers.append(subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env=environment))
        found.append(f"http://127.0.0.1:{port}")
    end = time.monotonic() + 60
    for server, address in zip(servers, found, strict=True):
        while True:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            try:
                assert httpx.get(f"{address}/stepmark/health").json() == {"status": "ok"}
                break
            except httpx.TransportError:
                time.sleep(0.1)
    yield Team(engine, (found[0], found[1]))
    for server in servers:
        server.kill()
        server.wait(timeout=30)
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@contextmanager
def talking(
    address: str, headers: dict[str, str], *, origin: str | None = "own", session_id: str | None = None
) -> Iterator[ClientConnection]:
    """A WebSocket as Streamlit's page opens it."""
    named = ["streamlit", "none", *([session_id] if session_id else [])]
    with connect(
        address.replace("http", "ws", 1) + "/_stcore/stream",
        additional_headers={**headers, **({"Origin": address if origin == "own" else origin} if origin else {})},
        subprotocols=named,  # type: ignore[arg-type]
        open_timeout=30,
        max_size=None,
    ) as websocket:
        yield websocket


def run(websocket: ClientConnection, page: str = "") -> list[ForwardMsg]:
    """Asks for a page, and returns what comes until its script is done."""
    asked = BackMsg()
    asked.rerun_script.page_name = page
    websocket.send(asked.SerializeToString())
    return messages(websocket, "script_finished")


def messages(websocket: ClientConnection, last: str) -> list[ForwardMsg]:
    found: list[ForwardMsg] = []
    while not found or found[-1].WhichOneof("type") != last:
        message = ForwardMsg()
        message.ParseFromString(websocket.recv(timeout=20))  # type: ignore[arg-type]
        found.append(message)
    return found


def pages_in(found: list[ForwardMsg]) -> list[str]:
    [titles] = [
        [page.page_name for page in message.navigation.app_pages]
        for message in found
        if message.WhichOneof("type") == "navigation"
    ]
    return titles


def session_of(found: list[ForwardMsg]) -> str:
    [session_id] = {
        message.new_session.initialize.session_id for message in found if message.WhichOneof("type") == "new_session"
    }
    return session_id


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/progress",
        "/people",
        "/_stcore/host-config",
        "/_stcore/metrics",
        "/_stcore/upload_file/1/2",
        "/_stcore/bidi-components/x",
        "/_stcore/agent/openapi.json",
        "/static/js/index.js",
        "/media/x.png",
        "/component/x",
        "/favicon.png",
        "/stepmark/signout",
        "/stepmark/surface/x/surface.js",
        "/stepmark/katex/katex.mjs",
        "/stepmark/invitation/x/../../../index.html",
        "/stepmark/invitation/..%2f..%2findex.html",
        "/stepmark/signin/../../index.html",
        "//stepmark/signin",
        "/stepmark/health/",
    ],
)
def test_nothing_but_the_way_in_is_reachable_without_a_sign_in(team: Team, path: str) -> None:
    port = int(team.addresses[0].rsplit(":", 1)[1])
    for cookie in ("", "Cookie: stepmark=forged\r\n"):
        for method in ("GET", "PUT"):
            # By hand: clients tidy dots and slashes away.
            with socket.create_connection(("127.0.0.1", port)) as raw:
                head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{cookie}Connection: close\r\n\r\n"
                raw.sendall(head.encode())
                answer = b""
                while chunk := raw.recv(65_536):
                    answer += chunk
            assert answer.startswith(b"HTTP/1.1 401 "), answer[:200]


def test_a_person_is_led_to_the_sign_in_page_and_back(team: Team) -> None:
    name, _ = team.person(password=PASSWORD)
    [address, _] = team.addresses
    led = httpx.get(f"{address}/progress?x=1", headers={"Accept": "text/html"})
    assert (led.status_code, led.headers["location"]) == (303, "/stepmark/signin?next=/progress%3Fx%3D1")
    page = httpx.get(address + led.headers["location"])
    assert page.status_code == 200
    assert 'name="next" value="/progress?x=1"' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    let_in = team.post("/stepmark/signin", name=name, password=PASSWORD, next="/progress?x=1")
    assert (let_in.status_code, let_in.headers["location"]) == (303, "/progress?x=1")
    cookie = let_in.headers["set-cookie"]
    assert {part.strip() for part in cookie.split(";")[1:]} == {
        "HttpOnly",
        "Max-Age=604800",
        "Path=/",
        "SameSite=lax",
    }
    secret = cookie.split(";")[0].removeprefix("stepmark=")
    assert len(secret) == 43
    inside = httpx.get(address, headers={"Cookie": f"stepmark={secret}"})
    assert inside.status_code == 200
    assert {
        name: inside.headers[name] for name in ("x-content-type-options", "referrer-policy", "x-frame-options")
    } == {
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "x-frame-options": "DENY",
    }
    assert "frame-ancestors 'none'" in inside.headers["content-security-policy"]


def test_forms_of_other_sites_and_ways_to_other_sites_are_refused(team: Team) -> None:
    name, annotator_id = team.person(password=PASSWORD)
    cookie = team.cookie(annotator_id)
    for path in ("/stepmark/signin", "/stepmark/invitation/x"):
        for origin in ("https://evil.example", "null", ""):
            refused = team.post(path, headers={"Origin": origin}, name=name, password=PASSWORD)
            assert (refused.status_code, refused.headers.get("set-cookie")) == (403, None)
    assert team.post("/stepmark/signout", headers={"Origin": "https://evil.example", **cookie}).status_code == 403
    assert httpx.get(team.addresses[0], headers=cookie).status_code == 200
    for away in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/%0d%0aX: 1"):
        let_in = team.post("/stepmark/signin", name=name, password=PASSWORD, next=away)
        assert let_in.headers["location"] in ("/", "/%0d%0aX:%201")
        assert "x" not in let_in.headers
    assert team.post("/stepmark/signin", name="a" * 20_000).status_code == 413
    rebound = httpx.get(f"{team.addresses[0]}/stepmark/signin", headers={"Host": "evil.example"})
    assert rebound.status_code == 400


def test_a_websocket_is_refused_before_it_is_accepted(team: Team) -> None:
    _, annotator_id = team.person()
    good, [address, other] = team.cookie(annotator_id), team.addresses
    expired = team.cookie(annotator_id)
    with writing(team.engine) as session:
        token_hash = sign_ins.hash_token(expired["Cookie"].removeprefix("stepmark="))
        session.execute(sa.update(SignIn).where(SignIn.token_hash == token_hash).values(expires_at=utc_now(-1)))
    refused: list[tuple[dict[str, str], str | None]] = [
        ({}, "own"),
        ({"Cookie": "stepmark=forged"}, "own"),
        ({"Cookie": "stepmark"}, "own"),
        (expired, "own"),
        (good, None),
        (good, "https://evil.example"),
        (good, other),
        (good, "null"),
    ]
    for headers, origin in refused:
        with pytest.raises(InvalidStatus) as caught, talking(address, headers, origin=origin):
            pass
        assert caught.value.response.status_code == 403, (headers, origin)
    with talking(address, good) as websocket:
        assert pages_in(run(websocket)) == ["Label", "Progress", "Guidelines", "Account"]


def test_a_sign_in_that_is_taken_away_ends_the_open_websocket_and_the_next_request(team: Team) -> None:
    name, annotator_id = team.person()
    cookie = team.cookie(annotator_id)
    with talking(team.addresses[0], cookie) as websocket:
        run(websocket)
        began = time.monotonic()
        accounts.close_account(team.engine, annotator_id)
        assert httpx.get(team.addresses[0], headers=cookie).status_code == 401
        last = messages(websocket, "auth_redirect")[-1]
        assert last.auth_redirect.url == "/stepmark/signin"
        with pytest.raises(ConnectionClosed) as caught:
            websocket.recv(timeout=20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008
        assert time.monotonic() - began < 10
    # A message in between is not done either, whenever the next look at all sign-ins would be.
    name, annotator_id = team.person()
    with talking(team.addresses[0], team.cookie(annotator_id)) as websocket:
        run(websocket)
        sign_ins.sign_out_everywhere(team.engine, annotator_id)
        asked = BackMsg()
        asked.rerun_script.page_name = "account"
        websocket.send(asked.SerializeToString())
        kinds = {message.WhichOneof("type") for message in messages(websocket, "auth_redirect")}
        assert "new_session" not in kinds, name


def test_a_role_is_held_to_by_the_guard_and_the_navigation_and_changes_at_once(team: Team) -> None:
    _, annotator_id = team.person()
    cookie, address = team.cookie(annotator_id), team.addresses[0]
    for path in ("/people", "/people/"):
        refused = httpx.get(address + path, headers=cookie)
        assert (refused.status_code, "for the role admin" in refused.text) == (403, True)
    with talking(address, cookie) as websocket:
        found = run(websocket, "people")
        assert "People" not in pages_in(found)
        assert "page_not_found" in {message.WhichOneof("type") for message in found}
        accounts.change_role(team.engine, annotator_id, "admin")
        found = run(websocket, "people")
        assert pages_in(found) == [page.title for page in PAGES]
        assert "page_not_found" not in {message.WhichOneof("type") for message in found}
    assert httpx.get(f"{address}/people", headers=cookie).status_code == 200


def test_a_session_is_come_back_to_only_by_the_sign_in_that_began_it(team: Team) -> None:
    (_, first), (_, second), address = team.person(), team.person(), team.addresses[0]
    cookie = team.cookie(first)
    with talking(address, cookie) as websocket:
        session_id = session_of(run(websocket))
    for headers, is_same in ((team.cookie(second), False), (team.cookie(first), False), (cookie, True)):
        with talking(address, headers, session_id=session_id) as websocket:
            assert (session_of(run(websocket)) == session_id) is is_same


def test_wrong_passwords_make_names_and_addresses_wait_and_unknown_names_look_the_same(team: Team) -> None:
    name, annotator_id = team.person(password=PASSWORD)

    def attempt(name: str, password: str, *, address: str) -> httpx.Response:
        headers = {"X-Forwarded-For": address}
        return team.post("/stepmark/signin", headers=headers, name=name, password=password)

    with writing(team.engine) as session:
        session.execute(sa.update(Account).where(Account.annotator_id == annotator_id).values(n_failures=4))
    wrong = attempt(name, OTHER, address="192.0.2.1")
    assert (wrong.status_code, "not right" in wrong.text) == (401, True)
    waiting = attempt(name, PASSWORD, address="192.0.2.2")
    assert (waiting.status_code, 25 <= int(waiting.headers["retry-after"]) <= 31) == (429, True)
    unknown = [attempt("nobody", OTHER, address="192.0.2.3") for _ in range(6)]
    assert [answer.status_code for answer in unknown] == [401] * 5 + [429]
    assert unknown[0].text == wrong.text.replace(name, "nobody")
    # Tries at a waiting account cost no hash, and count for the address.
    statuses = [attempt(name, OTHER, address="192.0.2.4").status_code for _ in range(20)]
    assert statuses == [429] * 20
    other, _ = team.person(password=PASSWORD)
    assert attempt(other, PASSWORD, address="192.0.2.4").status_code == 429
    assert attempt(other, PASSWORD, address="192.0.2.5").status_code == 303


def test_an_invitation_is_good_once_whichever_process_is_asked(team: Team) -> None:
    link = f"/stepmark/invitation/{invitations.invite(team.engine, role='reviewer')}"
    name = f"annotator-{uuid.uuid4().hex[:8]}"
    for address in team.addresses:
        assert "Your role: <strong>reviewer</strong>" in httpx.get(address + link).text
    differ = team.post(link, name=name, password=PASSWORD, again=OTHER)
    assert (differ.status_code, "The two passwords differ" in differ.text) == (422, True)
    short = team.post(link, name=name, password="short", again="short")
    assert (short.status_code, "at least 12 are needed" in short.text) == (422, True)
    made = team.post(link, name=name, password=PASSWORD, again=PASSWORD)
    assert made.status_code == 303
    cookie = {"Cookie": made.headers["set-cookie"].split(";")[0]}
    assert httpx.get(team.addresses[1], headers=cookie).status_code == 200
    again = team.post(link, process=1, name="annotator-9", password=PASSWORD, again=PASSWORD)
    assert (again.status_code, "no longer good" in again.text) == (410, True)
    assert httpx.get(team.addresses[1] + link).status_code == 410
    assert accounts.find_person(team.engine, name).role == "reviewer"


def test_a_reset_signs_the_person_out_elsewhere(team: Team) -> None:
    name, annotator_id = team.person(password=PASSWORD)
    before = team.cookie(annotator_id)
    link = f"/stepmark/invitation/{invitations.invite_reset(team.engine, annotator_id)}"
    assert f'value="{name}"' in httpx.get(team.addresses[1] + link).text
    assert team.post(link, process=1, password=OTHER, again=OTHER).status_code == 303
    assert httpx.get(team.addresses[0], headers=before).status_code == 401
    assert team.post("/stepmark/signin", name=name, password=OTHER).status_code == 303
    assert team.post(link, password=PASSWORD, again=PASSWORD).status_code == 410


def test_signing_out_at_one_process_ends_the_websocket_at_the_other(team: Team) -> None:
    name, annotator_id = team.person()
    cookie = team.cookie(annotator_id)
    with talking(team.addresses[0], cookie) as websocket:
        assert session_of(run(websocket))
        assert (
            f"signed in as <strong>{name}</strong>"
            in httpx.get(f"{team.addresses[1]}/stepmark/signout", headers=cookie).text
        )
        out = team.post("/stepmark/signout", process=1, headers=cookie, sure="yes")
        assert (out.status_code, out.headers["location"]) == (303, "/stepmark/signin")
        assert "Max-Age=0" in out.headers["set-cookie"]
        assert messages(websocket, "auth_redirect")[-1].auth_redirect.url == "/stepmark/signin"


@pytest.fixture
def engine(sqlite_template: Path, tmp_path: Path) -> Iterator[sa.Engine]:
    path = tmp_path / "stepmark.db"
    path.write_bytes(sqlite_template.read_bytes())
    engine = open_database(f"sqlite:///{path}")
    yield engine
    engine.dispose()


def client(door: Door, single: Workplace | None, **options: Any) -> TestClient:
    hosts = ["testserver", "label.example.org"]
    app = Starlette(routes=routes(door), middleware=middleware(door, single, hosts))
    return TestClient(app, follow_redirects=False, **options)


def test_an_app_for_one_person_asks_from_the_first_account_on(engine: sa.Engine) -> None:
    door = Door(engine)
    single = Workplace(engine, find_or_create_annotator(engine, "annotator-1"), "annotator-1", None)
    open_door(door, single=single)
    with client(door, single) as browser:
        assert browser.get("/anything").status_code == 404
        accounts.create_account(engine, "annotator-1", role="admin", password=PASSWORD)
        end = time.monotonic() + 5
        while (status := browser.get("/anything").status_code) == 404:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert status == 401


def test_a_browser_that_goes_away_in_the_middle_of_an_answer_is_no_error(engine: sa.Engine) -> None:
    async def closes_twice(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        await websocket.close()
        await websocket.close()

    me = SignedIn("", find_or_create_annotator(engine, "annotator-1"), "annotator-1", "admin")
    browser = TestClient(Guard(closes_twice, Door(engine), roles={}, single=me))
    opened = browser.websocket_connect("/", headers={"Origin": "http://testserver"})
    with opened as connection, pytest.raises(WebSocketDisconnect):
        connection.receive_text()


def test_health_says_that_the_database_is_away_and_nobody_comes_in() -> None:
    engine = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    door = Door(engine, always_asks=True)
    open_door(door, single=None)
    with client(door, None, cookies={"stepmark": "secret"}) as browser:
        assert browser.get("/stepmark/health").status_code == 503
        assert browser.get("/progress").status_code == 401
    engine.dispose()


def test_behind_https_the_cookie_is_secure_and_bound_to_the_host(engine: sa.Engine) -> None:
    accounts.create_account(engine, "annotator-1", password=PASSWORD)
    door = Door(engine, public_url="https://label.example.org/", always_asks=True)
    open_door(door, single=None)
    with client(door, None, base_url="http://label.example.org") as browser:
        form = {"name": "annotator-1", "password": PASSWORD}
        refused = browser.post("/stepmark/signin", data=form, headers={"Origin": "http://elsewhere.example.org"})
        assert refused.status_code == 403
        let_in = browser.post("/stepmark/signin", data=form, headers={"Origin": "https://label.example.org"})
        assert let_in.headers["set-cookie"].startswith("__Host-stepmark=")
        assert "; Secure" in let_in.headers["set-cookie"]


def test_a_view_for_admins_asks_by_itself(engine: sa.Engine) -> None:
    accounts.create_account(engine, "annotator-1", role="admin")

    def page() -> None:
        from annotator.views import people

        people.show()

    before = sys.modules["__main__"]
    try:
        open_workplace(Workplace(engine, 1, "annotator-1", None, role="reviewer"))
        refused = AppTest.from_function(page, default_timeout=60).run()
        assert [error.value for error in refused.error] == [
            "This page is for the role admin; annotator-1 is reviewer."
        ]
        assert [title.value for title in refused.title] == []
        open_workplace(Workplace(engine, 1, "annotator-1", None, role="admin"))
        shown = AppTest.from_function(page, default_timeout=60).run()
        assert list(shown.exception) == []
        assert shown.dataframe[0].value["name"].tolist() == ["annotator-1"]
        shown.selectbox[0].select("reviewer")
        shown.button[0].click().run()
        link = shown.code[0].value
        offered = invitations.look_at(engine, link.rsplit("/", 1)[1])
        assert offered == invitations.Offer("invite", "reviewer", None)
    finally:
        sys.modules["__main__"] = before


def test_waits_of_addresses_grow_and_right_passwords_do_not_count() -> None:
    now = 0.0
    throttle = Throttle(3, clock=lambda: now)
    for _ in range(10):
        assert throttle.begin("a") == 0
        throttle.take_back("a")
    assert [throttle.begin("a") for _ in range(4)] == [0, 0, 0, 31]
    assert throttle.begin("b") == 0
    now = 31.0
    assert [throttle.begin("a") for _ in range(2)] == [0, 61]
    now = 31.0 + 3601
    assert [throttle.begin("a") for _ in range(3)] == [0, 0, 0]


def test_accounts_are_made_changed_and_erased_by_commands(engine: sa.Engine) -> None:
    runner = CliRunner()
    where = ["--db", engine.url.render_as_string()]

    def command(*args: str, input: str = "") -> str:
        done = runner.invoke(command_line, ["annotators", *args, *where], input=input, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    assert command("list").startswith("nobody yet; make the first account with `stepmark annotators add NAME")
    assert command("add", "lead", "--role", "admin", input=f"{PASSWORD}\n") == "lead has an account as admin\n"
    link = command("invite", "--role", "reviewer", "--url", "https://label.example.org/").strip()
    assert link.startswith("https://label.example.org/stepmark/invitation/")
    invitations.take_up(engine, link.rsplit("/", 1)[1], name="annotator-1", password=PASSWORD)
    assert command("role", "annotator-1", "annotator") == "annotator-1 is annotator (was reviewer)\n"
    sign_ins.begin(engine, 2)
    assert [line.split() for line in command("list").splitlines()[1:]] == [
        ["annotator-1", "annotator", "open", "1"],
        ["lead", "admin", "open", "0"],
    ]
    assert command("sign-out", "annotator-1") == "annotator-1: browsers signed out: 1\n"
    assert invitations.look_at(engine, command("reset", "annotator-1").strip().rsplit("/", 1)[1]) is not None
    assert command("close", "annotator-1") == "annotator-1 is closed; browsers signed out: 0\n"
    assert command("erase", "annotator-1", "--yes").startswith(
        "annotator-1 is erased-2 from now on; erased: 1 sign-ins"
    )
    assert '"is_active": false' in command("list", "--json")
