"""Draws problems of the embedded domain into a database: to learn from, or to measure on.

    python examples/grpo/problems.py --db sqlite:///grpo/stepmark.db --source grpo/learn --n 400 --seed 6600

No family of problems is drawn that stands in the database already, and none that the embedded model was trained on.
"""

import argparse

import sqlalchemy as sa

from db.connect import open_database, reading, writing
from db.models import Problem
from db.problems import add_problems
from generator.domain import draw_problems, problem_record
from generator.domain.problems import family_of


def main() -> None:
    """Draws and stores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", required=True, help="database URL; made if it is not there")
    parser.add_argument("--source", required=True, help="name of the problems' source")
    parser.add_argument("--n", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()

    database = open_database(args.db, create=True)
    with reading(database) as session:
        taken = {family_of(statement) for statement in session.scalars(sa.select(Problem.statement))}
    problems = draw_problems(args.n, args.seed, part="reserved", exclude_families=taken)
    with writing(database) as session:
        add_problems(session, [problem_record(problem, args.source, i) for i, problem in enumerate(problems)])
    print(f"{args.n} problems drawn into {args.source}")


if __name__ == "__main__":
    main()
