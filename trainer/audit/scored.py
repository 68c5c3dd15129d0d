"""The solutions of an audit with a model's scores, and the sums that every check is made of."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepmark.errors import InputError
from trainer.evaluate.bootstrap import Estimate, Floats, estimate, resampled_totals
from trainer.evaluate.comparison import Scorer
from trainer.evaluate.items import Item, unique
from trainer.evaluate.measures import auc

from .rewriting import Rewriting, original

FEWEST = 10
"""Problems that an effect must rest on: of fewer, chance alone makes intervals of no width."""


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """How an audit is made."""

    n_boot: int = 5000
    """Bootstrap samples of the problems."""
    seed: int = 0
    level: float = 0.95
    """Confidence of the whole report: that it says nothing of a model without a fault."""
    how: str = "product"
    """How a PRM's steps make a solution's score."""
    concepts: tuple[str, ...] = ("clearly", "verified")
    """Words set before steps."""


@dataclass(slots=True)
class ScoredItems:
    """Different solutions of known outcome, each with its score; those without a score are left out and counted."""

    model: Scorer
    items: list[Item]
    scores: Floats
    """[n]"""
    step_scores: list[tuple[float, ...]]
    right: npt.NDArray[np.bool_]
    """[n]"""
    problems: npt.NDArray[np.int64]
    """[n] numbers from 0."""
    repeats: npt.NDArray[np.int64]
    """[n] how often each text of a problem was given."""
    rows_of: list[npt.NDArray[np.int64]]
    """The rows of each problem."""
    dropped: Counter[str]
    settings: AuditSettings
    level: float
    """Of one interval; see `audit`."""

    @classmethod
    def of(cls, model: Scorer, items: Iterable[Item], settings: AuditSettings, *, level: float) -> "ScoredItems":
        """Scores the items of known outcome.

        Raises:
            InputError: Fewer than two problems are left.
        """
        given = list(items)
        known = [item for item in given if item.is_correct is not None]
        different = unique(known)
        times = Counter((item.problem, item.text) for item in known)
        dropped = Counter({"outcome unknown": len(given) - len(known), "repeated text": len(known) - len(different)})
        found = list(
            model.score(((i, r.prompt, r.segments) for i, r in enumerate(map(original, different))), how=settings.how)
        )
        dropped += Counter(one.reason or "unknown" for one in found if one.score is None)
        kept = [(item, one) for item, one in zip(different, found, strict=True) if one.score is not None]
        numbers: dict[str, int] = {}
        problems = [numbers.setdefault(item.problem, len(numbers)) for item, _ in kept]
        if len(numbers) < 2:
            raise InputError(f"an audit needs scored solutions of two problems at least: {dict(+dropped)}.")
        return cls(
            model,
            [item for item, _ in kept],
            np.array([one.score for _, one in kept], float),
            [tuple(one.step_scores) for _, one in kept],
            np.array([bool(item.is_correct) for item, _ in kept]),
            np.array(problems, np.int64),
            np.array([times[item.problem, item.text] for item, _ in kept], np.int64),
            _rows_of(np.array(problems, np.int64)),
            +dropped,
            settings,
            level,
        )

    @property
    def n_problems(self) -> int:
        """Problems with a scored solution."""
        return len(self.rows_of)

    def rescored(self, rewrite: Rewriting) -> Floats:
        """[n] the scores after a rewriting; NaN where nothing was rewritten, or the result has no score."""
        out = np.full(len(self.items), math.nan)
        rewritten = [(index, one) for index, item in enumerate(self.items) if (one := rewrite(item)) is not None]
        for scored in self.model.score(
            ((index, one.prompt, one.segments) for index, one in rewritten), how=self.settings.how
        ):
            if scored.score is not None:
                out[scored.key] = scored.score
        return out

    def summed(self, columns: Sequence[npt.ArrayLike], where: npt.ArrayLike | None = None) -> Floats:
        """[problems, columns] sums of row values by problem."""
        mask = np.ones(len(self.items), bool) if where is None else np.asarray(where, bool)
        out = np.zeros((self.n_problems, len(columns)))
        for at, column in enumerate(columns):
            np.add.at(out[:, at], self.problems[mask], np.asarray(column, float)[mask])
        return out

    def estimate(self, sums: Floats, statistic: Callable[[Floats], Floats]) -> Estimate:
        """The statistic of the totals with its interval, over problems with any sum; none where these are few."""
        used = sums[(sums != 0).any(axis=1)]
        if len(used) < FEWEST:
            return Estimate(None, math.nan, math.nan, len(used))
        resamples = resampled_totals(used, n_boot=self.settings.n_boot, seed=self.settings.seed)
        value = float(statistic(used.sum(axis=0)))
        return estimate(value, statistic(resamples), len(used), level=self.level)

    def aucs(self, scores: Floats) -> Floats:
        """[problems, 2] each problem's chance that a right one scores above a wrong one, and 1; 0, 0 without both."""
        out = np.zeros((self.n_problems, 2))
        has_score = np.isfinite(scores)
        for problem, all_rows in enumerate(self.rows_of):
            rows = all_rows[has_score[all_rows]]
            if len(rows) and 0 < self.right[rows].sum() < len(rows):
                out[problem] = auc(scores[rows], self.right[rows]), 1.0
        return out


def _rows_of(problems: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    order = np.argsort(problems, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(problems[order])) + 1)
