"""The experiment on rounds, with a tiny plan: every stage runs, findings hold what they must, nothing runs twice."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepmark.flows.embedded_loop import EmbeddedProblems
from stepmark.flows.experiments import rounds
from stepmark.progress import Progress, silent

TINY = rounds.RoundsPlan(
    seeds=(5950,),
    n_rounds=1,
    problems=EmbeddedProblems(n_learn=12, n_measure=8, n_fixed=6, n_fixed_samples=2),
    n_labels=24,
    n_eval_samples=4,
    n_rolled_out=6,
    k=2,
    reward_epochs=1,
    n_boot=20,
    workers=1,
)


def test_a_tiny_plan_gives_whole_findings_and_is_not_run_twice(tmp_path: Path) -> None:
    seen: list[str] = []

    @contextmanager
    def watch(stage: str) -> Iterator[Progress]:
        seen.append(stage)
        yield silent

    found = rounds.run(tmp_path, watch, TINY)
    for picture in ("rounds_guards.png", "rounds_loop.png"):
        assert (tmp_path / picture).stat().st_size > 10_000
    models, guards, stops, labellers = found.tables
    assert [row[:2] for row in models.rows] == [
        ("healthy", "start"),
        ("healthy", 0),
        ("collapsing", "start"),
        ("collapsing", 0),
    ]
    assert [row[0] for row in stops.rows] == ["healthy-0", "collapsing"]
    assert str(stops.rows[1][1]).startswith("after round 0: verified rows")
    assert ("verified rows", "1.000", "0.000 (1 tripped)") in guards.rows
    assert [row[0] for row in labellers.rows] == [
        "rollouts, hard",
        "rollouts, relative",
        "judge (the PRM of round 0)",
        "consensus of rollouts and judge",
    ]
    json.dumps(found.as_json(), allow_nan=False)
    assert "round 0: generate" in seen

    seen.clear()
    again = rounds.run(tmp_path, watch, TINY)
    assert [stage for stage in seen if stage.startswith("round")] == []
    assert again.tables == found.tables


@pytest.mark.parametrize("name", ["rounds"])
def test_the_experiment_is_listed(name: str) -> None:
    from stepmark.flows.experiments.running import EXPERIMENTS

    assert name in {experiment.name for experiment in EXPERIMENTS}
