"""Solutions that are programs, run with the tests of their problem in the sandbox."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from db.connect import reading, writing
from db.models import Problem, Solution
from db.solutions import add_solutions
from exports.queries.importing import default_options, import_file
from exports.queries.sources import FORMATS
from stepmark import sandbox as sandbox_module
from stepmark.answers import Comparison, verify_program
from stepmark.answers.programs import Program, extract_program
from stepmark.flows.verify import verify_solutions
from stepmark.records import SolutionRecord
from stepmark.sandbox import SandboxLimits

ROOT = Path(__file__).resolve().parents[2]
TESTS = "assert double(2) == 4\nassert double(-3) == -6"
RIGHT = "def double(n):\n    return 2 * n"
WRONG = "def double(n):\n    return n * n"
"""Right for 2, wrong for -3."""


def _block(source: str) -> str:
    return f"I double it.\n```python\n{source}\n```\nThat is all."


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    ("text", "result", "rule"),
    [
        (_block(RIGHT), "correct", "tests"),
        (RIGHT, "correct", "tests"),
        (_block(WRONG) + "\nNo:\n" + _block(RIGHT), "correct", "tests"),
        (_block(RIGHT) + "\nIt prints:\n```\n4\n```", "correct", "tests"),
        (f"```\n{RIGHT}\n```", "correct", "tests"),
        (f"  ```Python\n{RIGHT}", "correct", "tests"),
        (_block(RIGHT + "\nif __name__ == '__main__':\n    print(double(1))"), "correct", "tests"),
        (
            _block("from dataclasses import dataclass\n@dataclass\nclass A:\n    n: 'int'\n" + RIGHT),
            "correct",
            "tests",
        ),
        (_block(RIGHT + "\nprint('x' * 1000)\nprint('passed')"), "correct", "tests"),
        (_block(WRONG), "incorrect", "tests"),
        (_block("x = 1"), "incorrect", "tests"),
        (_block("def double(n):\n    raise SystemError"), "incorrect", "tests"),
        (_block("1 / 0\n" + RIGHT), "incorrect", "error"),
        (_block("input()\n" + RIGHT), "incorrect", "error"),
        (_block("def double(n) return"), "incorrect", "syntax"),
        (_block("a = '\ud800'"), "incorrect", "syntax"),
        (_block("a\x00b"), "incorrect", "syntax"),
        ("The answer is four, I am sure.", "unparsable", "no_program"),
        ("", "unparsable", "no_program"),
        ("```python\n```", "unparsable", "no_program"),
        (_block("while True: pass"), "limit", "time"),
        (_block("a = bytearray(10 << 30)"), "limit", "memory"),
        (_block("def double(n):\n    return bytearray(10 << 30)"), "limit", "memory"),
        (_block("while True: print('x' * 1000)"), "limit", "output"),
        (_block("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"), "limit", "killed"),
    ],
)
def test_a_program_has_the_outcome_of_its_tests(text: str, result: str, rule: str) -> None:
    assert verify_program(text, TESTS, limits=SandboxLimits(time_s=3.0)) == Comparison(result, rule)  # type: ignore[arg-type]


CHEATS = {
    "exit": "import sys\nsys.exit(0)",
    "exit without a name": "raise SystemExit",
    "exit function": "exit()",
    "leave at once": "import os\nos._exit(0)",
    "exit when called": "import sys\ndef double(n):\n    sys.exit(0)",
    "leave when called": "import os\ndef double(n):\n    os._exit(0)",
    "print a verdict": "import os\nprint('passed')\nos._exit(0)",
    "write a verdict to every file": """
import os
for n in range(64):
    try:
        os.write(n, b'\\npassed\\n')
    except OSError:
        pass
os._exit(0)""",
    "print the own source": "import os\nprint(open('/program.py').read(), flush=True)\nos._exit(0)",
    "print the frames": """
import os, sys
frame = sys._getframe()
while frame:
    print(frame.f_locals, 'passed')
    frame = frame.f_back
sys.stdout.flush()
os._exit(0)""",
    "print all that stands in memory": """
import gc, os
for each in gc.get_objects():
    if isinstance(each, (dict, list, tuple)) and len(str(each)) < 500:
        print(each)
print('passed', flush=True)
os._exit(0)""",
    "at exit": "import atexit, os\natexit.register(lambda: os._exit(0))\natexit.register(print, 'passed')",
    "replace print": "import builtins, sys\nbuiltins.print = lambda *_: None\nsys.stdout = sys.stderr\n",
    "replace exec": "import builtins\nbuiltins.exec = lambda *_: None\nbuiltins.vars = lambda *_: {}",
    "replace the error": "import builtins\nbuiltins.AssertionError = type('Nothing', (BaseException,), {})",
    "replace the writer": "import os\nos.write = lambda *_: 0\nos.pread = lambda *_: b''\nos._exit = lambda *_: None",
    "swallow with a hook": "import sys\nsys.excepthook = print\ndef double(n):\n    raise KeyboardInterrupt",
    "read the input": "import os, sys\nprint(sys.stdin.read(), 'passed', flush=True)\nos._exit(0)",
    "jump over the tests": """
import sys
def trace(frame, event, _):
    frame.f_trace = trace
    if frame.f_code.co_filename == '<tests>' and event == 'line':
        try:
            frame.f_lineno = 2
        except ValueError:
            pass
    return trace
