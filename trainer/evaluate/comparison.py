"""Several reward models on one benchmark: measures by subset and overall, with intervals and paired differences.

A benchmark turns each model's answers into a `Tally`, sums by problem and subset, and says how measures are computed
from totals. What comes out is one report for every benchmark, which `pages` prints, draws and writes.

Shapes: `G` problems, `S` subsets, `K` sums that a benchmark keeps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from stepmark.errors import InputError

from .bootstrap import Floats, estimate, resampled_totals

OVERALL = "all"
"""The name under which the overall measure stands beside the subsets."""


class Scorer(Protocol):
    """Whatever scores as `trainer.score.RewardModel` does."""

    @property
    def kind(self) -> str:
        """`prm`, `orm` or `bt`."""
        ...

    def score(self, items: Any, *, how: Any = "product") -> Any:
        """Scores (key, prompt, segments), in order; see `trainer.score.RewardModel.score`."""
        ...


@dataclass(frozen=True, slots=True)
class Tally:
    """One model's answers, summed."""

    sums: Floats
    """[G, S, K], the problems in the same order for every model."""
    n_read: int = 0
    n_scored: int = 0
    unscored: Mapping[str, int] = field(default_factory=dict)
    """Solutions without a score, by reason."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What is measured, and how it is computed from totals."""

    name: str
    title: str
    subsets: Sequence[str]
    measures: Mapping[str, Callable[[Floats], Floats]]
    """By name, the headline first: from [..., K] totals of a subset to [...]."""
    overall: Callable[[Floats], Floats] | None
    """The headline over all subsets, from [..., S, K] to [...]; None where there is none."""
    centred: Sequence[str] = ()
    """Measures that resampling drives in one direction: see `bootstrap.estimate`."""
    notes: Sequence[str] = ()
    """How to read it: the definition, rules that were applied, limits."""
    settings: Mapping[str, Any] = field(default_factory=dict)


def compare(
    benchmark: Benchmark, tallies: Mapping[str, Tally], *, n_boot: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Measures every model; returns the report.

    Args:
        benchmark: What is measured.
        tallies: By name of the model; differences are taken to the first.
        n_boot: Bootstrap samples of the problems.
        seed: Of the bootstrap.
    """
    if not tallies or not benchmark.subsets:
        raise InputError("there is nothing to evaluate: name a model (--model) and a file with rows.")
    headline, compute = next(iter(benchmark.measures.items()))
    models: dict[str, dict[str, Any]] = {}
    drawn: dict[str, dict[str, tuple[float, Floats]]] = {}
    for model, tally in tallies.items():
        totals = tally.sums.sum(axis=0)
        resamples = resampled_totals(tally.sums, n_boot=n_boot, seed=seed)
        n = [int((tally.sums[:, s] != 0).any(axis=1).sum()) for s in range(len(benchmark.subsets))]
        models[model], drawn[model] = {}, {}
        for s, subset in enumerate(benchmark.subsets):
            models[model][subset] = {
                name: estimate(
                    float(one(totals[s])), one(resamples[:, s]), n[s], centred=name in benchmark.centred
                ).as_json()
                for name, one in benchmark.measures.items()
            }
            drawn[model][subset] = float(compute(totals[s])), compute(resamples[:, s])
        if benchmark.overall is not None:
            found = float(benchmark.overall(totals)), benchmark.overall(resamples)
            drawn[model][OVERALL] = found
            n_used = int((tally.sums != 0).any(axis=(1, 2)).sum())
            models[model][OVERALL] = {headline: estimate(*found, n_used).as_json()}
    first, *others = tallies
    return {
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "headline": headline,
        "models": models,
        "differences": {
            f"{other} - {first}": {
                subset: estimate(
                    drawn[other][subset][0] - drawn[first][subset][0],
                    drawn[other][subset][1] - drawn[first][subset][1],
                    len(tallies[first].sums),
                    centred=headline in benchmark.centred,
                ).as_json()
                for subset in drawn[first]
            }
            for other in others
        },
        "counts": {
            model: {"read": t.n_read, "kept": t.n_scored, "dropped": dict(t.unscored)} for model, t in tallies.items()
        },
        "notes": list(benchmark.notes),
        "settings": {**benchmark.settings, "n_boot": n_boot, "seed": seed},
    }
