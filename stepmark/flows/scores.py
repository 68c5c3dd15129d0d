"""Scores of a trained reward model, written back into the database."""

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from db.scores import NewScore, SolutionToScore, count_to_score, solutions_to_score, write_scores
from stepmark.progress import Progress, silent
from stepmark.steps import render_segments
from trainer.calibration import Fit, calibrated, read_calibration
from trainer.score import Aggregate, RewardModel, aggregate
from trainer.served import ServedRewardModel


@dataclass(slots=True)
class ScoreReport:
    """What `score_solutions` read and stored."""

    reward_model: str
    kind: str
    n_read: int = 0
    n_scored: int = 0
    n_forwarded: int = 0
    """Solutions that went through the model; equal texts of one problem go once."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Solutions without a score, by reason."""


def score_solutions(
    engine: sa.Engine,
    model: Path,
    *,
    name: str | None = None,
    source: str | None = None,
    run_id: int | None = None,
    how: Aggregate = "product",
    device: str = "cpu",
    is_calibrated: bool = False,
    server: str | None = None,
    served_name: str | None = None,
    progress: Progress = silent,
) -> ScoreReport:
    """Scores the solutions that this reward model has not scored yet, and stores the scores.

    Written batch by batch: interrupted, it goes on from there.

    Args:
        engine: The database.
        model: Folder of the trained reward model.
        name: What the scores are stored under; the folder's name, if not given.
        source: Only solutions of sources that match this pattern.
        run_id: Only what this run sampled.
        how: How a PRM's step scores make the solution's.
        device: Where to compute: `cpu`, `cuda`.
        is_calibrated: Store calibrated scores, by the fit beside the model's weights; unless another name is given,
            under the model's with `+calibrated`.
        server: URL of a vLLM server that computes the model, whose folder is still read for its tokenizer.
        served_name: The model's name at the server, where it serves several.
        progress: Told after every batch.

    Raises:
        InputError: The folder holds no finished reward model.
        SettingsError: The model cannot be served, or has no calibration of its kind of score.
        EngineError: The server failed for good; what was scored is stored.
    """
    fits = read_calibration(model) if is_calibrated else None
    reward_model: RewardModel | ServedRewardModel
    if server is None:
        reward_model = RewardModel.load(model, device=device)
    else:
        reward_model = ServedRewardModel(model, server, served_name=served_name)
    report = ScoreReport(name or model.name + ("+calibrated" if is_calibrated else ""), reward_model.kind)
    with closing(reward_model) if isinstance(reward_model, ServedRewardModel) else nullcontext():
        total = count_to_score(engine, report.reward_model, source=source, run_id=run_id)
        for batch in solutions_to_score(engine, report.reward_model, source=source, run_id=run_id):
            write_scores(
                engine,
                _score_batch(reward_model, batch, how, report, fits),
                reward_model=report.reward_model,
                kind="prm" if report.kind == "implicit-prm" else report.kind,  # it gives what a PRM gives
            )
            progress(report.n_read, total)
    return report


def _score_batch(
    model: RewardModel | ServedRewardModel,
    batch: list[SolutionToScore],
    how: Aggregate,
    report: ScoreReport,
    fits: Mapping[str, Fit] | None,
) -> list[NewScore]:
    items = ((s.solution_id, s.statement, render_segments(s.steps, s.answer)) for s in batch)
    scores = []
    before = model.n_forwarded
    for scored in model.score(items, how=how):
        report.n_read += 1
        if scored.score is None:
            report.dropped[scored.reason or "unknown"] += 1
            continue
        assert isinstance(scored.key, int)
        value, steps = scored.score, scored.step_scores
        if fits is not None:
            value, steps = calibrated(fits, model.kind, value, steps, how=how)
            value = aggregate(steps, how) if math.isnan(value) else value
        scores.append(NewScore(scored.key, value, steps or None))
    report.n_scored += len(scores)
    report.n_forwarded += model.n_forwarded - before
    return scores
