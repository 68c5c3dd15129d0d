"""How soon a key shows on the labelling page, beside the same task on a plain Streamlit page, in a real browser.

    python benchmarks/annotator/latency.py [--full] [--potato]

The real app as `stepmark annotate` starts it, on SQLite and on PostgreSQL, and `plain_page.py`, driven by the same
script in the same Chromium, one after the other:

- key to DOM: from the key's event to the end of the change it makes; key to frame: to the first frame after it;
- submit to next: from Enter to the next task's statement;
- bursts: ten keys 30 ms apart, which must land on their ten steps; what was stored is read from the database;
- the first two again on a solution of 300 steps, and on one of 100 KB of TeX.

`--potato` adds the step labels of potato (`process_reward`), installed from PyPI into a folder under build/: it
has no key for a step, so a step's button is focused by the script and pressed by Space; and one of its radio buttons
that has a key. Its next task is another page, timed from outside.

Short by default (two minutes); `--full` takes six. Writes its rows into benchmarks/results/annotator.json.
"""

import argparse
import itertools
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from lab import (
    ROOT,
    Task,
    add_made_tasks,
    app,
    browsing,
    databases,
    free_port,
    latex_task,
    plain_tasks,
    quantile,
    result,
    serving,
    write_results,
)
from playwright.sync_api import Browser, Page

from db.connect import open_database, reading
from db.models import Annotation, StepLabel

HERE = Path(__file__).parent
PROBE = (HERE / "probe.js").read_text()
OURS = (
    "() => `${document.querySelectorAll('.sm-card:not([data-label=none])').length}"
    "|${document.querySelector('.sm-statement')?.textContent}`"
)
PLAIN = (
    "() => `${(document.querySelector('.stMain')?.textContent.match(/labelled /g) ?? []).length}"
    "|${document.querySelector('.stMain strong')?.textContent}`"
)
LABELS = {"1": -1, "2": 0, "3": 1}
NAMES = {"bad": -1, "neutral": 0, "good": 1}
POTATO = {
    "annotation_task_name": "steps",
    "task_dir": ".",
    "output_annotation_dir": "out/",
    "output_annotation_format": "json",
    "data_files": ["items.jsonl"],
    "item_properties": {"id_key": "id", "text_key": "text"},
    "user_config": {"allow_all_users": True, "users": []},
    "require_password": False,
    "authentication": {"method": "in_memory"},
    "annotation_schemes": [
        {
            "annotation_type": "process_reward",
            "name": "steps",
            "description": "Rate every step.",
            "steps_key": "steps",
            "step_text_key": "action",
            "mode": "per_step",
            "allow_neutral": True,
        },
        {
            "annotation_type": "radio",
            "name": "verdict",
            "description": "Is the answer right?",
            "labels": ["wrong", "unsure", "right"],
            "sequential_key_binding": True,
        },
    ],
}
LONG_STEPS = 300
LATEX_STEPS = 40
THINK_S = 0.06
LIMIT_MS = 20_000
GOAL_KEY_MS = 16
GOAL_NEXT_MS = 50


@dataclass
class Times:
    """Milliseconds from the event."""

    dom: list[float] = field(default_factory=list)
    frame: list[float] = field(default_factory=list)

    def add(self, one: dict[str, float]) -> None:
        self.dom.append(one["dom"])
        self.frame.append(one["frame"])


@dataclass
class Measured:
    """One page's figures."""

    keys: Times = field(default_factory=Times)
    submits: Times = field(default_factory=Times)
    long_keys: Times = field(default_factory=Times)
    latex_keys: Times = field(default_factory=Times)
    n_bursts: int = 0
    n_right_bursts: int = 0


