"""Solutions that are programs: pulling the program out of a text, and running its problem's tests on it.

The tests, a Python program of assertions, run after the solution's own program in the same process (`run_tests`),
in the sandbox. A program that leaves early, prints a verdict, replaces `print` or reads its own source does not
pass. What does: a program written against this very check, which returns objects equal to everything or hunts
through the process's open files for the token. Tests that must hold against that belong in a process of their own.
"""

import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from ..sandbox import Ran, SandboxLimits, run_python
from .comparison import Comparison
from .run_tests import TOKEN_BYTES

DEFAULT_LIMITS = SandboxLimits(time_s=10.0)
_RUNNER = Path(__file__).with_name("run_tests.py")
_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n`]*\n(.*?)(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_PYTHON = ("python", "python3", "py")
_COMPARISONS = {
    "passed": Comparison("correct", "tests"),
    "failed": Comparison("incorrect", "tests"),
    "error": Comparison("incorrect", "error"),
    "ended_early": Comparison("incorrect", "ended_early"),
    "syntax": Comparison("incorrect", "syntax"),
    "memory": Comparison("limit", "memory"),
    "tests_unreadable": Comparison("unparsable", "tests_unreadable"),
}
_NO_PROGRAM = Comparison("unparsable", "no_program")


@dataclass(frozen=True, slots=True)
class Program:
    """A program found in a text."""

    source: str
    is_fenced: bool
    """False: it is the whole text, which may be no program at all."""


def extract_program(text: str) -> Program:
    r"""Takes the last code block marked as Python, else the last unmarked one, else the whole text.

    A block that is not closed goes on to the end of the text.

    >>> extract_program("So:\n```python\nx = 1\n```\nIt prints\n```\n1\n```\n")
    Program(source='x = 1\n', is_fenced=True)
    >>> extract_program("x = 1")
    Program(source='x = 1', is_fenced=False)
    """
    blocks = [(match[1].lower(), match[2]) for match in _FENCE.finditer(text)]
    for names in (_PYTHON, ("",)):
        sources = [source for name, source in blocks if name in names]
        if sources:
            return Program(sources[-1], is_fenced=True)
    return Program(text, is_fenced=False)


def verify_program(text: str, tests: str, *, limits: SandboxLimits = DEFAULT_LIMITS) -> Comparison:
    """Runs the program in a solution's text, then the tests.

    Rules: `tests` (passed, or one failed), `error` (the program itself failed), `ended_early` (it left before the
    tests were through), `syntax`; unknown are `no_program`, `tests_unreadable`, and the limits `time`, `memory`,
    `output` and `killed`.

    Args:
        text: The solution as written.
        tests: Python code that raises where the program is wrong.
        limits: What program and tests may use together.

    Raises:
        SandboxUnavailable: Nothing was run, because there is no sandbox here.
    """
    program = extract_program(text)
    if not program.source.strip():
        return _NO_PROGRAM
    token = secrets.token_hex(TOKEN_BYTES // 2)
    stdin = token + json.dumps([program.source, tests])
    ran = run_python(_RUNNER.read_text(encoding="utf-8"), stdin=stdin, limits=limits)
    comparison = _read(ran, token)
    if comparison.rule == "syntax" and not program.is_fenced:
        return _NO_PROGRAM
    return comparison


def _read(ran: Ran, token: str) -> Comparison:
    if ran.stopped_by is not None:
        return Comparison("limit", ran.stopped_by)
    if token in ran.stdout:
        return _COMPARISONS[ran.stdout.rpartition(token)[2].partition("\n")[0]]
    is_killed = ran.exit_code is not None and ran.exit_code > 128
    return Comparison("limit", "killed") if is_killed else _COMPARISONS["ended_early"]
