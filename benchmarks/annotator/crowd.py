"""Many annotators at once on the labelling app: is every answer kept, how soon is it acknowledged, what does it cost.

    python benchmarks/annotator/crowd.py [--full] [--annotators 10] [--minutes 1] [--processes 1] [--database SQLite]

Clients speak Streamlit's WebSocket protocol as the browser does: they sign in by the form, open the page, claim,
send drafts and heartbeats, submit after the time that a person takes, send everything again that is not acknowledged,
first after four seconds. Some submit twice, some lose the connection at the very moment of a submit, some reload,
some correct an answer. A real browser works among them. Afterwards the database is checked: every acknowledged answer
is stored once, with its labels; nothing else is; no task has more answers than wanted; none is stuck.

By default ten annotators for a minute on SQLite. `--full` is three runs: 50 annotators for ten minutes on SQLite and
one process; the same on PostgreSQL; and 25 on each of two processes over one PostgreSQL for two minutes. Writes
its rows into benchmarks/results/annotator.json.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import sqlalchemy as sa
from lab import Server, add_made_tasks, app, browsing, databases, plain_tasks, quantile, result, write_results
from latency import OURS, PROBE, timed
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from db.accounts import create_account
from db.connect import open_database, reading, writing
from db.models import Annotation, Claim, StepLabel, Task
from db.schema import utc_now
from db.tasks import claim_tasks

PASSWORD = "three brown horses"
RESEND_S = 4.0
DRAFT_AFTER_S = 20.0
HEARTBEAT_S = 240.0
TAKEN = ("stored", "corrected", "repeated")
N_WANTED = 2
GOAL_MS = 500
"""Of an acknowledgement, p95: nobody waits for it, since the next task is at hand; two of them make a resend."""


@dataclass(frozen=True)
class Habits:
    """What clients do, and how often."""

    step_s: float
    """Mean time for a step."""
    twice: float = 0.03
    cut: float = 0.03
    reload: float = 0.04
    correct: float = 0.04


@dataclass
class Told:
    """What the server told one client, for comparison with the database."""

    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Submissions by id, whether acknowledged or not."""
    taken: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)
    n: Counter[str] = field(default_factory=Counter)


