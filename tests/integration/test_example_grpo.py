"""The example's scripts around TRL: problems drawn for it, and two models compared. TRL itself: tests/readers."""

import runpy
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.connect import open_database, reading
from db.models import Problem
from generator.domain.problems import family_of, part_of
from stepmark.flows.demo import MODEL

EXAMPLE = Path(__file__).parents[2] / "examples" / "grpo"


def run(script: str, *args: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [script, *args])
    runpy.run_path(str(EXAMPLE / script), run_name="__main__")


def test_problems_to_measure_on_share_no_family_with_those_learnt_from_and_a_model_equals_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'grpo.db'}"
    for source, n in (("learn", 6), ("measure", 4)):
        # The same seed would draw the same problems, were it not for those that are there.
        args = ("--db", url, "--source", source, "--n", str(n), "--seed", "6991")
        run("problems.py", *args, monkeypatch=monkeypatch)
    with reading(open_database(url)) as session:
        families = [family_of(statement) for statement in session.scalars(sa.select(Problem.statement))]
    assert len(set(families)) == 10
    assert {part_of(family) for family in families} == {"reserved"}
    assert capsys.readouterr().out == "6 problems drawn into learn\n4 problems drawn into measure\n"

    args = ("--db", url, "--source", "measure", "--n", "2", str(MODEL), str(MODEL))
    run("compare.py", *args, monkeypatch=monkeypatch)
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "4 problems x 2 samples at temperature 0.7; a mean over problems each"
    assert [line[:26].strip() for line in lines] == [
        "pass@1",
        "pass@2",
        "majority",
        "right answer, wrong step",
        "different texts",
    ]
    assert all(line.endswith(": +0.000 [+0.000, +0.000]") for line in lines)
