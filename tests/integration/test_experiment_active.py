"""The experiment on active labelling, very small; and its machinery on labels that people gave."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from db.connect import open_database
from db.queue import candidates
from db.scores import solutions_to_score
from exports.queries.importing import import_file
from exports.queries.sources import FORMATS
from stepmark.errors import SettingsError
from stepmark.flows.demo import DATA
from stepmark.flows.experiments.active import (
    ActivePlan,
    LabelledSolution,
    noisy_labels,
    quality,
    run,
    with_scores,
    write_set,
)
from stepmark.flows.training import TrainingJob, train_side_by_side
from stepmark.progress import Progress, silent
from stepmark.selection import select
from stepmark.steps import render_segments
from tests.tiny_reward_model import save_tiny_lm

PLAN = ActivePlan(
    budgets=(8, 16),
    epochs=(1, 1),
    rules=("random", "convincing-wrong", "ensemble", "disagreement"),
    n_seeds=1,
    n_ensemble=2,
    n_pool_problems=24,
    n_pool_samples=3,
    n_test_problems=8,
    n_test_samples=4,
    workers=1,
    n_boot=20,
)


@contextmanager
def watch(stage: str) -> Iterator[Progress]:
    yield silent


def test_the_experiment_runs_once_and_is_found_again(tmp_path: Path) -> None:
    found = run(tmp_path, watch, PLAN)
    assert [row[0] for row in found.tables[0].rows] == list(PLAN.rules)
    # At the first budget all rules have the same labels and the same PRM.
    assert len({row[1] for row in found.tables[0].rows}) == 1
    assert (tmp_path / "active-quality.png").stat().st_size > 1000
    for rule in PLAN.rules:
        first, last = (
            json.loads((tmp_path / f"{rule}-0" / budget / "chosen.json").read_text(encoding="utf-8"))
            for budget in ("8", "16")
        )
        # So small a pool has nothing set apart for the random stream, one solution in eight.
        # Two PRMs that learnt of seven solutions name the same first errors, if any.
        n_last = 7 if rule == "disagreement" else 15
        assert (len(first), len(last), len(set(last))) == (7, n_last, n_last)
        assert last[:7] == first == json.loads((tmp_path / "random-0" / "8" / "chosen.json").read_text("utf-8"))
    models = sorted(tmp_path.glob("*/*/prm-*/stepmark.json"))
    times = [model.stat().st_mtime_ns for model in models]
    again = run(tmp_path, watch, PLAN)
    assert replace(again, costs_cpu_s={}) == replace(found, costs_cpu_s={})
    assert [model.stat().st_mtime_ns for model in models] == times
    with pytest.raises(SettingsError, match="another plan"):
        run(tmp_path, watch, replace(PLAN, noise=0.0))


def test_one_label_in_twenty_is_wrong() -> None:
    first = [noisy_labels([True], noise=0.05, key=str(number))[0] for number in range(4000)]
    # Standard error .0034.
    assert np.mean(first) == pytest.approx(0.95, abs=0.012)
    assert noisy_labels([True] * 4, noise=0.5, key="a") == noisy_labels([True] * 4, noise=0.5, key="a")


def test_labels_that_people_gave_are_selected_revealed_learnt_and_measured(tmp_path: Path) -> None:
    """ProcessBench's experts: the machinery goes through; a random model of 60,000 weights shows nothing more."""
    database = open_database(f"sqlite:///{tmp_path / 'stepmark.db'}", create=True)
    try:
        [file, *_] = sorted(DATA.glob("processbench/*.json*"))
        import_file(database, FORMATS["processbench"], file)
        pool = people_labelled(database)
    finally:
        database.dispose()
    base = save_tiny_lm(tmp_path / "base", n_positions=2048)
    chosen: set[int] = set()
    models: list[Path] = []
    for number in range(2):
        groups = with_scores(pool, models, chosen)
        found = select(groups, "jump" if models else "random", limit=6, random_share=0.0)
        assert len(found.chosen) == 6
        assert found.dropped.get("already labelled", 0) == len(chosen)
        chosen |= {one.solution_id for one in found.chosen}
        write_set(tmp_path / f"set-{number}", [one for one in pool if one.candidate.solution_id in chosen])
        models = [tmp_path / f"prm-{number}"]
        job = TrainingJob(f"prm-{number}", "prm", tmp_path / f"set-{number}", base, models[0], 0, 1)
        manifest = train_side_by_side([job], workers=1)[job.name]
        assert manifest["kind"] == "prm"
    left = [one for one in pool if one.candidate.solution_id not in chosen]
    measured = quality(models[0], left)
    defined = [value for value in measured["auc"] if value is not None]
    assert len(measured["auc"]) == len({one.candidate.problem_id for one in left})
    assert defined
    assert all(0.0 <= value <= 1.0 for value in defined)


def people_labelled(database: sa.Engine) -> list[LabelledSolution]:
    """The 24 shortest solutions with the labels that people gave them, hidden until they are selected."""
    texts = {one.solution_id: one for batch in solutions_to_score(database, "nobody") for one in batch}
    found = []
    for group in candidates(database):
        for one in group:
            assert one.left_out == "already labelled"
            text = texts[one.solution_id]
            [first_error] = (one.first_errors or {}).values()
            n_right = len(text.steps) if first_error is None else first_error
            labels = (True,) * n_right + (() if first_error is None else (False,))
            segments = tuple(render_segments(text.steps, None))
            hidden = replace(one, left_out=None, first_errors=None)
            found.append(LabelledSolution(hidden, text.statement, segments, labels, len(labels), labels))
    return sorted(found, key=lambda one: len(one.statement) + sum(map(len, one.segments)))[:24]