class Client:
    """One annotator's browser, without the drawing."""

    def __init__(self, address: str, name: str, cookie: str, habits: Habits, seed: int) -> None:
        self.address = address
        self.name = name
        self.cookie = cookie
        self.habits = habits
        self.drawn = random.Random(seed)
        self.told = Told()
        self.outbox: list[dict[str, Any]] = []
        self.data: dict[str, Any] = {"tasks": []}
        self.widget = ""
        self.page = ""
        self.cached: list[str] = []
        self.socket: ClientConnection | None = None
        self.news = asyncio.Event()
        self.reader: asyncio.Task[None] | None = None
        self.sent_at = 0.0

    # ---- the connection ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Loads the page: a new session, whose script claims tasks."""
        self.socket = await connect(
            self.address.replace("http", "ws", 1) + "/_stcore/stream",
            additional_headers={"Cookie": self.cookie, "Origin": self.address},
            subprotocols=["streamlit", "none"],  # type: ignore[list-item]
            open_timeout=60,
            max_size=None,
            ping_interval=None,  # a browser sends none
        )
        self.widget, self.cached = "", []
        self.reader = asyncio.create_task(self._read(self.socket))
        await self._send(BackMsg())
        await self._until(lambda: bool(self.widget), timeout_s=60)
        self.told.n["opened"] += 1

    async def close(self) -> None:
        if self.socket is not None:
            await self.socket.close()
        if self.reader is not None:
            await self.reader
        self.socket = self.reader = None

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for frame in socket:
                message = ForwardMsg()
                message.ParseFromString(frame)  # type: ignore[arg-type]
                self._take(message)
        except ConnectionClosed:
            pass

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "navigation":
            self.page = message.navigation.page_script_hash
        elif kind == "auth_redirect":
            self.told.errors.append("led to the sign-in page")
        elif kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception":
            self.told.errors.append(message.delta.new_element.exception.message)
        elif kind == "delta" and message.delta.new_element.WhichOneof("type") == "bidi_component":
            component = message.delta.new_element.bidi_component
            self.widget = component.id
            self.data = json.loads(component.json or component.mixed.json)
            self.cached = [message.hash]
            self._take_answers()
            self.news.set()
        elif kind == "ref_hash":
            self.told.errors.append("a message was only named, and could not be looked up")

    def _take_answers(self) -> None:
        now = time.perf_counter()
        waiting = {entry["submission_id"]: entry for entry in self.outbox}
        for answer in self.data["acknowledged"]:
            entry = waiting.pop(answer["submission_id"], None)
            if entry is None:
                continue
            self.told.waits_ms.append(1000 * (now - entry["at"]))
            if answer["status"] in TAKEN:
                self.told.taken.add(answer["submission_id"])
            else:
                self.told.refused.append(f"{self.name}: {answer['status']}: {answer['message']}")
        self.outbox = list(waiting.values())

    async def _send(self, message: BackMsg) -> None:
        state = message.rerun_script
        state.page_script_hash = self.page
        state.cached_message_hashes.extend(self.cached)
        state.context_info.timezone = "UTC"
        state.context_info.url = self.address
        self.sent_at = time.monotonic()
        try:
            assert self.socket is not None
            await self.socket.send(message.SerializeToString())
        except ConnectionClosed:
            self.told.n["connection lost"] += 1
            await self.open()  # as the browser does; what waits is sent again by its own clock

    async def _sync(self, drafts: Sequence[dict[str, Any]] = ()) -> None:
        at_hand = [task for task in self.data["tasks"] if task["task_id"] not in self._answered()]
        value = {
            "outbox": [{name: entry[name] for name in entry if name != "at"} for entry in self.outbox],
            "held": {str(task["task_id"]): task["token"] for task in at_hand},
            "drafts": list(drafts),
            "practice": False,
            "nonce": uuid.uuid4().hex,
        }
        message = BackMsg()
        widget = message.rerun_script.widget_states.widgets.add()
        widget.id = f"$$STREAMLIT_INTERNAL_KEY_{self.widget}__events"
        widget.json_trigger_value = json.dumps([{"event": "sync", "value": value}])
        await self._send(message)

    async def _until(self, is_so: Any, *, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while not is_so():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), left)
            except TimeoutError:
                return bool(is_so())
        return True

    def _answered(self) -> set[int]:
        return {entry["task_id"] for entry in self.outbox}

    # ---- the work --------------------------------------------------------------------------------------------

    async def work(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        await asyncio.sleep(self.drawn.uniform(0, min(10.0, seconds / 4)))
        await self.open()
        while time.monotonic() < end:
            task = next((one for one in self.data["tasks"] if one["task_id"] not in self._answered()), None)
            if task is None:
                self.told.n["looked again"] += 1
                await self._sync()
                await asyncio.sleep(1)
                continue
            labels = [self.drawn.choice((1, 1, 1, 0, -1)) for _ in task["steps"]]
            durations = await self._label(task, labels)
            await self._submit(task, labels, durations)
            if self.drawn.random() < self.habits.correct:
                await self._correct(task, labels, durations)
            if self.drawn.random() < self.habits.reload:
                self.told.n["reloaded"] += 1
                await self.close()
                await self.open()
        for n in range(5):
            if not self.outbox:
                break
            await self._sync()
            await self._until(lambda: not self.outbox, timeout_s=RESEND_S * 2**n)
        await self.close()

    async def _label(self, task: dict[str, Any], labels: Sequence[int]) -> list[int]:
        durations, unsent_s = [], 0.0
        for index in range(len(labels)):
            spent = self.drawn.gammavariate(2, self.habits.step_s / 2)
            await asyncio.sleep(spent)
            durations.append(round(1000 * spent))
            unsent_s += spent
            if unsent_s > DRAFT_AFTER_S:
                unsent_s = 0.0
                self.told.n["drafts"] += 1
                state = {"labels": list(labels[: index + 1]), "at": index}
                draft = {"kind": "steps", "state": state, "comment": "", "durations": {}, "past": []}
                now = round(1000 * time.time())
                sent = {"task_id": task["task_id"], "token": task["token"], "body": draft, "updated_at": now}
                await self._sync([sent])
            if time.monotonic() - self.sent_at > HEARTBEAT_S:
                await self._sync()
        return durations

    async def _submit(
        self, task: dict[str, Any], labels: Sequence[int], durations: Sequence[int], corrects: str | None = None
    ) -> None:
        entry = {
            "submission_id": uuid.uuid4().hex,
            "task_id": task["task_id"],
            "token": task["token"],
            "finish_reason": "found_error" if -1 in labels else "solution",
            "duration_ms": sum(durations),
            "comment": None,
            "guideline": task["project"]["guideline"],
            "corrects": corrects,
            "labels": list(labels),
            "unsure": [],
            "step_durations_ms": list(durations),
            "extra": {},
        }
        self.told.sent[entry["submission_id"]] = entry
        self.outbox.append({**entry, "at": time.perf_counter()})
        await self._sync()
        if self.drawn.random() < self.habits.twice:
            self.told.n["sent twice"] += 1
            await self._sync()
        if self.drawn.random() < self.habits.cut:
            self.told.n["cut off"] += 1
            for waiting in self.outbox:
                waiting["at"] = float("nan")  # its answer is late by the client's own doing
            await self.close()
            await self.open()
            await self._sync()
        # The next task is at hand: work goes on meanwhile, and what is not acknowledged is sent again.
        asyncio.get_running_loop().call_later(RESEND_S, self._resend, entry["submission_id"], 1)

    def _resend(self, submission_id: str, n: int) -> None:
        if any(entry["submission_id"] == submission_id for entry in self.outbox) and self.socket is not None:
            self.told.n["sent again"] += 1
            self._resending = asyncio.ensure_future(self._sync())
            pause_s = RESEND_S * 2 ** min(n, 4)
            asyncio.get_running_loop().call_later(pause_s, self._resend, submission_id, n + 1)

    async def _correct(self, task: dict[str, Any], labels: Sequence[int], durations: Sequence[int]) -> None:
        await asyncio.sleep(2)
        if self.outbox:
            return  # a correction goes with its answer, in their order; here it is simply not made
        earlier = next(
            (id_ for id_, entry in reversed(self.told.sent.items()) if entry["task_id"] == task["task_id"]), None
        )
        self.told.n["corrected"] += 1
        changed = [-labels[0] or 1, *labels[1:]]
        await self._submit(task, changed, durations, corrects=earlier)


# ---- one run ---------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What one run measured."""

    n_annotators: int
    n_processes: int
    minutes: float
    kind: str
    told: list[Told]
    key_ms: list[float]
    next_ms: list[float]
    cpu_s: float
    rss_first: float
    rss_last: float
    n_found: int
    """Acknowledged answers that are stored once, as they were sent."""
    complaints: list[str]


def sign_in(address: str, name: str) -> str:
    """Signs in by the form; returns the cookie."""
    form = {"name": name, "password": PASSWORD}
    answer = httpx.post(f"{address}/stepmark/signin", data=form, headers={"Origin": address}, timeout=60)
    assert answer.status_code == 303, answer.text
    return answer.headers["set-cookie"].split(";")[0]


def label_in_browser(address: str, name: str, seconds: float, habits: Habits, found: dict[str, list[Any]]) -> None:
    """A real browser among the clients: signs in, and labels at the same pace; every key is timed."""
    drawn = random.Random(name)
    end = time.monotonic() + seconds
    with browsing() as browser:
        context = browser.new_context(viewport={"width": 1360, "height": 900})
        page = context.new_page()
        page.on("pageerror", lambda error: found["errors"].append(str(error)))
        page.add_init_script(PROBE)
        page.goto(address)
        page.fill("input[name=name]", name)
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector(".sm-card", timeout=60_000)
        page.evaluate(f"stepmarkProbe.shown = {OURS}")
        time.sleep(1)
        while time.monotonic() < end:
            for _ in range(page.locator(".sm-card").count()):
                found["keys"].append(timed(page, drawn.choice("123"))["dom"])
                time.sleep(drawn.gammavariate(2, habits.step_s / 2))
            found["submits"].append(timed(page, "Enter")["dom"])
            found["n"].append(1)
        page.get_by_text("All saved").wait_for()
        context.close()


def sit_at_browser(address: str, seconds: float, habits: Habits, found: dict[str, list[Any]]) -> None:
    try:
        label_in_browser(address, "browser-1", seconds, habits, found)
    except Exception as err:  # in a thread: the run goes on, and fails by it
        found["errors"].append(f"browser-1: {type(err).__name__}: {err}")


async def crowd(clients: Sequence[Client], seconds: float) -> None:
    async def one(client: Client) -> None:
        try:
            await client.work(seconds)
        except Exception as err:  # of one client: the others go on, and the run fails by it
            client.told.errors.append(f"{type(err).__name__}: {err}")

    await asyncio.gather(*(one(client) for client in clients))


def run(url: str, kind: str, *, n: int, minutes: float, n_processes: int, n_tasks: int, habits: Habits) -> Run:
    seconds = 60 * minutes
    engine = open_database(url, create=True)
    add_made_tasks(engine, plain_tasks(n_tasks, n_steps=8), name="crowd", n_wanted=N_WANTED)
    names = [f"annotator-{number}" for number in range(1, n + 1)]
    for name in (*names, "browser-1"):
        create_account(engine, name, role="annotator", password=PASSWORD)
    create_account(engine, "lead", role="admin", password=PASSWORD)
    found: dict[str, list[Any]] = {"keys": [], "submits": [], "errors": [], "n": []}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = [stack.enter_context(app(url, Path(folder))) for _ in range(n_processes)]
        clients = [
            Client(address, name, sign_in(address, name), habits, seed)
            for seed, name in enumerate(names)
            for address in (servers[seed % n_processes].address,)
        ]
        person = threading.Thread(target=sit_at_browser, args=(servers[0].address, seconds, habits, found))
        began_cpu = sum(server.cpu_s() for server in servers)
        rss: list[float] = []
        watch = threading.Thread(target=watch_memory, args=(servers, seconds, rss))
        person.start()
        watch.start()
        asyncio.run(crowd(clients, seconds))
        watch.join()
        cpu_s = sum(server.cpu_s() for server in servers) - began_cpu
        person.join()
        logs = "".join(server.log.read_text() for server in servers)
    if "Traceback" in logs:
        print(logs[logs.index("Traceback") :][:6_000], file=sys.stderr)
    n_found, wrong = check(engine, clients, len(found["n"]))
    complaints = [*wrong, *found["errors"]]
    complaints += [line for line in logs.splitlines() if "Traceback" in line or "Error" in line]
    engine.dispose()
    return Run(
        n_annotators=n,
        n_processes=n_processes,
        minutes=minutes,
        kind=kind,
        told=[client.told for client in clients],
        key_ms=found["keys"],
        next_ms=found["submits"],
        cpu_s=cpu_s,
        rss_first=rss[0],
        rss_last=rss[-1],
        n_found=n_found,
        complaints=complaints,
    )


def watch_memory(servers: Sequence[Server], seconds: float, rss: list[float]) -> None:
    """Memory of all processes, after the first minute (or a third of a shorter run), and at the end."""
    first = min(60.0, seconds / 3)
    time.sleep(first)
    rss.append(sum(server.rss_mb() for server in servers))
    time.sleep(max(0.0, seconds - first))
    rss.append(sum(server.rss_mb() for server in servers))


def check(engine: sa.Engine, clients: Sequence[Client], n_of_browser: int) -> tuple[int, list[str]]:
    """Holds the database against what was sent and acknowledged: how many answers are as sent, and what is wrong."""
    wrong: list[str] = []
    sent = {id_: entry for client in clients for id_, entry in client.told.sent.items()}
    taken = {id_ for client in clients for id_ in client.told.taken}
    for client in clients:
        wrong += [f"{client.name}: {error}" for error in client.told.errors] + client.told.refused
        wrong += [f"{client.name}: never acknowledged: {entry['submission_id']}" for entry in client.outbox]
    with reading(engine) as session:
        labels: dict[int, dict[int, int]] = {}
        for annotation_id, index, label in session.execute(
            sa.select(StepLabel.annotation_id, StepLabel.step_index, StepLabel.label)
        ):
            labels.setdefault(annotation_id, {})[index] = label
        stored = session.scalars(sa.select(Annotation).where(Annotation.submission_id.is_not(None))).all()
        by_id = Counter(row.submission_id for row in stored)
        wrong += [f"acknowledged and lost: {id_}" for id_ in taken - by_id.keys()]
        wrong += [f"stored {count} times: {id_}" for id_, count in by_id.items() if count > 1]
        foreign = [row for row in stored if row.submission_id not in sent]
        if len(foreign) != n_of_browser:
            wrong.append(f"the browser submitted {n_of_browser} answers, {len(foreign)} are stored")
        n_found = 0
        for row in stored:
            entry = sent.get(row.submission_id or "")
            if entry and labels.get(row.annotation_id) != dict(enumerate(entry["labels"])):
                wrong.append(f"{row.submission_id}: other labels are stored than were sent")
            elif row.submission_id in taken:
                n_found += 1
        counted = sa.func.count(Annotation.annotation_id)
        current = sa.and_(Annotation.task_id == Task.task_id, Annotation.superseded_by_id.is_(None))
        tasks = session.execute(
            sa.select(Task.task_id, Task.is_open, Task.n_wanted, counted)
            .outerjoin(Annotation, current)
            .group_by(Task.task_id, Task.is_open, Task.n_wanted)
        ).all()
        wrong += [f"task {id_} has {count} answers of {n}" for id_, _, n, count in tasks if count > n]
        wrong += [
            f"task {id_}: open is {is_open} with {count} of {n}"
            for id_, is_open, n, count in tasks
            if is_open != (count < n)
        ]
        touched = set(
            session.scalars(sa.select(Claim.task_id).join(Task, Task.task_id == Claim.task_id).where(Task.is_open))
        )
    with writing(engine) as session:
        session.execute(sa.update(Claim).values(expires_at=utc_now(-1)))
    newcomer = create_account(engine, f"newcomer-{uuid.uuid4().hex[:6]}", password=PASSWORD)
    given = {task.task_id for task in claim_tasks(engine, newcomer, n=len(touched))}
    wrong += [f"task {id_} is stuck: open, and nobody is given it" for id_ in sorted(touched - given)]
    return n_found, wrong


def rows_of(run: Run) -> list[dict[str, Any]]:
    waits = [ms for told in run.told for ms in told.waits_ms if ms == ms] or [float("inf")]
    n_sent = sum(len(told.sent) for told in run.told)
    counts: Counter[str] = sum((told.n for told in run.told), Counter())
    where = (
        f"{run.n_annotators} annotators, {run.n_processes} process{'es' if run.n_processes > 1 else ''}, {run.kind}"
    )
    seconds = 60 * run.minutes
    print(f"{where}: {n_sent} answers, {dict(counts)}, {len(run.complaints)} complaints")
    for complaint in run.complaints[:20]:
        print(f"  {complaint}", file=sys.stderr)
    whole = f"{run.minutes:g} minutes, {n_sent} answers"
    rows = [
        result(
            f"{where}: answers acknowledged and found as sent",
            run.n_found,
            "answers",
            against=f"{whole}; all of them",
            peer=n_sent,
            better="higher",
        ),
        result(
            f"{where}: errors, answers astray, tasks beyond k or stuck",
            len(run.complaints),
            "found",
            against=f"{whole}; none",
            peer=0,
        ),
        result(
            f"{where}: submit to acknowledged, p50",
            quantile(waits, 0.5),
            "ms",
            against=f"limit {GOAL_MS} ms",
            peer=GOAL_MS,
        ),
        result(
            f"{where}: submit to acknowledged, p95",
            quantile(waits, 0.95),
            "ms",
            against=f"limit {GOAL_MS} ms",
            peer=GOAL_MS,
        ),
        result(f"{where}: CPU of the app", run.cpu_s / seconds, "cores", against="one core", peer=1.0),
        result(
            f"{where}: CPU of the app an answer",
            1000 * run.cpu_s / max(1, n_sent + len(run.next_ms)),
            "ms",
            against="one core, at one answer a second from each 20 annotators",
            peer=1000 / (run.n_annotators / 20),
        ),
        result(
            f"{where}: memory at the end",
            run.rss_last,
            "MB",
            against=f"after a minute: {run.rss_first:.0f} MB",
            peer=run.rss_first,
        ),
    ]
    if run.key_ms and run.next_ms:
        rows += [
            result(
                f"{where}: key to DOM in a browser among them, p95",
                quantile(run.key_ms, 0.95),
                "ms",
                against="goal 16 ms",
                peer=16,
            ),
            result(
                f"{where}: submit to next task in a browser among them, p95",
                quantile(run.next_ms, 0.95),
                "ms",
                against="goal 50 ms",
                peer=50,
            ),
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--annotators", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--database", default="SQLite", choices=("SQLite", "PostgreSQL"))
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--step-s", type=float, default=2.0, help="mean time for a step, of which a task has eight")
    parser.add_argument("--dry", action="store_true", help="print, and leave the results file as it is")
    chosen = parser.parse_args()
    habits = Habits(step_s=chosen.step_s)
    runs = [(chosen.database, chosen.annotators, chosen.minutes, chosen.processes)]
    if chosen.full:
        runs = [("SQLite", 50, 10.0, 1), ("PostgreSQL", 50, 10.0, 1), ("PostgreSQL", 50, 2.0, 2)]
    is_whole = True
    for kind, n, minutes, n_processes in runs:
        with databases([kind]) as urls:
            found = run(
                urls[kind], kind, n=n, minutes=minutes, n_processes=n_processes, n_tasks=chosen.tasks, habits=habits
            )
        write_results(rows_of(found), is_dry=chosen.dry)
        is_whole &= not found.complaints
    sys.exit(not is_whole)


if __name__ == "__main__":
    main()
