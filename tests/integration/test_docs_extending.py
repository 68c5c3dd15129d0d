"""The page on engines and tasks of one's own is code that runs."""

import re
from pathlib import Path
from typing import Any

import pytest

from db.connect import open_database, writing
from db.models import Problem, Solution

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def run_page() -> dict[str, Any]:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile("\n".join(blocks), str(PAGE), "exec"), names)
    return names


def test_the_page_runs_as_it_stands_and_asks_nothing_when_it_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    database = open_database("sqlite:///stepmark.db", create=True)
    with writing(database) as session:
        session.add(
            Problem(problem_id=1, statement_hash="0" * 32, family="1" * 32, statement="1 + 1?", kind="original")
        )
        session.flush()
        for number in range(3):
            row = {"text": f"It is {number}", "text_hash": str(number), "steps": [f"It is {number}"]}
            session.add(Solution(problem_id=1, source="toy", source_key=str(number), **row))
    database.dispose()
    run_page()["database"].dispose()
    assert capsys.readouterr().out == "done {'critiques': 3} {} 6\n"
    run_page()["database"].dispose()
    assert capsys.readouterr().out == "done {} {} 0\n"
