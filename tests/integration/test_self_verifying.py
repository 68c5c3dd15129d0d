"""The self-verifying experiment on a tiny plan: every stage runs, and what is there is not made twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stepmark.flows.experiments.self_verifying import SelfVerifyingPlan, run_plan
from stepmark.progress import Progress, silent

TINY = SelfVerifyingPlan(
    n_drills=40,
    n_taught_problems=30,
    n_rounds=1,
    n_round_problems=10,
    n_samples=2,
    n_per_kind=5,
    n_validation=10,
    n_used_problems=5,
    n_tries=2,
    reader_epochs=1,
    workers=1,
)


def test_the_experiment_runs_through_and_finds_its_stages_done_the_second_time(tmp_path: Path) -> None:
    seen: list[str] = []

    @contextmanager
    def watch(name: str) -> Iterator[Progress]:
        seen.append(name)
        yield silent

    found = run_plan(tmp_path, TINY, watch=watch)

    assert all((tmp_path / figure.file).stat().st_size > 1000 for figure in found.figures)
    verdicts = found.tables[0]
    assert [row[0] for row in verdicts.rows] == [
        "critic, before",
        "critic, taught",
        "critic, 1 variant",
        "critic, 3 variants, any fails",
        "critic, 3 variants, most fail",
        "program, 1 variant",
        "judge before",
        "judge",
        "PRM",
        "ORM",
    ]
    assert any(name.startswith("sample") for name in seen)
    seen.clear()
    again = run_plan(tmp_path, TINY, watch=watch)
    assert not [name for name in seen if name.startswith("sample")]
    assert again.tables == found.tables
    assert again.reached == found.reached
