"""How well rollouts find the first error, and what they cost, against the embedded domain's exact checker.

    python benchmarks/generation/rollouts.py [--problems 200] [--n 4] [--k 8]

Reserved problems (seed 930), `n` solutions of each at T = 0.7 by the embedded model, equal texts once. Rollouts of
every prefix (full) and by binary search of the wrong ones (binary), each in a database of its own, so that neither
profits from the other. A first error is found where it is named at the very step that the checker names; a solution
has one where the checker labels a step -1. Precision is over the errors named, recall over the errors there are,
those of problems that no rollout solved (`unsolved`) counted as missed.

Writes benchmarks/results/rollouts.json.
"""

import argparse
import json
import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.connect import open_database, reading, writing
from db.models import Problem, Solution
from db.problems import add_problems
from db.step_values import valued_solutions
from db.subjects import SolutionSelection
from generator.asking import Report, run_task
from generator.domain import check_steps, draw_problems, parse_problem
from generator.engines.transformers import TransformersEngine
from generator.rollouts import Mode, RolloutsTask
from generator.solutions import generate_solutions
from stepmark.answers import AnswerVerifier
from stepmark.engine import Sampling
from stepmark.flows.verify import verify_solutions
from stepmark.prompts import read_prompt
from stepmark.records import ProblemRecord
from stepmark.step_values import Decision, StepValue, consensus, first_error

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "rollouts.json"
MODEL = str(ROOT / "examples" / "embedded" / "model")
SEED = 930
SAMPLING = Sampling(temperature=0.7, max_tokens=128)
Values = Mapping[int, tuple[int, Mapping[int, StepValue]]]
"""Number of steps and values, by solution."""


def sample_solutions(path: Path, n_problems: int, n: int) -> None:
    database = open_database(f"sqlite:///{path}", create=True)
    problems = draw_problems(n_problems, SEED, part="reserved")
    with writing(database) as session:
        add_problems(
            session, [ProblemRecord(p.statement, "measure", str(i), p.answer) for i, p in enumerate(problems)]
        )
    with closing(TransformersEngine(MODEL, threads=1)) as engine:
        generate_solutions(database, engine, n=n, prompt=read_prompt("plain"), sampling=SAMPLING)
    verify_solutions(database)
    database.dispose()


def roll_out(path: Path, k: int, mode: Mode, *, seed: int = 0, outcome: bool | None = None) -> tuple[Report, Values]:
    database = open_database(f"sqlite:///{path}")
    sampling = Sampling(temperature=SAMPLING.temperature, max_tokens=SAMPLING.max_tokens, seed=seed)
    with closing(TransformersEngine(MODEL, threads=1)) as engine, AnswerVerifier() as verifier:
        selection = SolutionSelection(outcome=outcome)
        task = RolloutsTask(read_prompt("plain"), sampling, k, verifier, mode=mode, selection=selection)
        report = run_task(database, engine, task)
    assert report.run_id is not None
    assert report.status == "done"
    found = {
        one.solution_id: (one.n_steps, one.values)
        for chunk in valued_solutions(database, report.run_id)
        for one in chunk
    }
    database.dispose()
    return report, found


def checked(path: Path) -> dict[int, tuple[int | None, bool | None]]:
    """First error by the checker, and outcome, of each solution."""
    database = open_database(f"sqlite:///{path}")
    query = sa.select(Solution.solution_id, Solution.steps, Solution.outcome, Problem.statement).join(Problem)
    found = {}
    with reading(database) as session:
        for solution_id, steps, outcome, statement in session.execute(query):
            problem = parse_problem(statement)
            assert problem is not None
            labels = check_steps(problem, steps)
            found[solution_id] = (labels.index(-1) if -1 in labels else None, outcome)
    database.dispose()
    return found


def measure(
    name: str, decisions: Mapping[int, Decision], truth: Mapping[int, tuple[int | None, bool | None]]
) -> list[dict[str, Any]]:
    counts: Counter[str] = Counter()
    for solution_id, decision in decisions.items():
        true = truth[solution_id][0]
        counts["decided"] += decision.undecided is None
        counts["errors"] += true is not None
        counts["named"] += decision.first_error is not None
        counts["hit"] += decision.first_error is not None and decision.first_error == true
        counts["decided right"] += decision == Decision(true)
    of = f"{len(decisions)} solutions, {counts['errors']} with an error; {counts['named']} errors named"
    shares = {
        "precision": (counts["hit"], counts["named"]),
        "recall": (counts["hit"], counts["errors"]),
        "share decided": (counts["decided"], len(decisions)),
        "right where decided": (counts["decided right"], counts["decided"]),
    }
    return [row(f"{name}: {what}", hit / max(n, 1), "share", of) for what, (hit, n) in shares.items()]


def row(name: str, value: float, unit: str, against: str, ratio: float | None = None) -> dict[str, Any]:
    better = "higher" if unit == "share" else "lower"
    return {"row": name, "value": round(value, 3), "unit": unit, "against": against, "ratio": ratio, "better": better}


def decide(values: Values, rule: Any) -> dict[int, Decision]:
    return {key: first_error(found, n_steps, rule=rule) for key, (n_steps, found) in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--k", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "solutions.db"
        sample_solutions(path, args.problems, args.n)
        runs: dict[str, tuple[Report, Values]] = {}
        for run, mode, seed, outcome in (
            ("full", "full", 0, None),
            ("full, wrong only", "full", 0, False),
            ("binary", "binary", 0, None),
            ("full, another seed", "full", 1, None),
        ):
            copy = shutil.copy(path, Path(name) / f"{run}.db")
            runs[run] = roll_out(Path(copy), args.k, mode, seed=seed, outcome=outcome)  # type: ignore[arg-type]
        truth = checked(path)
    full, binary = runs["full"][1], runs["binary"][1]
    wrong = {key: value for key, value in full.items() if truth[key][1] is False}
    rows = []
    for name, values in (("all solutions", full), ("wrong solutions", wrong)):
        for rule in ("hard", "relative"):
            rows += measure(f"full, {rule}, {name}", decide(values, rule), truth)
    rows += measure("binary, hard, wrong solutions", decide(binary, "hard"), truth)
    one, other = decide(full, "hard"), decide(runs["full, another seed"][1], "hard")
    both = {key: consensus(one[key], other[key]) for key in one}
    rows += measure("consensus of two seeds, full, hard, all solutions", both, truth)
    base = runs["full, wrong only"][0]
    for name, (report, values) in runs.items():
        uncached = f"without shared prefixes and stored samples: {report.n_wanted}"
        ratio = round(report.n_stored / report.n_wanted, 2)
        rows.append(
            row(f"samples asked, {name}, {len(values)} solutions", report.n_stored, "samples", uncached, ratio)
        )
    report = runs["binary"][0]
    against = f"full on the same wrong solutions: {base.n_stored}"
    rows.append(
        row(
            "samples asked, binary against full",
            report.n_stored,
            "samples",
            against,
            round(report.n_stored / base.n_stored, 2),
        )
    )
    steps = sum(len(values) - 1 for _, values in binary.values()) / len(binary)
    most = max(math.ceil(math.log2(n + 1)) for n, _ in binary.values())
    rows.append(row("steps rolled out, binary, mean", steps, "steps", f"at most log2(steps + 1), here {most}"))
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    for found in rows:
        print(f"{found['row']:62} {found['value']:>8,} {found['unit']}  {found['against']}")


if __name__ == "__main__":
    main()
