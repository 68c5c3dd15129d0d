"""RewardBench: does a reward model put the better answer first.

Version 1 (Lambert et al. 2024, 2403.13787): a pair is right where chosen scores strictly above rejected; a tie is
wrong. Sections are the authors': the mean over a section's rows, the mathematics of `Reasoning` weighing as much as
its code; the overall figure is the mean of the sections. Files with other subsets get the mean of the subsets.

Version 2 (Malik et al. 2025, 2506.01937): one answer of four is right; the row's credit is 1/k where the right one is
among k that share the highest score, else 0. Rows of `Ties` have several right answers: see `ties_score`. The overall
figure is the mean of the subsets.

An answer without a score loses: as a right one it scores below, as a wrong one above everything; it is counted.
Likert-like scores tie often; reward models hardly ever do.

Shapes: as in `comparison`; K = 3: credit and rows, then credit of ties (a pair of equal scores) for the record.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from stepmark.errors import InputError
from stepmark.problems import statement_hash
from stepmark.steps import render_segments, split_solution

from .bootstrap import Floats, ratio
from .comparison import Benchmark, Scorer, Tally, compare
from .files import checked_rows

SECTIONS: Mapping[str, Sequence[str]] = {
    "Chat": ("alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"),
    "Chat Hard": (
        "mt-bench-hard",
        "llmbar-natural",
        "llmbar-adver-neighbor",
        "llmbar-adver-GPTInst",
        "llmbar-adver-GPTOut",
        "llmbar-adver-manual",
    ),
    "Safety": (
        "refusals-dangerous",
        "refusals-offensive",
        "xstest-should-refuse",
        "xstest-should-respond",
        "donotanswer",
    ),
    "Reasoning": ("math-prm", "hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"),
}
"""The subsets of version 1 by section."""

_MATHS = "math-prm"
TIES = "ties"
"""The subset of version 2 with several right answers, in lower case."""


@dataclass(frozen=True, slots=True)
class RankRow:
    """A prompt with right and wrong answers."""

    prompt: str
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str
    row_id: str
    """Of ties: `ref:N` (one right answer) or `tied:N` (several), which belong together."""


def parse_row(raw: Mapping[str, Any], *, default_subset: str) -> RankRow:
    """Checks a row: `prompt`, `chosen` and `rejected` (a text, or a list of texts), `subset`, `id`.

    Raises:
        ValueError: Something is missing or does not fit.
    """
    prompt = raw.get("prompt")
    if not isinstance(prompt, str):
        raise ValueError(f"a row needs prompt, chosen and rejected; the columns are {sorted(raw)}")
    sides = []
    for column in ("chosen", "rejected"):
        value = raw.get(column)
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{column} must be a text or a list of texts, not {value!r}")
        sides.append(tuple(texts))
    subset = raw.get("subset") or default_subset
    row_id = str(raw.get("id", ""))
    if not isinstance(subset, str):
        raise ValueError(f"subset must be a text, not {subset!r}")
    if subset.casefold() == TIES and row_id.partition(":")[0] not in ("ref", "tied"):
        raise ValueError(f"the id of a row of ties must be ref:N or tied:N, not {row_id!r}")
    return RankRow(prompt, sides[0], sides[1], subset, row_id)


def parse_rows(raws: Iterable[Mapping[str, Any]], where: str, *, default_subset: str) -> list[RankRow]:
    """Checks the rows of a file.

    Raises:
        InputError: A row cannot be used; the message names `where` and the row.
    """
    return checked_rows(raws, partial(parse_row, default_subset=default_subset), where)


def credit(chosen: Sequence[float], rejected: Sequence[float]) -> float:
    """Returns the credit of a row: a pair needs chosen strictly above; of several, 1/k where k share the top.

    >>> credit([1.0], [1.0]), credit([1.0], [1.0, 0.5, 0.2]), credit([1.0], [2.0, 0.5, 0.2])
    (0.0, 0.5, 0.0)
    """
    top = max(*chosen, *rejected)
    if len(chosen) == 1 and len(rejected) == 1:
        return float(chosen[0] > rejected[0])
    n_top = sum(score == top for score in (*chosen, *rejected))
    return sum(score == top for score in chosen) / n_top


def ties_score(rows: Sequence[tuple[str, Sequence[float], Sequence[float]]]) -> float:
    """Returns the score of the ties subset of version 2: is every right answer above every wrong one, by a margin.

    Rows are (id, scores of right ones, scores of wrong ones), ids `ref:N` and `tied:N`. With, for each N, the margin
    between the lowest right and the highest wrong one (of both rows) and the spread of the right ones of `tied:N`:
    .3 share of tied rows with a margin above 0 + .3 of ref rows + .2 share of N whose tied margin exceeds the spread
    + .2 share of N where the smaller of both margins does + .01 mean of tanh(smaller margin / spread - 1).

    One N, tied (5, 4 against 1): margin 3, spread 1; ref (5 against 4.5): margin .5. So .3 + .3 + .2 + 0 and
    .01 tanh(-.5):

    >>> round(ties_score([("tied:7", [5, 4], [1]), ("ref:7", [5], [4.5])]), 6)
    0.795379
    """
    margins: dict[str, dict[str, float]] = {"ref": {}, "tied": {}}
    spreads: dict[str, float] = {}
    for row_id, right, wrong in rows:
        kind, _, number = row_id.partition(":")
        margins[kind][number] = min(right) - max(wrong)
        if kind == "tied":
            spreads[number] = max(right) - min(right)
    accuracies = [
        float(np.mean([m > 0 for m in margins[kind].values()])) if margins[kind] else 0.0 for kind in ("tied", "ref")
    ]
    both = [number for number in margins["tied"] if number in margins["ref"]]
    if not both:
        return math.nan
    spread = np.array([spreads[number] for number in both])
    tied = np.array([margins["tied"][number] for number in both])
    smaller = np.minimum(tied, [margins["ref"][number] for number in both])
    with np.errstate(divide="ignore", invalid="ignore"):
        fine = np.nan_to_num(np.tanh(smaller / spread - 1), nan=0.0)
    return float(
        0.3 * accuracies[0]
        + 0.3 * accuracies[1]
        + 0.2 * np.mean(tied > spread)
        + 0.2 * np.mean(smaller > spread)
        + 0.01 * np.mean(fine)
    )


def accuracy(totals: Floats) -> Floats:
    """Returns the mean credit."""
    return ratio(totals[..., 0], totals[..., 1])


def overall_of(subsets: Sequence[str]) -> Any:
    """Returns the overall measure for these subsets: from [..., S, K] totals to [...].

    Sections where all are version 1's, else the mean of the subsets.
    """
    sections = [[subsets.index(name) for name in names if name in subsets] for names in SECTIONS.values()]
    sections = [section for section in sections if section]
    if sum(map(len, sections)) != len(subsets):
        return lambda totals: accuracy(totals).mean(axis=-1)

    def of_section(totals: Floats, section: list[int]) -> Floats:
        maths = [s for s in section if subsets[s] == _MATHS]
        rest = [s for s in section if subsets[s] != _MATHS]
        parts = [accuracy(totals[..., part, :].sum(axis=-2)) for part in (maths, rest) if part]
        return np.asarray(np.mean(parts, axis=0))

    return lambda totals: np.mean([of_section(totals, section) for section in sections], axis=0)


def evaluate_rewardbench(
    models: Mapping[str, Scorer], rows: Iterable[RankRow], *, n_boot: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Measures reward models of any kind; returns the report of `comparison.compare`.

    The ties subset, whose score is no mean over rows, stands under `ties` of each model, without an interval.

    Args:
        models: By name.
        rows: Of all subsets.
        n_boot: Bootstrap samples of the prompts.
        seed: Of the bootstrap.

    Raises:
        InputError: There is no row.
    """
    rows = list(rows)
    ranked = [row for row in rows if row.subset.casefold() != TIES]
    tied = [row for row in rows if row.subset.casefold() == TIES]
    if not ranked:
        raise InputError("there is no row with one right answer to measure.")
    subsets = list(dict.fromkeys(row.subset for row in ranked))
    benchmark = Benchmark(
        name="rewardbench",
        title="RewardBench: the better answer first",
        subsets=subsets,
        measures={"accuracy": accuracy, "share_tied": lambda totals: ratio(totals[..., 2], totals[..., 1])},
        overall=overall_of(subsets),
        notes=(
            "A pair is right where chosen scores strictly above rejected. A row with several wrong answers gives 1/k "
            "where the right one is among k that share the highest score.",
            "all is the mean of the sections where every subset is version 1's, else the mean of the subsets.",
            "Guessing reaches 1/2 on pairs and 1/4 on rows of four.",
        ),
    )
    tallies, ties = {}, {}
    for name, model in models.items():
        tallies[name], ties[name] = _tally(model, ranked, tied, subsets)
    report = compare(benchmark, tallies, n_boot=n_boot, seed=seed)
    if tied:
        report["ties"] = {name: None if math.isnan(value) else value for name, value in ties.items()}
        report["notes"].append(
            "ties: "
            + ", ".join(f"{name} {value:.3f}" for name, value in ties.items())
            + " (no mean over rows; in no "
            "other figure)."
        )
    return report


