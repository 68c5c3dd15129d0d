"""Best-of-N: how often each way of choosing among N sampled solutions picks a right one.

The protocol is that of PRM800K's eval.py: 400 trials; in each, the samples of every problem are shuffled and
the first N taken; samples without an answer are dropped; the highest score wins; a problem with nothing left
is wrong; mean and standard deviation (ddof 0) of the pass rate over the trials. Problems with fewer samples
than the largest number are filled up with missing ones. Here the subsets of one trial are nested (the first 8
of a shuffle contain its first 4) and shared by all methods and seeds, which leaves each mean unchanged and
pairs the comparisons.

Methods: `pass1` one sample; `majority` the most frequent answer; `orm`, `prm`, `bt` the highest score;
`orm_vote`, `prm_vote` the answer with the largest sum of scores; `oracle` right if any is; `chance` the share
of right ones among the subset's unique texts, which is what an uninformative score that depends on the text
only would reach. Right solutions repeat one text and wrong ones are many, so chance falls below pass1. Ties
go to what comes first in the shuffle.

Shapes: `P` problems, `M` samples of a problem, `R` trials.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepmark.answers.key import answer_key
from stepmark.errors import InputError

from .files import read_json_rows
from .measures import auc, within_problem_auc

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SCORES = ("orm", "prm", "bt")
"""Names of the reward models whose scores a solution may carry."""

COMPARISONS = (
    ("prm", "orm"),
    ("prm", "bt"),
    ("bt", "orm"),
    ("orm", "majority"),
    ("prm", "majority"),
    ("orm_vote", "majority"),
    ("prm_vote", "orm_vote"),
    ("prm_vote", "majority"),
    ("prm_vote", "prm"),
    ("prm", "chance"),
    ("orm", "chance"),
)
"""Differences that are reported with an interval, where both methods are there."""

_BLOCK = 1_000_000
"""Trials x problems x samples handled at a time: about 8 MB an array."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The samples of one problem, as arrays of length M."""

    answers: Ints
    """Number of each sample's answer, equal answers share one; -1 where there is none."""
    texts: Ints
    """Number of each sample's text, equal texts share one."""
    right: Bools
    """Is the answer right; false where there is none."""
    scores: Mapping[str, Floats]
    """[seeds, M] by reward model; -inf where a sample has no answer."""
    step_scores: Mapping[str, Floats]
    """Scores of all labelled steps of all samples, by reward model; for the step AUC."""
    step_right: Bools
    """The labels of those steps."""


def read_problems(path: Path) -> list[dict[str, Any]]:
    """Reads a JSONL file, plain or gzipped, with one problem a line; see `parse_problem` for its keys.

    Lines of the layout that Qwen2.5-Math's evaluation writes (`pred`, `score`, `pred_score`) are taken, too: see
    `sampled_problem`.
    """
    out = []
    for number, given in enumerate(read_json_rows(path), start=1):
        try:
            raw = sampled_problem(given) if "pred_score" in given else given
            parse_problem(raw)
        except ValueError as err:
            raise InputError(f"{path}, line {number}: {err}") from err
        out.append(raw)
    return out


