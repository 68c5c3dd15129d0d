"""A real server, a real browser: the app as `stepmark annotate` starts it, and pages that report every oddity."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from db.connect import open_database, reading, writing
from db.models import Annotation, Claim, Problem, ProblemSource, Solution, StepLabel, Task
from db.tasks import add_tasks

from .stage import Stage, watched

ROOT = Path(__file__).parents[2]

expect.set_options(timeout=20_000)  # of a machine with other work; what comes soon is not waited for
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class Item:
    """A problem with one solution, to be labelled."""

    statement: str
    reference_answer: str | None
    steps: Sequence[str]
    answer: str | None
    source: str = "gsm8k/test"


class Lab:
    """The app on a database of its own; tests put tasks in and read labels out."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'stepmark.db'}"
        self.engine = open_database(self.url, create=True)
        self.log = folder / "server.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.server = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "stepmark",
                    "annotate",
                    "--no-browser",
                    "--db",
                    self.url,
                    "--port",
                    str(self.port),
                ],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self.server.poll() is None, self.log.read_text()
            try:
                with urllib.request.urlopen(f"{self.address}/stepmark/health", timeout=5) as answer:
                    assert answer.status == 200
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise AssertionError(f"the server did not answer: {self.log.read_text()}")

    def kill(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGKILL)
            self.server.wait(timeout=30)
            self.server = None

    def queue(self, *items: Item, mode: str = "first_error") -> None:
        """Makes these the only tasks there are to do, in this order."""
        with writing(self.engine) as session:
            session.execute(sa.update(Task).values(is_open=False))
            session.execute(sa.delete(Claim))
            first = (session.scalar(sa.select(sa.func.max(Solution.solution_id))) or 0) + 1
            for key, item in enumerate(items, start=first):
                problem = Problem(
                    statement_hash=f"{key:032x}",
                    family=f"{key:032x}",
                    statement=item.statement,
                    reference_answer=item.reference_answer,
                )
                session.add(problem)
                session.flush()
                session.add(ProblemSource(problem_id=problem.problem_id, source=item.source, source_key=str(key)))
                session.add(
                    Solution(
                        solution_id=key,
                        problem_id=problem.problem_id,
                        source="test",
                        source_key=str(key),
                        text="\n".join(item.steps),
                        text_hash=f"{key:032x}",
                        steps=list(item.steps),
                        answer=item.answer,
                    )
                )
        add_tasks(self.engine, [(first + index, 0.0) for index in range(len(items))], mode=mode, reason="test")

    def annotations(self) -> list[tuple[Annotation, dict[int, int]]]:
        """Current answers to the tasks queued last, in the order of the tasks, with their labels by step."""
        with reading(self.engine) as session:
            newest = sa.select(Claim.task_id)
            rows = session.scalars(
                sa.select(Annotation)
                .where(Annotation.task_id.in_(newest), Annotation.superseded_by_id.is_(None))
                .order_by(Annotation.task_id)
            ).all()
            return [
                (
                    row,
                    {
                        label.step_index: label.label
                        for label in session.scalars(
                            sa.select(StepLabel).where(StepLabel.annotation_id == row.annotation_id)
                        )
                    },
                )
                for row in rows
            ]

    def wait_for(self, n: int, *, timeout_s: float = 20.0) -> list[tuple[Annotation, dict[int, int]]]:
        """Waits until `n` tasks are answered."""
        end = time.monotonic() + timeout_s
        while len(found := self.annotations()) < n:
            assert time.monotonic() < end, f"{len(found)} of {n} answers arrived"
            time.sleep(0.05)
        return found


@pytest.fixture(scope="session")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.start()
    yield lab
    lab.kill()
    lab.engine.dispose()


@pytest.fixture
def lab(running_lab: Lab) -> Lab:
    """The shared server, with nothing left to do from the test before."""
    running_lab.queue()
    return running_lab


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        executable = CHROMIUM if shutil.which(CHROMIUM) else None
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield chromium
        chromium.close()


@dataclass
class Watched:
    """A page, and everything about it that should not happen."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    is_server_down: bool = False
    """While it is, errors of the connection are what they should be."""

    def open(self, path: str = "", *, wait_for: str = ".sm-card") -> Page:
        self.page.goto(self.address + path)
        self.page.wait_for_selector(wait_for, timeout=30_000)
        return self.page


@pytest.fixture
def watch(browser: Browser) -> Iterator[Any]:
    """Opens watched pages: `watch(lab, color_scheme="dark", ...)`; at the end nothing may have been complained of."""
    with watching(browser) as open_page:
        yield open_page


@contextmanager
def watching(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """The same for pages that live as long as several tests."""
    opened: list[tuple[BrowserContext, Watched]] = []

    def open_page(lab: Lab, **options: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1360, "height": 900}, **options})
        watched = Watched(context.new_page(), lab.address)

        def on_console(message: Any) -> None:
            if message.type in ("error", "warning") and not watched.is_server_down:
                watched.complaints.append(f"console {message.type}: {message.text}")

        def on_request(request: Any) -> None:
            if not request.url.startswith((lab.address, f"ws://127.0.0.1:{lab.port}", "blob:", "data:")):
                watched.complaints.append(f"outside request: {request.url}")

        watched.page.on("console", on_console)
        watched.page.on("pageerror", lambda error: watched.complaints.append(f"page error: {error}"))
        watched.page.on("dialog", lambda dialog: watched.complaints.append(f"dialog: {dialog.message}"))
        watched.page.on("websocket", on_request)
        context.on("request", on_request)
        opened.append((context, watched))
        return watched

    yield open_page
    for context, one in opened:
        context.close()
        assert one.complaints == []


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """The surface alone, on a server of its own."""
    found = Stage()
    yield found
    found.close()


@pytest.fixture
def page(browser: Browser, stage: Stage) -> Iterator[Page]:
    """A page for the surface alone, on which nothing may go wrong."""
    yield from watched(browser, stage)