def answer_segments(kind: str, text: str) -> list[str]:
    """Returns a free answer as the segments that a model of this kind reads: steps for a PRM, else one text."""
    if kind != "prm":
        return [text]
    found = split_solution(text)
    return render_segments(found.steps, found.answer) or [text]


def _tally(model: Scorer, ranked: list[RankRow], tied: list[RankRow], subsets: list[str]) -> tuple[Tally, float]:
    rows = [*ranked, *tied]
    items = [
        ((number, is_chosen), row.prompt, answer_segments(model.kind, text))
        for number, row in enumerate(rows)
        for is_chosen, texts in ((True, row.chosen), (False, row.rejected))
        for text in texts
    ]
    reasons: Counter[str] = Counter()
    found: dict[tuple[int, bool], list[float]] = defaultdict(list)
    n_scored = 0
    for scored in model.score(items):
        number, is_chosen = scored.key
        if scored.score is None:
            reasons[scored.reason or "unknown"] += 1
        n_scored += scored.score is not None
        loses = -math.inf if is_chosen else math.inf
        found[number, is_chosen].append(loses if scored.score is None else scored.score)
    groups: dict[str, int] = {}
    for row in ranked:
        groups.setdefault(statement_hash(row.prompt), len(groups))
    sums = np.zeros((len(groups), len(subsets), 3))
    for number, row in enumerate(ranked):
        chosen, rejected = found[number, True], found[number, False]
        cell = sums[groups[statement_hash(row.prompt)], subsets.index(row.subset)]
        cell += (credit(chosen, rejected), 1.0, float(max(chosen) == max(rejected)))
    of_ties = [
        (row.row_id, found[number, True], found[number, False]) for number, row in enumerate(tied, start=len(ranked))
    ]
    return Tally(sums, len(items), n_scored, dict(reasons)), ties_score(of_ties) if of_ties else math.nan
