"""Scores of a trained reward model, written back into the database."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from db.critiques import critiques_of
from db.scores import NewScore, SolutionToScore, count_to_score, solutions_to_score, write_scores
from stepmark.errors import SettingsError
from stepmark.progress import Progress, silent
from stepmark.steps import render_segments
from trainer.calibration import Fit, calibrated, read_calibration
from trainer.critiqued import CritiquedRewardModel
from trainer.score import CRITIQUED, Aggregate, RewardModel, Scored, aggregate
from trainer.served import ServedRewardModel

from .critiques import Sampled
from .models import open_model

_BATCH = 4096
"""Solutions whose scores are written at a time."""

_CRITIQUED = 64
"""The same behind critiques, which take their time: what an interruption loses at most."""

_STORED_AS = {"implicit-prm": "prm", "critique-rm": "bt", "cloud": "bt"}
"""The kind that stands beside a score, where it is not the model's own: what it gives is what that kind gives."""


@dataclass(slots=True)
class ScoreReport:
    """What `score_solutions` read and stored."""

    reward_model: str
    kind: str
    n_read: int = 0
    n_scored: int = 0
    n_forwarded: int = 0
    """Solutions that went through the model; equal texts of one problem go once."""
    n_critiques: int = 0
    """Critiques that the scores are means over; of a model that weighs none, 0."""
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
    critic: Path | None = None,
    critiques_by: str | None = None,
    sampled: Sampled | None = None,
    progress: Progress = silent,
) -> ScoreReport:
    """Scores the solutions that this reward model has not scored yet, and stores the scores.

    Written batch by batch: interrupted, it goes on from there. A model that weighs critiques gives each solution the
    mean reward over several: a CLoud model writes them itself, another is given them.

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
        critic: Folder of the model that writes the critiques for one of kind `critique-rm`.
        critiques_by: Instead, critiques that stand in the database by critics whose name matches this pattern.
        sampled: How critiques are sampled; of stored ones, only how many count, all if not given.
        progress: Told after every batch.

    Raises:
        InputError: The folder holds no finished reward model.
        SettingsError: The model cannot be served, has no calibration of its kind of score, weighs critiques and none
            can be had, or weighs none and is to be given some.
        EngineError: The server failed for good; what was scored is stored.
    """
    fits = read_calibration(model) if is_calibrated else None
    reward_model: _Model
    if server is not None:
        reward_model = ServedRewardModel(model, server, served_name=served_name)
    elif critiques_by is not None:
        n = None if sampled is None else sampled.n
        reward_model = _BehindStored(RewardModel.load(model, device=device), engine, critiques_by, n)
    else:
        reward_model = open_model(model, device=device, critic=critic, sampled=sampled)
    if critic is not None and reward_model.kind != "critique-rm":
        raise SettingsError(f"{model} is a {reward_model.kind}: it has no use for --critic; only a critique-rm has")
    at_once = _BATCH if isinstance(reward_model, RewardModel | ServedRewardModel) else _CRITIQUED
    report = ScoreReport(name or model.name + ("+calibrated" if is_calibrated else ""), reward_model.kind)
    with closing(reward_model) if isinstance(reward_model, ServedRewardModel) else nullcontext():
        total = count_to_score(engine, report.reward_model, source=source, run_id=run_id)
        for page in solutions_to_score(engine, report.reward_model, source=source, run_id=run_id):
            for start in range(0, len(page), at_once):
                write_scores(
                    engine,
                    _score_batch(reward_model, page[start : start + at_once], how, report, fits),
                    reward_model=report.reward_model,
                    kind=_STORED_AS.get(report.kind, report.kind),
                )
                progress(report.n_read, total)
    return report


class _BehindStored:
    """Scores solutions, known by their ids, behind critiques that stand in the database."""

    def __init__(self, model: RewardModel, engine: sa.Engine, critic: str, n: int | None) -> None:
        if model.kind not in CRITIQUED:
            raise SettingsError(f"a {model.kind} model weighs no critiques; leave out --critiques-by")
        self.kind = model.kind
        self.n_forwarded = self.n_critiques = 0
        self._model, self._engine, self._critic, self._n = model, engine, critic, n

    def score(
        self, items: Iterable[tuple[int, str, Sequence[str]]], *, how: Aggregate = "product"
    ) -> Iterator[Scored]:
        given = list(items)
        found = critiques_of(self._engine, [key for key, _, _ in given], critic=self._critic, n=self._n)
        self.n_forwarded += len(found)
        self.n_critiques += sum(map(len, found.values()))
        return self._model.score_critiqued((*item, found.get(item[0], [])) for item in given)


_Model = RewardModel | ServedRewardModel | CritiquedRewardModel | _BehindStored


def _score_batch(
    model: _Model,
    batch: Sequence[SolutionToScore],
    how: Aggregate,
    report: ScoreReport,
    fits: Mapping[str, Fit] | None,
) -> list[NewScore]:
    items = ((s.solution_id, s.statement, render_segments(s.steps, s.answer)) for s in batch)
    scores = []
    before = model.n_forwarded
    critiques_before = getattr(model, "n_critiques", 0)
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
    report.n_critiques += getattr(model, "n_critiques", 0) - critiques_before
    return scores