sys.settrace(trace)""",
}


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("cheat", CHEATS.values(), ids=list(CHEATS))
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_program_that_cheats_plainly_does_not_pass(cheat: str, place: str) -> None:
    source = f"{cheat}\n{WRONG}" if place == "before" else f"{WRONG}\n{cheat}"
    assert verify_program(_block(source), TESTS).result == "incorrect"


@pytest.mark.usefixtures("sandbox")
def test_tests_that_cannot_be_read_say_nothing_about_the_program() -> None:
    assert verify_program(RIGHT, "assert (") == Comparison("unparsable", "tests_unreadable")


_TEXTS = st.text("ab \t\n=:é#~", max_size=40)


@given(st.text("ab \t\n`=:é#~", max_size=40), _TEXTS, _TEXTS)
def test_a_marked_block_is_found_whatever_stands_around_it(before: str, source: str, after: str) -> None:
    text = f"{before}\n```\nx\n```\n```python\n{source}\n```\n{after}"
    if "```" not in before:
        assert extract_program(text) == Program(source + "\n", is_fenced=True)


ROWS = [
    {"question": "Write double(n), twice n.", "tests": TESTS.splitlines(), "task_id": 1},
    {"question": "Write half(n), half of n.", "tests": "assert half(4) == 2"},
    {"question": "What is 2 * 2?", "answer": "4"},
    {"question": "What is 3 * 2?", "tests": None, "answer": "6"},
    {"question": "What is 4 * 2?", "tests": 8},
]


SOLUTIONS = {
    # text: (what its source says, the outcome that must be found, by which rule)
    _block(RIGHT): (True, True, "tests"),
    _block(WRONG): (True, False, "tests"),
    "I give up.": (False, None, "no_program"),
}


def _fill(database: sa.Engine, folder: Path) -> None:
    file = folder / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    found = FORMATS["problems"]
    report = import_file(database, found, file, options=default_options(found, file), skip_bad=True)
    assert (report.n_kept, dict(report.dropped)) == (4, {"wrong_type": 1})
    with writing(database) as session:
        problem_ids = session.scalars(sa.select(Problem.problem_id).order_by(Problem.problem_id)).all()
        records = [
            SolutionRecord("test", str(n), text, steps=("I double it.",), extra={"is_correct": said})
            for n, (text, (said, _, _)) in enumerate(SOLUTIONS.items())
        ]
        records.append(SolutionRecord("test", "value", "It is 4.", steps=("It is 4.",), answer="4"))
        add_solutions(
            session,
            records,
            problem_ids=[problem_ids[0]] * len(SOLUTIONS) + [problem_ids[2]],
            text_hashes=[f"{n:032d}" for n in range(len(records))],
        )


def _outcomes(database: sa.Engine) -> list[tuple[bool | None, str | None]]:
    with reading(database) as session:
        query = sa.select(Solution.outcome, Solution.outcome_rule).order_by(Solution.solution_id)
        return [(outcome, rule) for outcome, rule in session.execute(query)]


def test_problems_with_tests_come_in_by_the_importer(database: sa.Engine, tmp_path: Path) -> None:
    _fill(database, tmp_path)
    with reading(database) as session:
        query = sa.select(Problem.statement, Problem.answer_kind, Problem.reference_answer)
        rows = [tuple(row) for row in session.execute(query.order_by(Problem.problem_id))]
    assert rows == [
        ("Write double(n), twice n.", "tests", TESTS),
        ("Write half(n), half of n.", "tests", "assert half(4) == 2"),
        ("What is 2 * 2?", "value", "4"),
        ("What is 3 * 2?", "value", "6"),
    ]


def test_tests_that_come_later_become_the_reference_of_a_known_problem(database: sa.Engine, tmp_path: Path) -> None:
    found = FORMATS["problems"]
    for n, row in enumerate([{"question": "Write f."}, {"question": "Write f.", "tests": "assert f"}]):
        file = tmp_path / f"{n}.jsonl"
        file.write_text(json.dumps(row))
        import_file(database, found, file, options=default_options(found, file))
    with reading(database) as session:
        assert session.execute(sa.select(Problem.answer_kind, Problem.reference_answer)).all() == [
            ("tests", "assert f")
        ]


@pytest.mark.usefixtures("sandbox")
def test_verify_runs_programs_and_compares_values(database: sa.Engine, tmp_path: Path) -> None:
    _fill(database, tmp_path)
    report = verify_solutions(database)
    assert _outcomes(database) == [*((outcome, rule) for _, outcome, rule in SOLUTIONS.values()), (True, "same_text")]
    assert dict(report.results) == {"correct": 2, "incorrect": 1, "unparsable": 1}
    assert dict(report.against_source) == {"agree": 1, "contradict": 1, "unknown, marked wrong": 1}
    assert verify_solutions(database).n_read == 0


def test_without_a_sandbox_values_are_verified_and_programs_wait(database: sa.Engine, tmp_path: Path) -> None:
    _fill(database, tmp_path)
    url = database.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-m", "stepmark", "verify", "--db", url, "--json"],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done
    assert json.loads(done.stdout)["results"] == {"correct": 1, "sandbox_unavailable": 3}
    assert "3 programs not run: bwrap is not installed; " in " ".join(done.stderr.split())
    assert _outcomes(database) == [(None, None)] * 3 + [(True, "same_text")]


@pytest.mark.usefixtures("sandbox")
def test_programs_that_waited_are_verified_where_there_is_a_sandbox(
    database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(database, tmp_path)
    with monkeypatch.context() as without:
        without.setattr(sandbox_module, "_is_checked", False)
        without.setenv("PATH", str(tmp_path))
        assert verify_solutions(database).results["sandbox_unavailable"] == 3
    assert verify_solutions(database).n_read == 3
