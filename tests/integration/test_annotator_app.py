"""The app without a browser: its address, its pages in Streamlit's AppTest, its messages, its commands."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import streamlit as st
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest
from streamlit.web.server.starlette import starlette_server

from annotator.app import allowed_hosts, check_address, routes, run_app, send_at_once, server_config
from annotator.assets import component_url, find_katex
from annotator.guideline import default_body
from annotator.messages import Unreadable, read_held, read_keys, read_outbox
from annotator.surface import surface_data, take
from annotator.workplace import Workplace, open_workplace
from db.accounts import create_account
from db.annotators import find_or_create_annotator
from db.connect import open_database, reading, writing
from db.guidelines import add_guideline
from db.models import Annotation, Draft, Membership, Problem, ProblemSource, Project, Solution
from db.projects import create_project
from db.tasks import CritiqueAnswer, PairAnswer, Submission, add_tasks, claim_tasks
from stepmark.errors import SettingsError
from stepmark.evidence import Evidence, Opinion

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("main_module_is_kept")


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    engine = open_database(f"sqlite:///{tmp_path / 'stepmark.db'}", create=True)
    with writing(engine) as session:
        session.add(
            Problem(statement_hash="0" * 32, family="0" * 32, statement="What is 1 + 1?", reference_answer="2")
        )
        session.flush()
        session.add(ProblemSource(problem_id=1, source="sums/test", source_key="0"))
        for key in ("a", "b", "c"):
            session.add(
                Solution(
                    problem_id=1,
                    source="made",
                    source_key=key,
                    text="",
                    text_hash=key * 32,
                    steps=["1 + 1 = 2"],
                    answer="2",
                )
            )
    add_tasks(engine, [(1, 2.0), (2, 1.0), (3, 0.0)], reason="random")
    found = Workplace(engine, find_or_create_annotator(engine, "annotator-1"), "annotator-1", None)
    open_workplace(found)
    st.session_state.clear()
    yield found
    engine.dispose()


def sent(task: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "submission_id": f"submission-{task['task_id']}",
        "task_id": task["task_id"],
        "token": task["token"],
        "finish_reason": "solution",
        "labels": [1, 1],
        "unsure": [1],
        "step_durations_ms": [10, 20],
        "duration_ms": 30,
        "comment": None,
        "guideline": "prm800k-1",
        "corrects": None,
        "extra": {},
        **changes,
    }


def test_a_message_is_stored_once_and_answered_each_time(workplace: Workplace) -> None:
    first, second = surface_data(workplace)["tasks"]
    message = {"outbox": [sent(first)], "held": {str(second["task_id"]): second["token"]}, "nonce": "1"}
    stored = {"submission_id": "submission-1", "status": "stored", "message": ""}
    assert take(workplace, message) == [stored]
    assert take(workplace, message) == [{**stored, "status": "repeated"}]
    data = surface_data(workplace)
    assert [task["task_id"] for task in data["tasks"]] == [2, 3]
    assert data["counts"] == {"answered": 1, "left": 2}
    with reading(workplace.engine) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Annotation)) == 1


def test_what_cannot_be_read_is_answered_so_that_the_browser_stops_repeating_it(workplace: Workplace) -> None:
    [task, _] = surface_data(workplace)["tasks"]
    good = read_outbox({"outbox": [sent(task)]}, 7)
    assert good == [
        Submission(
            submission_id="submission-1",
            task_id=1,
            annotator_id=7,
            token=task["token"],
            finish_reason="solution",
            labels=[1, 1],
            unsure=frozenset({1}),
            step_durations_ms=[10, 20],
            duration_ms=30,
            guideline="prm800k-1",
        )
    ]
    bad = {"outbox": [sent(task, labels="all good"), {"labels": []}, sent(task, annotator_id=1)]}
    assert read_outbox(bad, 7) == [
        Unreadable("submission-1", "it cannot be read (labels: Input should be a valid list)"),
        Unreadable("submission-1", "it cannot be read (annotator_id: Extra inputs are not permitted)"),
    ]
    assert [answer["status"] for answer in take(workplace, bad)] == ["invalid", "invalid"]
    for nonsense in (None, 3, [], {}, {"outbox": 1, "held": 2}):
        assert read_outbox(nonsense, 7) == []
        assert read_held(nonsense) == {}
    assert read_held({"held": {"1": "token", "x": "token", "2": 3}}) == {1: "token"}


def skipped(task: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A submission with what all kinds share, and `fields`."""
    shared = sent(task)
    for name in ("labels", "unsure", "step_durations_ms"):
        del shared[name]
    return {**shared, **fields}


