"""The way of one label: real solutions imported, queued, labelled in a browser by keys, exported, all by commands."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import expect

from db.connect import reading
from db.models import Annotator

from .conftest import ROOT, Lab
from .test_labelling import go_on, press

DATA = ROOT / "examples" / "data"
SOLUTIONS = DATA / "gsm8k_model_solutions" / "example_model_solutions.jsonl"
DRAWN = ("--limit", "20", "--seed", "190")
"""Draws the ducks' solution by 6b_verification first, wrong in step 2; then a right one about sheep."""


def stepmark(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stepmark", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def answer(*arguments: str | Path) -> Any:
    """What a command prints as JSON; it must succeed."""
    done = stepmark(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of all splits."""
    files = sorted((folder / "prm").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.timeout(180)
def test_what_a_person_labels_by_keys_is_what_the_exported_set_says(tmp_path: Path, watch: Any) -> None:
    lab = Lab(tmp_path)
    database = ("--db", lab.url)
    (tests,) = answer("import", "gsm8k", DATA / "gsm8k" / "test.jsonl", *database)["files"]
    (solutions,) = answer("import", "gsm8k-model-solutions", SOLUTIONS, *database)["files"]
    assert tests["stored"]["problems"] > 0
    assert solutions["stored"]["solutions"] == 96
    added = answer("queue", "add", "--source", "gsm8k-model-solutions", *DRAWN, *database)
    assert (added["read"], added["kept"]) == (20, 20)
    answer("verify", *database)
    nothing = stepmark("export", "prm", "--out", tmp_path / "sets", *database)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "there is no row to export" in nothing.stderr

    lab.start()
    watched = watch(lab)
    page = watched.open()
    expect(page.locator(".sm-problem")).to_contain_text("Janet’s ducks lay 16 eggs per day")
    expect(page.locator(".sm-card").nth(1)).to_contain_text("16 * 7 = 112 eggs")
    press(page, "3", "1", "Enter")  # good, bad, send
    go_on(page)
    expect(page.locator(".sm-problem")).to_contain_text("Charleston has 4 times as many sheep")
    press(page, "g", "Enter")  # all good, send
    go_on(page)
    expect(page.locator(".sm-problem")).not_to_contain_text("Charleston")
    lab.wait_for(2)
    (state,) = answer("queue", "show", *database)
    assert (state["n_open"], state["n_closed"]) == (18, 2)
    watched.is_server_down = True
    lab.kill()

    report = answer("export", "prm", "--out", tmp_path / "sets", "--source", "gsm8k-model-solutions", *database)
    assert (report["n_read"], report["n_kept"], report["dropped"]) == (2, 2, {})
    given = [json.loads(line) for line in SOLUTIONS.read_text(encoding="utf-8").splitlines()]
    ducks, sheep = given[0]["question"], given[4]["question"]
    assert sorted(rows_of(tmp_path / "sets"), key=lambda row: len(row["labels"])) == [
        {
            "prompt": ducks,
            "completions": [
                "Step 1: She eats three for breakfast and bakes 4 muffins every day so she eats 3 + 4 = 7 meals",
                "Step 2: The ducks lay 16 eggs a day and she eats 7 meals a day for a total of 16 * 7 = 112 eggs",
            ],
            "labels": [True, False],
        },
        {
            "prompt": sheep,
            "completions": [
                "Step 1: Charleston has 4*20=80 sheep.",
                "Step 2: Toulouse has 80*2=160 sheep.",
                "Step 3: So, Toulouse, Charleston, and Seattle have 160+80+20=260 sheep",
                "# Answer\n\n260",
            ],
            "labels": [True, True, True, True],  # the last is the verifier's outcome
        },
    ]
    with reading(lab.engine) as session:
        labellers = [tuple(row) for row in session.execute(sa.select(Annotator.name, Annotator.kind))]
    assert labellers == [("annotator-1", "person")]
    by_person = ("--annotator", "annotator-1", "--annotator-kind", "person")
    assert answer("export", "prm", "--out", tmp_path / "person", *by_person, *database)["n_kept"] == 2
    by_program = stepmark("export", "prm", "--out", tmp_path / "program", "--annotator-kind", "program", *database)
    assert by_program.returncode == 2
    lab.engine.dispose()
