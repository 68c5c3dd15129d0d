"""Best-of-N out of the database: sampled solutions with outcome and scores, in the shape the evaluation reads."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.scores import ScoredSolution, scored_solutions, step_judgements
from stepmark.answers.key import answer_key
from stepmark.errors import InputError
from trainer.evaluate.report import write_best_of_n


def collect_best_of_n(
    engine: sa.Engine,
    reward_models: Mapping[str, Sequence[str]],
    *,
    source: str | None,
    skip_unscored: bool = False,
) -> list[dict[str, Any]]:
    """Gathers the problems of a source for `trainer.evaluate.best_of_n`.

    Args:
        engine: The database.
        reward_models: For each of `prm`, `orm`, `bt` that is wanted, the names of its checkpoints, one a seed.
        source: Only solutions of sources that match this pattern.
        skip_unscored: Leave out solutions that a reward model gave no score, such as those too long for it.

    Returns:
        One dictionary a problem, as `trainer.evaluate.best_of_n.parse_problem` describes it. An answer that cannot
        be read counts as none. Steps that a labeller judged carry the first PRM's score, once for each different
        text.

    Raises:
        InputError: There is no solution, one was never verified, or scores are missing.
    """
    names = [name for checkpoints in reward_models.values() for name in checkpoints]
    solutions = scored_solutions(engine, names, source=source)
    if not solutions:
        where = "" if source is None else f" of sources like {source!r}"
        raise InputError(f"there are no solutions{where}; run `stepmark generate solutions` first")
    for name in names:
        missing = sum(name not in solution.scores for solution in solutions)
        if missing == len(solutions) or (missing and not skip_unscored):
            raise InputError(
                f"{missing} of {len(solutions)} solutions have no score by {name!r}; run `stepmark score`. "
                "Those that are too long for the model can be left out: --skip-unscored"
            )
    solutions = [solution for solution in solutions if all(name in solution.scores for name in names)]
    if not solutions:
        raise InputError(f"no solution has a score by each of {', '.join(names)}; run `stepmark score` for each")
    unverified = sum(not solution.is_verified for solution in solutions)
    if unverified:
        raise InputError(f"{unverified} of {len(solutions)} solutions are not verified; run `stepmark verify`")
    steps: dict[int, list[tuple[bool, float]]] = {}
    if reward_models.get("prm"):
        steps = step_judgements(engine, reward_models["prm"][0], source=source)
    return [
        _problem(list(group), reward_models, steps)
        for _, group in groupby(solutions, key=lambda solution: solution.problem_id)
    ]


def evaluate_best_of_n(
    engine: sa.Engine,
    reward_models: Mapping[str, Sequence[str]],
    *,
    source: str | None,
    out: Path,
    skip_unscored: bool = False,
    ns: Sequence[int] = (1, 2, 4, 8, 16, 32),
    n_trials: int = 400,
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures best-of-N of the solutions in the database, and writes what was measured beside the results.

    `out` receives `problems.jsonl`, which anybody can evaluate again, and what `write_best_of_n` writes. Arguments
    and errors are those of `collect_best_of_n` and `trainer.evaluate.best_of_n.best_of_n`.
    """
    problems = collect_best_of_n(engine, reward_models, source=source, skip_unscored=skip_unscored)
    out.mkdir(parents=True, exist_ok=True)
    file = out / "problems.jsonl"
    file.write_text("".join(json.dumps(problem) + "\n" for problem in problems), encoding="utf-8")
    return write_best_of_n(file, out, ns=ns, n_trials=n_trials, n_boot=n_boot, seed=seed)


def _problem(
    solutions: list[ScoredSolution],
    reward_models: Mapping[str, Sequence[str]],
    steps: Mapping[int, list[tuple[bool, float]]],
) -> dict[str, Any]:
    rows = []
    seen: set[str] = set()
    for solution in solutions:
        row: dict[str, Any] = {
            "text": solution.text_hash,
            "answer": None if solution.answer is None or solution.outcome is None else answer_key(solution.answer),
            "is_correct": solution.outcome,
            "scores": {
                kind: [solution.scores[name] for name in checkpoints] for kind, checkpoints in reward_models.items()
            },
        }
        if solution.text_hash not in seen:
            row["steps"] = [
                {"is_correct": is_right, "scores": {"prm": score}}
                for is_right, score in steps.get(solution.solution_id, [])
            ]
        seen.add(solution.text_hash)
        rows.append(row)
    return {"problem_id": solutions[0].problem_id, "solutions": rows}