def test_submissions_of_each_kind_are_read_by_the_fields_that_only_they_have() -> None:
    task = {"task_id": 1, "token": "token"}
    steps = sent(
        task,
        repaired=[0],
        segments=["1 + 1", "= 2"],
        written={"1": "= 3"},
        alternatives={"7": -1},
        chosen="own",
        suggestion_shown=True,
        extra={"labels_before": [1, None], "reason": "x"},
    )
    pair = skipped(task, choice="first", strength=2, reasons=["clear"])
    judgement = skipped(task, judgement="partly", is_helpful=None, is_verdict_right=True, correction="so")
    found = read_outbox({"outbox": [steps, pair, judgement, skipped(task, finish_reason="skipped")]}, 7)
    assert all(isinstance(one, Submission) for one in found), found
    read = [one for one in found if isinstance(one, Submission)]
    assert (read[0].repaired, read[0].segments, read[0].written, read[0].alternatives, read[0].chosen) == (
        frozenset({0}),
        ["1 + 1", "= 2"],
        {1: "= 3"},
        {7: -1},
        "own",
    )
    assert (read[0].suggestion_shown, read[0].extra) == (True, {"labels_before": [1, None], "reason": "x"})
    assert read[1].pair == PairAnswer("first", 2, ("clear",))
    assert read[2].critique == CritiqueAnswer("partly", None, True, "so")
    assert (read[3].pair, read[3].critique, read[3].labels) == (None, None, ())
    for wrong in ({"alternatives": {"x": 1}}, {"alternatives": {"1": 2}}, {"unsure": [-1]}, {"segments": []}):
        [unreadable] = read_outbox({"outbox": [sent(task, **wrong)]}, 7)
        assert isinstance(unreadable, Unreadable)


def test_a_draft_is_kept_for_another_browser_newest_first_until_the_answer(workplace: Workplace) -> None:
    [task, _] = surface_data(workplace)["tasks"]

    def draft(updated_at: int, labels: list[int], token: str = task["token"]) -> dict[str, Any]:
        return {"task_id": task["task_id"], "token": token, "body": {"labels": labels}, "updated_at": updated_at}

    moment = 1_790_000_000_123
    take(workplace, {"drafts": [draft(moment, [1]), draft(moment - 1, [0]), draft(moment + 1, [-1], "wrong"), 3]})
    [shown, untouched] = surface_data(workplace)["tasks"]
    assert (shown["draft"], untouched["draft"]) == ({"labels": [1], "updated_at": moment}, None)
    take(workplace, {"outbox": [sent(task)], "drafts": [draft(moment + 2, [0])]})
    with reading(workplace.engine) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Draft)) == 0


def test_text_that_no_database_takes_is_stored_without_what_it_would_not_take(database: sa.Engine) -> None:
    with writing(database) as session:
        session.add(Problem(statement_hash="0" * 32, family="0" * 32, statement="?"))
        session.flush()
        made = {"problem_id": 1, "source": "made", "text": "", "steps": ["1 + 1 = 2"], "answer": "2"}
        session.add(Solution(source_key="a", text_hash="a" * 32, **made))
    add_tasks(database, [(1, 0.0)], mode="all_steps")
    workplace = Workplace(database, find_or_create_annotator(database, "annotator-1"), "annotator-1", None)
    st.session_state.clear()
    [task] = surface_data(workplace)["tasks"]
    odd, stored = "a\0b\ud83d", "ab\ufffd"
    draft = {"task_id": 1, "token": task["token"], "body": {odd: [odd]}, "updated_at": 1_790_000_000_000}
    take(workplace, {"drafts": [draft]})
    assert surface_data(workplace)["tasks"][0]["draft"] == {stored: [stored], "updated_at": 1_790_000_000_000}
    answer = sent(task, comment=odd, written={"0": odd}, extra={"reason": odd}, guideline=odd)
    assert [told["status"] for told in take(workplace, {"outbox": [answer]})] == ["stored"]
    with reading(database) as session:
        row = session.scalars(sa.select(Annotation)).one()
        assert (row.comment, row.guideline, row.extra) == (stored, stored, {"reason": stored})


