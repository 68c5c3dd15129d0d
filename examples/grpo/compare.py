"""Samples from two models on the same problems, verifies, and tells what changed, with paired intervals by problem.

    python examples/grpo/compare.py --db sqlite:///grpo/stepmark.db --source grpo/measure \
        examples/embedded/model grpo/model

The problems must be of the embedded domain, whose checker reads the steps too.
"""

import argparse

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from db.connect import open_database
from db.rounds import run_samples, solution_texts
from db.runs import ProblemSelection
from generator.domain import check_solution, parse_problem
from generator.engines.transformers import TransformersEngine
from generator.solutions import generate_solutions
from stepmark.engine import Sampling
from stepmark.flows.experiments.estimates import in_words, mean_of
from stepmark.flows.loop import as_sampled
from stepmark.flows.stages import require_done
from stepmark.flows.verify import verify_solutions
from stepmark.guards import by_problem, measure_problem
from stepmark.prompts import read_prompt

MEASURES = ("pass@1", "pass@{n}", "majority", "right answer, wrong step", "different texts")


def main() -> None:
    """Prints one line for each measure: before, after, and the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", required=True, help="database URL")
    parser.add_argument("--source", required=True, help="of the problems to measure on")
    parser.add_argument("--n", type=int, default=16, help="samples of each problem")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("before", help="folder of a model")
    parser.add_argument("after", help="folder of another")
    args = parser.parse_args()

    database = open_database(args.db)
    sampling = Sampling(temperature=args.temperature, max_tokens=128)
    runs = [_sample(database, model, args.source, args.n, sampling) for model in (args.before, args.after)]
    verify_solutions(database)
    before, after = (_measured(database, run_id, args.n) for run_id in runs)
    print(f"{len(before)} problems x {args.n} samples at temperature {args.temperature}; a mean over problems each")
    for index, name in enumerate(MEASURES):
        old, new = mean_of(before[:, index]), mean_of(after[:, index])
        change = mean_of(after[:, index] - before[:, index])
        print(f"{name.format(n=args.n):26}{in_words(old)} to {in_words(new)}: {in_words(change, sign=True)}")


def _sample(database: sa.Engine, model: str, source: str, n: int, sampling: Sampling) -> int:
    """Samples what is not there yet, and returns the run's id."""
    engine = TransformersEngine(model, threads=1)
    try:
        report = generate_solutions(
            database,
            engine,
            n=n,
            prompt=read_prompt("plain"),
            sampling=sampling,
            selection=ProblemSelection(source=source),
        )
    finally:
        engine.close()
    require_done(report, f"sampling from {model}", then="Run it again.")
    assert report.run_id is not None, "a run that is done has an id"
    return report.run_id


def _measured(database: sa.Engine, run_id: int, n: int) -> npt.NDArray[np.float64]:
    """The measures of each problem: [G, 5]; wrong steps are counted among all samples."""
    samples = run_samples(database, run_id)
    texts = solution_texts(database, [sample.solution_id for sample in samples])
    by_luck = {
        solution_id
        for solution_id, statement, steps, answer in texts
        if (problem := parse_problem(statement)) and check_solution(problem, steps, answer).is_right_by_wrong_steps
    }
    rows = []
    for problem_id, group in by_problem(as_sampled(samples)).items():
        own = [sample for sample in samples if sample.problem_id == problem_id]
        found = measure_problem(group, n)
        luck = sum(sample.solution_id in by_luck for sample in own) / len(own)
        n_texts = len({sample.text_hash for sample in own})
        rows.append((found.pass_1, found.pass_k, found.majority, luck, n_texts))
    return np.array(rows, float)


if __name__ == "__main__":
    main()