@contextmanager
def opened(browser: Browser, address: str, shown: str, ready: str) -> Iterator[Page]:
    """A page with the probe on it, once it shows its first task."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    page = context.new_page()
    page.add_init_script(PROBE)
    page.goto(address)
    page.wait_for_selector(ready, timeout=60_000)
    page.evaluate(f"stepmarkProbe.shown = {shown}")
    time.sleep(1)  # formulas and fonts
    yield page
    context.close()


def timed(page: Page, key: str, *, is_sure: bool = True) -> dict[str, float]:
    """Presses a key, and waits until what it changes is presented; one that is not sure to count, up to the limit."""
    page.evaluate("stepmarkProbe.arm()")
    page.keyboard.press(key)
    limit = f"new Promise((settle) => setTimeout(settle, {LIMIT_MS}, 'late'))"
    if page.evaluate(f"Promise.race([stepmarkProbe.wait, {limit}])") == "late":
        assert not is_sure, f"{key} has had no effect for {LIMIT_MS} ms"
        return {"dom": LIMIT_MS, "frame": LIMIT_MS}
    found: dict[str, float] = page.evaluate("stepmarkProbe.done.at(-1)")
    time.sleep(THINK_S)
    return found


def label_and_submit(page: Page, measured: Measured, n_tasks: int, n_steps: int, drawn: random.Random) -> list[str]:
    """Labels tasks step by step, timing each key; returns the keys by task."""
    pressed = []
    for _ in range(n_tasks):
        keys = "".join(drawn.choices("123", k=n_steps))
        for key in keys:
            measured.keys.add(timed(page, key))
        pressed.append(keys)
        measured.submits.add(timed(page, "Enter"))
    return pressed


def bursts(page: Page, n: int, n_steps: int, drawn: random.Random) -> list[str]:
    """Labels tasks by keys 30 ms apart, and submits; returns the keys by task."""
    pressed = []
    for _ in range(n):
        keys = "".join(drawn.choices("123", k=n_steps))
        began = time.perf_counter()
        for index, key in enumerate(keys):
            time.sleep(max(0.0, began + 0.03 * index - time.perf_counter()))
            page.keyboard.press(key)
        time.sleep(1)
        timed(page, "Enter")
        time.sleep(0.2)
        pressed.append(keys)
    return pressed


def run_page(
    browser: Browser, address: str, shown: str, ready: str, tasks: "Tasks", measured: Measured, *, n_keys_of_long: int
) -> list[str]:
    """The whole script on one page, whose tasks are those of `tasks`; returns the keys of the tasks of ten steps."""
    drawn = random.Random(7)
    with opened(browser, address, shown, ready) as page:
        timed(page, "3")  # the first key of a page compiles what the others run
        pressed = ["3" + "".join(drawn.choices("123", k=tasks.n_steps - 1))]
        for key in pressed[0][1:]:
            timed(page, key)
        timed(page, "Enter")
        pressed += label_and_submit(page, measured, tasks.n_plain, tasks.n_steps, drawn)
        pressed += bursts(page, tasks.n_bursts, tasks.n_steps, drawn)
        for times in (measured.long_keys, measured.latex_keys):
            time.sleep(1)
            n = int(page.evaluate("(() => stepmarkProbe.shown())()").partition("|")[0])
            assert n == 0, n
            n_steps = LONG_STEPS if times is measured.long_keys else LATEX_STEPS
            for _ in range(min(n_keys_of_long, n_steps - 5)):
                times.add(timed(page, "3", is_sure=shown == OURS))
            leave(page, shown)
    return pressed


def leave(page: Page, shown: str) -> None:
    """Ends a long task early: on our page the rest is good; the plain page takes any answer."""
    if shown == OURS:
        page.keyboard.press("g")
        time.sleep(0.5)
    page.keyboard.press("Enter")
    time.sleep(2)


@dataclass(frozen=True)
class Tasks:
    """What is labelled, in order: one to warm up, some by key, some in bursts, a long one, one of TeX, one spare."""

    n_plain: int
    n_bursts: int
    n_steps: int = 10

    def all(self) -> list[Task]:
        short = plain_tasks(1 + self.n_plain + self.n_bursts, n_steps=self.n_steps)
        return [
            *short,
            *plain_tasks(1, n_steps=LONG_STEPS, first=9_000),
            latex_task(100_000, n_steps=LATEX_STEPS),
            *plain_tasks(3, first=9_900),
        ]


def check_ours(engine: sa.Engine, pressed: Sequence[str], tasks: Tasks) -> int:
    """Compares every stored label with the key that made it; returns how many bursts are right."""
    with reading(engine) as session:
        found: dict[int, list[int]] = {}
        rows = session.execute(
            sa.select(Annotation.task_id, StepLabel.step_index, StepLabel.label)
            .join(StepLabel, StepLabel.annotation_id == Annotation.annotation_id)
            .where(Annotation.task_id.is_not(None))
            .order_by(Annotation.task_id, StepLabel.step_index)
        )
        for task_id, group in itertools.groupby(rows, key=lambda row: row[0]):
            found[task_id] = [label for _, _, label in group]
    stored = [found[task_id] for task_id in sorted(found)][: len(pressed)]
    are_right = [labels == [LABELS[key] for key in keys] for keys, labels in zip(pressed, stored, strict=True)]
    n_timed = len(pressed) - tasks.n_bursts
    assert all(are_right[:n_timed]), "a label that was timed is not the one that was stored"
    return sum(are_right[n_timed:])


def measure_ours(browser: Browser, url: str, folder: Path, tasks: Tasks, n_keys_of_long: int) -> Measured:
    measured = Measured(n_bursts=tasks.n_bursts)
    engine = open_database(url, create=True)
    add_made_tasks(engine, tasks.all(), name="latency")
    with app(url, folder) as server:
        pressed = run_page(browser, server.address, OURS, ".sm-card", tasks, measured, n_keys_of_long=n_keys_of_long)
        time.sleep(1)
    measured.n_right_bursts = check_ours(engine, pressed, tasks)
    engine.dispose()
    return measured


def measure_plain(browser: Browser, folder: Path, tasks: Tasks) -> Measured:
    measured = Measured(n_bursts=tasks.n_bursts)
    (folder / "tasks.json").write_text(json.dumps(tasks.all()))
    port, database = free_port(), folder / "plain.db"
    command = [sys.executable, "-m", "streamlit", "run", str(HERE / "plain_page.py"), "--server.port", str(port)]
    command += ["--server.headless", "true", "--server.address", "127.0.0.1", "--browser.gatherUsageStats", "false"]
    environment = {"STEPMARK_BENCH_TASKS": str(folder / "tasks.json"), "STEPMARK_BENCH_DB": str(database)}
    with serving(command, port, "/_stcore/health", folder, **environment) as server:
        pressed = run_page(browser, server.address, PLAIN, ".stMain strong", tasks, measured, n_keys_of_long=10)
    with sqlite3.connect(database) as connection:
        stored = [json.loads(labels) for (labels,) in connection.execute("SELECT labels FROM answers ORDER BY task")]
    names = {"1": "bad", "2": "neutral", "3": "good"}
    are_right = [labels == [names[key] for key in keys] for keys, labels in zip(pressed, stored, strict=False)]
    measured.n_right_bursts = sum(are_right[-tasks.n_bursts :])
    return measured


def measure_potato(browser: Browser, folder: Path, n_tasks: int, n_steps: int = 10) -> Measured:
    """Potato with the same tasks; `keys` are its step buttons, `long_keys` its radio buttons by key."""
    home = ROOT / "build" / "peers" / "potato"
    if not (home / "bin" / "potato").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "python"), "-m", "pip", "install", "-q", "potato-annotation"], check=True)
    with (folder / "items.jsonl").open("w") as file:
        for number, (statement, steps) in enumerate(plain_tasks(n_tasks + 1, n_steps=n_steps)):
            item = {"id": f"item-{number}", "text": statement, "steps": [{"action": step} for step in steps]}
            file.write(json.dumps(item) + "\n")
    (folder / "potato.yaml").write_text(json.dumps(POTATO))
    port, measured = free_port(), Measured()
    command = [str(home / "bin" / "potato"), "start", str(folder / "potato.yaml"), "-p", str(port)]
    with serving(command, port, "/", folder) as server:
        context = browser.new_context(viewport={"width": 1360, "height": 900})
        page = context.new_page()
        page.add_init_script(PROBE)
        page.goto(server.address)
        page.fill("#login-email", "annotator-1")
        page.keyboard.press("Enter")
        for number in range(1, n_tasks + 1):
            page.wait_for_selector(f"text=Problem {number}:")
            page.wait_for_selector(".prm-btn")
            page.evaluate("stepmarkProbe.shown = () => document.querySelectorAll('.prm-btn.selected').length")
            time.sleep(1)
            for step in range(n_steps):
                page.locator(".prm-btn-correct").nth(step).focus()
                measured.keys.add(timed(page, " "))
            page.evaluate("document.activeElement.blur()")
            page.evaluate("stepmarkProbe.shown = () => document.querySelector('input.verdict:checked')?.value")
            for key in "123":
                measured.long_keys.add(timed(page, key))
            time.sleep(1)
            began = time.perf_counter()
            page.keyboard.press("ArrowRight")
            page.wait_for_selector(f"text=Problem {number + 1}:")
            measured.submits.dom.append(1000 * (time.perf_counter() - began))
        context.close()
    return measured


def rows_of_potato(ours: Measured, potato: Measured) -> list[dict[str, Any]]:
    """Ours beside potato, in the same run."""
    return [
        result(
            f"{what}, beside potato, {label}",
            quantile(times, share),
            "ms",
            against=f"potato, {how}: {quantile(others, share):.1f} ms",
            peer=quantile(others, share),
        )
        for what, times, others, how in (
            ("key to DOM, 10 steps", ours.keys.dom, potato.keys.dom, "Space on a step's focused button"),
            ("key to DOM, 10 steps, one choice by key", ours.keys.dom, potato.long_keys.dom, "a radio button's key"),
            ("key to frame, 10 steps", ours.keys.frame, potato.keys.frame, "Space on a step's focused button"),
            ("submit to next task", ours.submits.dom, potato.submits.dom, "arrow key to the next page"),
        )
        for share, label in ((0.5, "p50"), (0.95, "p95"))
    ]


def rows_of(name: str, ours: Measured, plain: Measured) -> list[dict[str, Any]]:
    """Rows of one database, beside the plain page."""
    rows = []
    for what, times, others, goal in (
        ("key to DOM, 10 steps", ours.keys.dom, plain.keys.dom, GOAL_KEY_MS),
        ("key to frame, 10 steps", ours.keys.frame, plain.keys.frame, None),
        ("submit to next task", ours.submits.dom, plain.submits.dom, GOAL_NEXT_MS),
        ("submit to frame of next task", ours.submits.frame, plain.submits.frame, None),
        ("key to DOM, 300 steps", ours.long_keys.dom, plain.long_keys.dom, GOAL_KEY_MS),
        ("key to frame, 300 steps", ours.long_keys.frame, plain.long_keys.frame, None),
        ("key to DOM, 100 KB of TeX", ours.latex_keys.dom, plain.latex_keys.dom, GOAL_KEY_MS),
        ("key to frame, 100 KB of TeX", ours.latex_keys.frame, plain.latex_keys.frame, None),
    ):
        for share, label in ((0.5, "p50"), (0.95, "p95")):
            peer = quantile(others, share)
            against = f"plain Streamlit page: {peer:.1f} ms" + (f"; goal {goal} ms" if goal and share > 0.9 else "")
            rows.append(result(f"{what}, {name}, {label}", quantile(times, share), "ms", against=against, peer=peer))
    rows.append(
        result(
            f"bursts of 10 keys at 30 ms that land on their 10 steps, {name}",
            ours.n_right_bursts,
            f"of {ours.n_bursts}",
            against=f"all; plain Streamlit page: {plain.n_right_bursts} of {plain.n_bursts}",
            peer=ours.n_bursts,
            better="higher",
        )
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--potato", action="store_true", help="measure potato too")
    parser.add_argument("--databases", nargs="+", default=["SQLite", "PostgreSQL"])
    parser.add_argument("--dry", action="store_true", help="print, and leave the results file as it is")
    chosen = parser.parse_args()
    tasks = Tasks(n_plain=30, n_bursts=20) if chosen.full else Tasks(n_plain=4, n_bursts=3)
    n_keys_of_long = 250 if chosen.full else 30
    rows = []
    with tempfile.TemporaryDirectory() as name, databases(chosen.databases) as urls, browsing() as browser:
        plain = measure_plain(browser, Path(name), Tasks(n_plain=5, n_bursts=tasks.n_bursts))
        for kind, url in urls.items():
            ours = measure_ours(browser, url, Path(name), tasks, n_keys_of_long)
            rows += rows_of(kind, ours, plain)
        if chosen.potato:
            rows += rows_of_potato(ours, measure_potato(browser, Path(name), 3 if not chosen.full else 20))
    write_results(rows, is_dry=chosen.dry)


if __name__ == "__main__":
    main()