def test_evidence_is_attached_where_the_project_shows_it_and_hides_what_other_people_said(
    workplace: Workplace,
) -> None:
    asked: list[list[int]] = []
    by_outcome = Opinion(1, "judge", "critic-1", "fail", 0, None, True, "outcome", "Step 1 is wrong.")
    by_people = replace(by_outcome, critique_id=2, confirmation_rule="step labels")

    def evidence_of(_engine: sa.Engine, solution_ids: Collection[int]) -> dict[int, Evidence]:
        asked.append(list(solution_ids))
        return {1: Evidence(1, 1, "?", None, None, (), (), (), (), (by_outcome, by_people), (), {})}

    first, second = surface_data(replace(workplace, evidence=evidence_of))["tasks"]
    shown = [(one["is_confirmed"], one["confirmation_rule"]) for one in first["evidence"]["opinions"]]
    assert shown == [(True, "outcome"), (None, None)]
    assert (first["evidence_before"], second["evidence"], "solution_ids" in first) == (False, None, False)
    assert asked == [[1, 2]]


def test_a_project_is_chosen_and_a_pause_says_why(workplace: Workplace) -> None:
    with writing(workplace.engine) as session:
        session.add(Project(name="sums", kind="steps", settings={}))
    add_tasks(workplace.engine, [(3, 0.0)], project_id=1)
    take(workplace, {"project_id": 1})
    data = surface_data(workplace)
    line = {
        "project_id": 1,
        "name": "sums",
        "kind": "steps",
        "mode": "first_error",
        "state": "active",
        "reason": None,
    }
    assert (data["projects"], data["project_id"], data["paused"]) == ([line], 1, None)
    assert [task["project"]["name"] for task in data["tasks"]] == ["sums"]
    assert data["counts"]["left"] == 1
    with writing(workplace.engine) as session:
        session.add(
            Membership(project_id=1, annotator_id=workplace.annotator_id, state="paused", reason="Talk to us.")
        )
    data = surface_data(workplace)
    assert (data["tasks"], data["paused"], data["projects"][0]["state"]) == (
        [],
        "You are paused in project 'sums': Talk to us.",
        "paused",
    )
    take(workplace, {"project_id": None})
    assert len(surface_data(workplace)["tasks"]) == 2


def test_a_task_goes_by_the_rules_of_its_project_and_the_answer_names_them(workplace: Workplace) -> None:
    rules = {"sections": [{"title": "Ours", "kind": None, "rules": ["Round nothing."]}], "flowchart": []}
    add_guideline(workplace.engine, "ours-2", rules)
    add_guideline(workplace.engine, "elsewhere-1", rules)
    project_id = create_project(workplace.engine, "sums", guideline="ours-2")
    add_tasks(workplace.engine, [(3, 9.0)], project_id=project_id)
    data = surface_data(workplace)
    first, second = data["tasks"]
    assert (first["project"]["guideline"], second["project"]["guideline"]) == ("ours-2", "prm800k-1")
    assert data["guidelines"] == {"prm800k-1": default_body().as_json(), "ours-2": rules}
    take(workplace, {"outbox": [sent(first, guideline="ours-2")]})
    with reading(workplace.engine) as session:
        assert session.scalars(sa.select(Annotation.guideline)).all() == ["ours-2"]


