"""Scores of a trained reward model, written back into the database."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from db.scores import NewScore, SolutionToScore, count_to_score, solutions_to_score, write_scores
from stepmark.progress import Progress, silent
from stepmark.steps import render_segments
from trainer.score import Aggregate, RewardModel


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
    how: Aggregate = "product",
    device: str = "cpu",
    progress: Progress = silent,
) -> ScoreReport:
    """Scores the solutions that this reward model has not scored yet, and stores the scores.

    Written batch by batch: interrupted, it goes on from there.

    Args:
        engine: The database.
        model: Folder of the trained reward model.
        name: What the scores are stored under; the folder's name, if not given.
        source: Only solutions of sources that match this pattern.
        how: How a PRM's step scores make the solution's.
        device: Where to compute: `cpu`, `cuda`.
        progress: Told after every batch.

    Raises:
        InputError: The folder holds no finished reward model.
    """
    reward_model = RewardModel.load(model, device=device)
    report = ScoreReport(name or model.name, reward_model.kind)
    total = count_to_score(engine, report.reward_model, source=source)
    for batch in solutions_to_score(engine, report.reward_model, source=source):
        write_scores(
            engine,
            _score_batch(reward_model, batch, how, report),
            reward_model=report.reward_model,
            kind="prm" if report.kind == "implicit-prm" else report.kind,  # it gives what a PRM gives
        )
        progress(report.n_read, total)
    return report


def _score_batch(
    model: RewardModel, batch: list[SolutionToScore], how: Aggregate, report: ScoreReport
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
        scores.append(NewScore(scored.key, scored.score, scored.step_scores or None))
    report.n_scored += len(scores)
    report.n_forwarded += model.n_forwarded - before
    return scores
