"""The command line as a whole: help for everything, light imports, and what each way of ending looks like."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from db.connect import open_database
from stepmark.cli.main import app, main
from tests.completion_server import CompletionServer, Fault

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "streamlit", "sqlalchemy", "pyarrow", "matplotlib", "datasets", "numpy")


def _commands() -> Iterator[tuple[str, Any]]:
    """Every command and every group of them below `stepmark`, as it is typed."""
    waiting: list[tuple[str, Any]] = [("stepmark", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop(0)
        waiting += [(f"{name} {sub}", found) for sub, found in getattr(command, "commands", {}).items()]
        yield name, command


COMMANDS = dict(_commands())
LEAVES = [name for name, command in COMMANDS.items() if not hasattr(command, "commands")]


def _run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Runs `stepmark ARGUMENTS` in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["stepmark", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert isinstance(exit_.value.code, int)
    printed = capsys.readouterr()
    return exit_.value.code, printed.out, printed.err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    first = COMMANDS[name].help.strip().splitlines()[0]
    assert re.fullmatch(r"[A-Z][^\n]+\.", first), first


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_says_what_it_means(name: str) -> None:
    silent = [
        p.name for p in COMMANDS[name].params if p.name != "help" and not (getattr(p, "help", None) or "").strip()
    ]
    assert silent == []


def test_every_command_stands_in_the_readme_or_the_docs() -> None:
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    text = " ".join("\n".join(file.read_text(encoding="utf-8") for file in files if file.exists()).split())
    assert [name for name in LEAVES if not re.search(rf"\b{re.escape(name)}\b", text)] == []


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import json, sys
from stepmark.cli import main
for name in {LEAVES!r} + ["stepmark"]:
    sys.argv = [*name.split(), "--help"]
    try:
        main()
    except SystemExit as exit_:
        assert exit_.code == 0, name
print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stderr) == []
    assert "best-of-n" in done.stdout


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with one problem, in a file."""
    url = f"sqlite:///{tmp_path / 'stepmark.db'}"
    engine = open_database(url, create=True)
    engine.dispose()
    return url


MISTAKES = {
    "an unknown kind of database": (["verify", "--db", "mongodb://host/name"], "'mongodb' is not supported"),
    "no database URL": (["verify", "--db", "nonsense"], "'nonsense' is not a database URL"),
    "a database that is not there": (["db", "status", "--db", "sqlite:///{tmp}/nowhere.db"], "there is no database"),
    "a folder that is not there": (["db", "upgrade", "--db", "sqlite:///{tmp}/nowhere/x.db"], "does not exist"),
    "a server that is not there": (["db", "status", "--db", "postgresql://u@127.0.0.1:9/x"], "cannot open"),
    "a file that is no database": (["db", "status", "--db", "sqlite:///{tmp}/file"], "is not a database"),
    "an unknown format": (["import", "nonsense", "{tmp}/file", "--db", "{url}"], "'nonsense' is no format"),
    "a file that is not there": (["import", "gsm8k", "{tmp}/nowhere.jsonl", "--db", "{url}"], "cannot read"),
    "a file of another format": (["import", "gsm8k", "{tmp}/file", "--db", "{url}"], "line 1"),
    "an unknown source": (
        ["queue", "add", "--source", "nowhere", "--db", "{url}"],
        "no source is named like 'nowhere'",
    ),
    "nothing to export": (["export", "prm", "--out", "{tmp}/sets", "--db", "{url}"], "there is no row to export"),
    "a share that is no number": (
        ["export", "orm", "--out", "{tmp}/sets", "--split", "a=b", "--db", "{url}"],
        "'a=b'",
    ),
    "an export into a file": (["export", "orm", "--out", "{tmp}/file", "--db", "{url}"], "is a file"),
    "an unknown engine": (
        ["generate", "solutions", "--model", "m", "--engine", "no", "--db", "{url}"],
        "engine 'no'",
    ),
    "a prompt that is not there": (
        ["generate", "solutions", "--model", "m", "--prompt", "no", "--db", "{url}"],
        "'no'",
    ),
    "a page for everybody": (
        ["annotate", "--host", "0.0.0.0", "--db", "{url}"],
        "'0.0.0.0' is every address of this machine; say by which one people reach the app: --public-url",
    ),
    "a model that is not there": (["score", "--model", "{tmp}/nowhere", "--db", "{url}"], "no finished reward model"),
    "a set that is not there": (
        ["train", "orm", "--data", "{tmp}", "--model", "m", "--out", "{tmp}/m"],
        "export one",
    ),
    "nothing to audit on": (["audit", "m"], "say what to audit on: --data SET, or --source NAME"),
    "a benchmark without rows": (
        ["evaluate", "processbench", "--model", "m"],
        "name files of ProcessBench, or a --source",
    ),
    "a server without its address": (
        ["score", "--model", "m", "--engine", "vllm-server", "--db", "{url}"],
        "--engine vllm-server needs --base-url URL",
    ),
    "no critique to measure": (["evaluate", "critic", "--db", "{url}"], "then `stepmark verify`"),
    "nothing to evaluate": (
        ["evaluate", "best-of-n", "--out", "{tmp}/e", "--db", "{url}"],
        "there are no solutions; run",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line_and_exits_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    url: str,
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "file").write_text("Neither JSON nor SQLite.\n" * 100)
    filled = [argument.format(tmp=tmp_path, url=url) for argument in arguments]
    code, out, err = _run(monkeypatch, capsys, *filled)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"stepmark: [^\n]+\n", err), err
    assert message in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["verify", "--nonsense"],
        ["queue", "add", "--limit", "0"],
        ["export", "prm"],
        ["demo", "--out", "{file}"],
        ["train", "orm", "--data", "{folder}", "--model", "m", "--out", "{file}"],
        ["evaluate", "best-of-n", "--out", "{file}"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_cannot_be_read_exits_2_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "file").touch()
    filled = [argument.format(file=tmp_path / "file", folder=tmp_path) for argument in arguments]
    code, out, err = _run(monkeypatch, capsys, *filled)
    assert (code, out) == (2, "")
    assert "Usage: " in err
    assert "Traceback" not in err


def test_a_job_that_fails_says_so_and_exits_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, url: str
) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps({"problem": "How much is 1 + 1?", "answer": "2"}) + "\n")
    assert _run(monkeypatch, capsys, "import", "problems", str(problems), "--db", url)[0] == 0
    with CompletionServer(fault=lambda number, body: Fault(status=401)) as server:
        code, _, err = _run(
            monkeypatch, capsys, "generate", "solutions", "--model", "m", "--base-url", server.base_url, "--db", url
        )
    assert code == 1
    assert err.startswith("stepmark: ")
    assert "401" in err
    assert "Traceback" not in err


def test_ctrl_c_exits_130_without_a_traceback_and_stores_nothing_by_halves(tmp_path: Path, url: str) -> None:
    pipe = tmp_path / "problems.jsonl"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "stepmark", "import", "problems", str(pipe), "--db", url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pipe.open("w") as rows:  # waits until the command reads
        rows.write(json.dumps({"problem": "How much is 1 + 1?", "answer": "2"}) + "\n")
        rows.flush()
        time.sleep(0.5)  # the command waits for the next row
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    assert "Traceback" not in err
    done = subprocess.run(
        [sys.executable, "-m", "stepmark", "db", "status", "--json", "--db", url],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["rows"]["problems"] == 0


def test_a_reader_that_goes_away_ends_the_command_quietly(url: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "stepmark", "db", "status", "--db", url]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