def test_own_keys_stay_with_an_account_and_nonsense_is_not_kept(workplace: Workplace) -> None:
    keys = {"good": ["c"], "submit": ["Enter", " "]}
    take(workplace, {"settings": {"keys": keys}})
    assert surface_data(workplace)["settings"] is None
    create_account(workplace.engine, "annotator-1", identity="somebody")
    signed_in = replace(workplace, sign_in="hash")
    assert surface_data(signed_in)["settings"] == {"keys": None}
    take(signed_in, {"settings": {"keys": keys}})
    assert surface_data(signed_in)["settings"] == {"keys": keys}
    for nonsense in (3, {}, {"keys": {"good": "c"}}, {"keys": {"good": ["c" * 17]}}, {"keys": {"good": []}}):
        assert read_keys({"settings": nonsense}) is None
    assert read_keys({"settings": {"keys": {f"a{n}": ["x"] for n in range(101)}}}) is None
    assert read_keys({"settings": {"keys": {"__proto__": ["x"]}}}) is None
    take(signed_in, {"settings": {"keys": {}}})
    assert surface_data(signed_in)["settings"] == {"keys": {}}


def test_practice_stays_at_hand_until_it_is_answered(workplace: Workplace) -> None:
    take(workplace, {"practice": True})
    *ordinary, task = surface_data(workplace)["tasks"]
    assert (len(ordinary), task["purpose"], task["known"]["answer"].keys()) == (2, "practice", {"labels"})
    take(workplace, {"practice": False})
    assert surface_data(workplace)["tasks"][-1]["task_id"] == task["task_id"]
    answer = sent(task, labels=[1] * (len(task["steps"]) + 1), unsure=[], step_durations_ms=[])
    assert take(workplace, {"outbox": [answer]})[0]["status"] == "stored"
    data = surface_data(workplace)
    assert ([task["purpose"] for task in data["tasks"]], data["counts"]["answered"]) == (["label", "label"], 0)


def test_the_label_page_mounts_the_surface_and_claims_two_tasks(workplace: Workplace) -> None:
    page = AppTest.from_file(str(ROOT / "annotator" / "entry.py"), default_timeout=60).run()
    assert list(page.exception) == []
    assert len(claim_tasks(workplace.engine, workplace.annotator_id, n=2)) == 2
    other = find_or_create_annotator(workplace.engine, "annotator-2")
    assert [task.task_id for task in claim_tasks(workplace.engine, other)] == [3]


@pytest.mark.parametrize("n_answered", [0, 1])
def test_the_progress_page_shows_counts_and_the_queue(workplace: Workplace, n_answered: int) -> None:
    if n_answered:
        [task, _] = surface_data(workplace)["tasks"]
        take(workplace, {"outbox": [sent(task)]})

    def page() -> None:
        from annotator.views import progress

        progress.show()

    shown = AppTest.from_function(page, default_timeout=60).run()
    assert list(shown.exception) == []
    assert [(metric.label, metric.value) for metric in shown.metric] == [
        ("Tasks answered", str(n_answered)),
        ("Left for you", str(3 - n_answered)),
        ("Step labels", str(2 * n_answered)),
        ("Median time a task", "0 s" if n_answered else "–"),
    ]
    queue = shown.dataframe[0].value.to_dict("records")
    assert queue == [
        {
            "rule": "random",
            "what": "first error",
            "open": 3 - n_answered,
            "in somebody's hands": n_answered,
            "done": n_answered,
        }
    ]


def test_the_guidelines_page_shows_every_rule(workplace: Workplace) -> None:
    def page() -> None:
        from annotator.views import guidelines

        guidelines.show()

    shown = AppTest.from_function(page, default_timeout=60).run()
    assert list(shown.exception) == []
    assert [heading.value for heading in shown.subheader] == [
        ":green[✓] Good",
        ":orange[◆] Neutral",
        ":red[✕] Bad",
        "Which label?",
        "The final answer",
        "In general",
    ]


def test_health_and_the_surfaces_files_are_served(workplace: Workplace) -> None:
    with TestClient(Starlette(routes=routes())) as client:
        assert client.get("/stepmark/health").json() == {"status": "ok"}
        module = client.get(f"{component_url()}/surface.js")
        assert (module.status_code, module.headers["content-type"].split(";")[0]) == (200, "text/javascript")
        assert client.get(f"{component_url()}/../app.py").status_code == 404
        page = client.get("/progress").text
        assert page.index('src="/stepmark/origin.js"') < page.index('type="module"')
        assert "BACKEND_BASE_URL" in client.get("/stepmark/origin.js").text