def sampled_problem(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Turns a line of Qwen2.5-Math's evaluation into the shape of `parse_problem`; its scores stand under `bt`.

    `code` holds the texts, `pred` the answers, `score` whether each is right, `pred_score` lists of one score of the
    reward model each: any number, so that no vote is weighted by it.

    Raises:
        ValueError: The lists differ in length, or hold something else.
    """
    columns = [raw.get(name) for name in ("code", "pred", "score", "pred_score")]
    if not all(isinstance(column, list) for column in columns) or len({len(c or ()) for c in columns}) > 1:
        raise ValueError("code, pred, score and pred_score must be lists of one length")
    rows = zip(*(column or () for column in columns), strict=True)
    return {
        "solutions": [
            {
                "text": text,
                "answer": answer_key(str(answer)) if str(answer or "").strip() else None,
                "is_correct": is_right,
                "scores": {"bt": score[0] if isinstance(score, list) and len(score) == 1 else score},
            }
            for text, answer, is_right, score in rows
        ]
    }


def parse_problem(raw: Mapping[str, Any]) -> Problem:
    """Checks one problem: `{"solutions": [{"text", "answer", "is_correct", "scores": {"prm": ...}}, ...]}`.

    `answer` is a canonical key (equal answers are equal strings) or null where none was found. `is_correct`
    is the outcome; it may be null only where `answer` is. A score is a number, or a list with one number for
    each seed of the reward model. `steps`, if there, is a list of `{"is_correct": bool, "scores": {"prm":
    number}}`.

    Raises:
        ValueError: something is missing or does not fit; an unknown outcome is not taken for a wrong one.
    """
    solutions = raw.get("solutions") if isinstance(raw, Mapping) else None
    if not isinstance(solutions, Sequence) or isinstance(solutions, str) or not solutions:
        raise ValueError("a problem needs a list of solutions with at least one")
    answers: dict[str, int] = {}
    texts: dict[str, int] = {}
    right = []
    names = [name for name in SCORES if any(name in (solution.get("scores") or {}) for solution in solutions)]
    scores: dict[str, list[list[float]]] = {name: [] for name in names}
    numbers = []
    for i, solution in enumerate(solutions):
        answer, outcome = solution.get("answer"), solution.get("is_correct")
        if not isinstance(solution.get("text"), str):
            raise ValueError(f"solution {i} has no text")
        if answer is not None and not isinstance(answer, str):
            raise ValueError(f"solution {i}: the answer must be a text or null, not {answer!r}")
        if answer is not None and not isinstance(outcome, bool):
            raise ValueError(f"solution {i}: the outcome of answer {answer!r} is {outcome!r}; verify it first")
        numbers.append((-1 if answer is None else answers.setdefault(answer, len(answers)),
                        texts.setdefault(solution["text"], len(texts))))  # fmt: skip
        right.append(answer is not None and bool(outcome))
        given = solution.get("scores") or {}
        for name in names:
            scores[name].append(_seeds(given.get(name), missing=answer is None, where=f"solution {i}, {name}"))
    steps = [step for solution in solutions for step in solution.get("steps") or []]
    arrays = {}
    for name, values in scores.items():
        n_seeds = max(len(value) for value in values)
        if not n_seeds:  # no sample has an answer, so none needs a score
            continue
        filled = [value or [-math.inf] * n_seeds for value in values]
        if any(len(value) != n_seeds for value in filled):
            raise ValueError(f"{name}: solutions have scores of different numbers of seeds")
        array = np.array(filled, float).T
        array[:, [a < 0 for a, _ in numbers]] = -math.inf
        arrays[name] = array
    step_names = [name for name in SCORES if steps and all(name in (s.get("scores") or {}) for s in steps)]
    return Problem(
        answers=np.array([a for a, _ in numbers]),
        texts=np.array([t for _, t in numbers]),
        right=np.array(right),
        scores=arrays,
        step_scores={name: np.array([float(s["scores"][name]) for s in steps]) for name in step_names},
        step_right=np.array([bool(s["is_correct"]) for s in steps], bool),
    )


def _seeds(value: Any, *, missing: bool, where: str) -> list[float]:
    values = value if isinstance(value, list) else [value]
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) or not math.isfinite(v) for v in values):
        if missing and value is None:
            return []
        raise ValueError(f"{where}: the score must be a finite number, not {value!r}")
    return [float(v) for v in values]


def best_of_n(
    problems: Iterable[Mapping[str, Any]],
    *,
    ns: Sequence[int] = (1, 2, 4, 8, 16, 32),
    n_trials: int = 400,
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures every method at every N.

    Args:
        problems: see `parse_problem`.
        ns: subset sizes; those above the largest number of samples are left out.
        n_trials: random subsets for each N.
        n_boot: bootstrap samples of the problems for the intervals.
        seed: seed of the shuffles and of the bootstrap.

    Returns:
        `best_of_n[N][method]` with `mean`, `std` over the reward model's seeds (null with one seed) and
        `std_trials` over the subsets (mean over seeds); `differences[N]["a-b"]` with `mean` and the 95 %
        `interval`, paired by problem, the models held fixed; `auc` (`within_problem`, `pooled`, `step`) by
        reward model; `counts`.

    Raises:
        InputError: no problem, or problems whose reward models differ.
    """
    parsed = []
    for number, raw in enumerate(problems, start=1):
        try:
            parsed.append(parse_problem(raw))
        except ValueError as err:
            raise InputError(f"problem {number}: {err}") from err
    if not parsed:
        raise InputError("there is no problem to evaluate.")
    seeds = _seeds_of(parsed)
    m = max(len(problem.answers) for problem in parsed)
    sizes = sorted({n for n in ns if 1 <= n <= m})
    if not sizes:
        raise InputError(f"none of the sizes {list(ns)} is possible with at most {m} samples a problem.")
    trials, by_problem = _simulate(parsed, seeds, sizes, m, n_trials=n_trials, seed=seed)
    methods = list(trials)
    weights = np.random.default_rng([seed, 1]).integers(0, len(parsed), (n_boot, len(parsed)))
    table: dict[str, dict[str, dict[str, float | None]]] = {}
    differences: dict[str, dict[str, dict[str, Any]]] = {}
    for at, n in enumerate(sizes):
        table[str(n)] = {}
        for method in methods:
            of_seeds = trials[method][:, at]
            means = of_seeds.mean(axis=1)
            table[str(n)][method] = {
                "mean": float(means.mean()),
                "std": float(means.std()) if len(means) > 1 else None,
                "std_trials": float(of_seeds.std(axis=1).mean()),
            }
        differences[str(n)] = {
            f"{a}-{b}": paired_difference(by_problem[a][at], by_problem[b][at], weights)
            for a, b in COMPARISONS
            if a in methods and b in methods
        }
    return {
        "best_of_n": table,
        "differences": differences,
        "auc": _aucs(parsed, seeds),
        "counts": _counts(parsed, m),
        "settings": {"n_trials": n_trials, "n_boot": n_boot, "seed": seed, "seeds_of": seeds},
    }


def _seeds_of(problems: list[Problem]) -> dict[str, int]:
    """Returns the number of seeds of each reward model, which must be the same in all problems with an answer."""
    seeds: dict[str, int] | None = None
    for number, problem in enumerate(problems, start=1):
        if (problem.answers < 0).all():
            continue
        found = {name: len(values) for name, values in problem.scores.items()}
        if seeds is not None and found != seeds:
            raise InputError(
                f"problem {number} has scores of {found}, those before it of {seeds} (models and seeds)."
            )
        seeds = found
        for name in ("orm", "prm"):
            if name in seeds and (problem.scores[name][:, problem.answers >= 0] < 0).any():
                raise InputError(f"problem {number}: {name} has scores below zero, but a vote needs probabilities.")
    return seeds or {}


def paired_difference(a: Floats, b: Floats, resamples: Ints) -> dict[str, Any]:
    """Returns the mean of a - b over problems and its 95 % percentile interval under resampled problems.

    Args:
        a: [P] pass rate of each problem under one method.
        b: [P] under the other.
        resamples: [n_boot, P] indices of problems.
    """
    delta = a - b
    low, high = np.percentile(delta[resamples].mean(axis=1), [2.5, 97.5])
    return {"mean": float(delta.mean()), "interval": [float(low), float(high)]}


def _simulate(
    problems: list[Problem], seeds: Mapping[str, int], sizes: list[int], m: int, *, n_trials: int, seed: int
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Returns pass rates by trial, {method: [seeds, N, R]}, and by problem, {method: [N, P]} (mean over
    seeds).
    """
    block = max(1, _BLOCK // (n_trials * m))
    trials: dict[str, Floats] = {}
    by_problem: dict[str, list[Floats]] = {}
    for start in range(0, len(problems), block):
        part = problems[start : start + block]
        rng = np.random.default_rng([seed, 0, start])
        for method, passed in _simulate_block(part, seeds, sizes, m, n_trials=n_trials, rng=rng).items():
            summed = passed.sum(axis=3) / len(problems)
            trials[method] = trials[method] + summed if method in trials else summed
            by_problem.setdefault(method, []).append(passed.mean(axis=(0, 2)))
    return trials, {method: np.concatenate(parts, axis=1) for method, parts in by_problem.items()}


def _simulate_block(
    problems: list[Problem],
    seeds: Mapping[str, int],
    sizes: list[int],
    m: int,
    *,
    n_trials: int,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """Returns {method: [seeds, N, R, P]}, the chance that each problem is right in each trial (0, 1 or a
    share).
    """
    p = len(problems)
    answers = np.full((p, m), -1, np.int64)
    texts = np.zeros((p, m), np.int64)
    right = np.zeros((p, m), bool)
    for i, problem in enumerate(problems):
        answers[i, : len(problem.answers)] = problem.answers
        texts[i, : len(problem.answers)] = problem.texts
        right[i, : len(problem.answers)] = problem.right
    order = np.argsort(rng.random((n_trials, p, m), dtype=np.float32), axis=2)
    rows = np.arange(p)[:, None]
    right_at, answer_at, text_at = right[rows, order], answers[rows, order], texts[rows, order]
    out: dict[str, Floats] = {}
    out["pass1"] = np.broadcast_to(right.mean(axis=1), (1, len(sizes), n_trials, p))
    out["majority"] = _vote(answer_at, right_at, (answer_at >= 0).astype(float), sizes)[None]
    for name in SCORES:
        if name not in seeds:
            continue
        scores = np.full((seeds[name], p, m), -math.inf)
        for i, problem in enumerate(problems):
            if name in problem.scores:
                scores[:, i, : len(problem.answers)] = problem.scores[name]
        shuffled = [of_seed[rows, order] for of_seed in scores]
        out[name] = np.stack([_highest(values, right_at, sizes) for values in shuffled])
        if name != "bt":
            votes = [_vote(answer_at, right_at, np.where(answer_at >= 0, v, 0.0), sizes) for v in shuffled]
            out[f"{name}_vote"] = np.stack(votes)
    out["chance"] = _chance(text_at, right_at, answer_at >= 0, sizes)[None]
    out["oracle"] = np.stack([right_at[:, :, :n].any(axis=2) for n in sizes]).astype(float)[None]
    return out


def _highest(scores: Floats, right: Bools, sizes: list[int]) -> Floats:
    """Returns [N, R, P]: is the first highest-scored of the first N right (missing ones are not right)."""
    chosen = [scores[:, :, :n].argmax(axis=2)[:, :, None] for n in sizes]
    return np.stack([np.take_along_axis(right, index, axis=2)[:, :, 0] for index in chosen]).astype(float)


def _vote(answers: Ints, right: Bools, weights: Floats, sizes: list[int]) -> Floats:
    """Returns [N, R, P]: is the answer with the largest weight among the first N right.

    `weights` is [R, P, M]. Each answer starts, when it first appears, with a bonus below any real difference
    that shrinks with its place: ties go to the first, and an answer that is not in the subset never wins.
    """
    r, p, m = answers.shape
    n_answers = int(answers.max(initial=-1)) + 2
    cell = (np.arange(r * p) * n_answers).reshape(r, p)
    totals = np.zeros(r * p * n_answers)
    is_right = np.zeros(r * p * n_answers, bool)
    out = []
    for j in range(max(sizes)):
        index = cell + answers[:, :, j] + 1  # column 0 collects the samples without an answer
        bonus = (totals[index] == 0.0) * (1e-9 * (m - j) / m)
        totals[index] += np.where(answers[:, :, j] >= 0, weights[:, :, j] + bonus, 0.0)
        is_right[index] |= right[:, :, j]
        if j + 1 in sizes:
            winner = totals.reshape(r, p, n_answers).argmax(axis=2)
            out.append(is_right[cell + winner])
    return np.stack(out).astype(float)


def _chance(texts: Ints, right: Bools, present: Bools, sizes: list[int]) -> Floats:
    """Returns [N, R, P]: the share of right ones among the unique texts of the first N; 0 where none is
    present.
    """
    r, p, _ = texts.shape
    n_texts = int(texts.max()) + 1
    cell = (np.arange(r * p) * n_texts).reshape(r, p)
    seen = np.zeros(r * p * n_texts, bool)
    n_unique, n_right = np.zeros((r, p)), np.zeros((r, p))
    out = []
    for j in range(max(sizes)):
        index = cell + texts[:, :, j]
        is_new = ~seen[index] & present[:, :, j]
        seen[index] |= present[:, :, j]
        n_unique += is_new
        n_right += is_new & right[:, :, j]
        if j + 1 in sizes:
            out.append(n_right / np.maximum(n_unique, 1))
    return np.stack(out)


def _aucs(problems: list[Problem], seeds: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Returns AUCs by reward model, means over its seeds; samples without an answer are left out."""
    present = [problem.answers >= 0 for problem in problems]
    right = np.concatenate([problem.right[mask] for problem, mask in zip(problems, present, strict=True)])
    number = np.concatenate([np.full(mask.sum(), i) for i, mask in enumerate(present)])
    out: dict[str, dict[str, Any]] = {}
    for name, n_seeds in seeds.items():
        within, pooled, n_problems = [], [], 0
        for k in range(n_seeds):
            scores = np.concatenate(
                [q.scores[name][k][mask] for q, mask in zip(problems, present, strict=True) if mask.any()]
            )
            value, n_problems = within_problem_auc(number, scores, right)
            within.append(value)
            pooled.append(auc(scores, right))
        labelled = [problem for problem in problems if name in problem.step_scores]
        step = math.nan
        if labelled:
            step_scores = np.concatenate([problem.step_scores[name] for problem in labelled])
            step = auc(step_scores, np.concatenate([problem.step_right for problem in labelled]))
        out[name] = {
            "within_problem": _mean(within),
            "n_problems_with_both": n_problems,
            "pooled": _mean(pooled),
            "step": _mean([step]),
        }
    return out


def _mean(values: list[float]) -> float | None:
    return None if any(math.isnan(value) for value in values) else float(np.mean(values))


def _counts(problems: list[Problem], m: int) -> dict[str, float]:
    samples = [len(problem.answers) for problem in problems]
    return {
        "problems": len(problems),
        "samples": sum(samples),
        "samples_without_answer": sum(int((problem.answers < 0).sum()) for problem in problems),
        "largest_n": m,
        "problems_with_fewer_samples": sum(n < m for n in samples),
        "mean_unique_texts": float(np.mean([len(np.unique(problem.texts)) for problem in problems])),
    }
