"""The experiment on judges beside people, on a few pairs: planted figures, GPT-4's, and that it goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.connect import open_database, reading
from db.models import Request
from stepmark.flows.experiments.rlaif import Leaning, RlaifPlan, chance_of_first, run_plan
from stepmark.progress import Progress, silent

PLAN = RlaifPlan(
    judges=(("likes-the-first", Leaning(first=0.8, people=0.2)), ("sees-as-people", Leaning(people=1.0))),
    n_pairs=40,
    resamples=50,
)


@contextmanager
def watch(stage: str) -> Iterator[Progress]:
    yield silent


def test_planted_figures_are_found_and_a_second_run_asks_nothing(tmp_path: Path) -> None:
    found = run_plan(tmp_path, PLAN, watch)
    planted, beside, gpt4 = found.tables
    by_judge = {(row[0], row[1]): row for row in planted.rows}
    assert len(by_judge) == 6
    # By place in .8, by people or a coin in half of the rest: .9 of all votes, whatever the pairs are.
    assert by_judge["likes-the-first", "the first"][2] == pytest.approx(0.9)
    assert by_judge["likes-the-first", "the first"][5] == "yes"
    # One who sees as people says so in either order, but on their ties.
    assert by_judge["sees-as-people", "the first"][2] == pytest.approx(0.5)
    held = sum(row[5] == "yes" for row in planted.rows)
    assert found.measured[0].value == held / 6
    assert held >= 5
    kappas = {row[0]: float(str(row[2]).split()[0]) for row in beside.rows if row[2] is not None}
    assert kappas["sees-as-people"] > 0.8 > 0.5 > kappas["likes-the-first"]
    assert [row[0] for row in gpt4.rows] == ["all", "claude2", "llama2", "gpt3_5"]
    assert gpt4.rows[0][1] == sum(int(str(row[1])) for row in gpt4.rows[1:])
    assert (tmp_path / "rlaif_judges.png").stat().st_size > 10_000
    database = open_database(f"sqlite:///{tmp_path / 'rlaif.db'}")
    with reading(database) as session:
        asked = session.query(Request).count()
    assert 0 < asked <= 2 * 40 * 2  # pairs of the same two texts are asked about once
    again = run_plan(tmp_path, PLAN, watch)
    with reading(database) as session:
        assert session.query(Request).count() == asked
    database.dispose()
    assert (again.tables, again.reached) == (found.tables, found.reached)


def test_the_chance_of_a_vote_adds_up_what_a_judge_goes_by() -> None:
    leaning = Leaning(first=0.25, longer=0.25, people=0.4)
    assert chance_of_first(leaning, longer=1, people="a") == pytest.approx(0.25 + 0.25 + 0.4 + 0.05)
    assert chance_of_first(leaning, longer=-1, people="b") == pytest.approx(0.25 + 0.05)
    assert chance_of_first(leaning, longer=0, people="equal") == pytest.approx(0.25 + 0.25 + 0.2 + 0.05)
    assert chance_of_first(Leaning(), longer=-1, people="b") == 0.5