def test_katex_is_the_installed_one_or_else_streamlits(tmp_path: Path) -> None:
    bundled = find_katex(tmp_path)
    assert bundled is not None
    assert (bundled.css, bundled.directory) == (None, None)
    assert bundled.module.startswith("/static/js/katex.")
    (tmp_path / "katex.mjs").touch()
    installed = find_katex(tmp_path)
    assert installed is not None
    assert (installed.module, installed.directory) == ("/stepmark/katex/katex.mjs", tmp_path)


def test_only_this_machine_and_only_a_free_port_will_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port} cannot be used .* --port {port + 1}"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)
    for host in ("0.0.0.0", "::"):
        with pytest.raises(
            SettingsError, match=rf"every address of this machine.* --public-url http://HOSTNAME:{port}"
        ):
            check_address(host, port)
    check_address("0.0.0.0", port, public_url="https://label.example.org")
    for url in ("label.example.org", "ftp://label.example.org", "https://label.example.org/app"):
        with pytest.raises(SettingsError, match="is not an address without a path"):
            check_address("127.0.0.1", port, public_url=url)


@pytest.mark.parametrize("addresses", [{"host": "0.0.0.0"}, {"public_url": "https://label.example.org"}])
def test_an_app_that_others_can_reach_needs_an_account_first(workplace: Workplace, addresses: dict[str, str]) -> None:
    url = workplace.engine.url.render_as_string()
    options = {"public_url": "http://label.example.org", **addresses}
    with pytest.raises(SettingsError, match="there are no accounts; make the first one: stepmark annotators add"):
        run_app(url, port=free_port(), opens_browser=False, **options)


def test_the_servers_connections_do_not_wait_for_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starlette_server, "_bind_socket", starlette_server._bind_socket)  # put back afterwards
    send_at_once()
    with starlette_server._bind_socket("127.0.0.1", 0, 1) as listening:
        listening.setblocking(True)
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_servers_options_call_nobody_and_hide_tracebacks() -> None:
    hosts = allowed_hosts("127.0.0.1", None)
    options = server_config("127.0.0.1", 8501, hosts=hosts)
    assert {name: options[name] for name in options if not name.startswith("theme.")} == {
        "server.address": "127.0.0.1",
        "server.port": 8501,
        "server.allowedHosts": ["127.0.0.1", "localhost", "::1"],
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "browser.serverAddress": "127.0.0.1",
        "browser.gatherUsageStats": False,
        "logger.hideWelcomeMessage": True,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        "runner.postScriptGC": False,
    }
    assert allowed_hosts("0.0.0.0", "https://label.example.org:444")[0] == "label.example.org"


def stepmark(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepmark", *args],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_queue_is_filled_and_shown_by_commands(workplace: Workplace) -> None:
    url = workplace.engine.url.render_as_string()
    done = stepmark("queue", "add", "--db", url, "--source", "ma*", "--mode", "all_steps", "--limit", "2")
    assert (done.stdout, done.returncode) == ("queue: read 2, kept 2, dropped 0\n", 0)
    shown = stepmark("queue", "show", "--db", url, "--json")
    line = {"project": None, "reason": "random", "kind": "steps", "n_closed": 0, "n_leased": 0}
    assert json.loads(shown.stdout) == [
        {**line, "mode": "first_error", "n_open": 3},
        {**line, "mode": "all_steps", "n_open": 2},
    ]
    refused = stepmark("queue", "add", "--db", url, "--source", "maths")
    assert (refused.returncode, refused.stderr) == (
        2,
        "stepmark: no source is named like 'maths'; there are: made, sums/test\n",
    )


def test_a_taken_port_is_one_message(workplace: Workplace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        url = workplace.engine.url.render_as_string()
        refused = stepmark("annotate", "--no-browser", "--db", url, "--port", port)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"stepmark: port {port} cannot be used on 127.0.0.1: ")
