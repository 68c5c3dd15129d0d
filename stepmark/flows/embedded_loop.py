"""Problems of the embedded domain for a loop: to learn from, to measure on, and a fixed labelled set."""

from dataclasses import dataclass

import sqlalchemy as sa

from db.connect import reading, writing
from db.models import Solution
from db.problems import add_problems
from db.runs import ProblemSelection
from db.selection import solution_in_source
from generator.domain import draw_problems, problem_record
from generator.engines.transformers import TransformersEngine
from generator.solutions import generate_solutions
from stepmark.engine import Sampling
from stepmark.prompts import read_prompt

from .demo import MODEL
from .round_labels import SIMULATED, label_by_domain
from .stages import require_done

LEARN, MEASURE, FIXED = "loop/learn", "loop/measure", "loop/fixed"
"""Sources of the drawn problems; no family stands in two of them, and the model was trained on none."""


@dataclass(frozen=True, slots=True)
class EmbeddedProblems:
    """How many problems to draw."""

    n_learn: int = 150
    n_measure: int = 120
    n_fixed: int = 60
    n_fixed_samples: int = 4
    """Solutions of each problem of the fixed set, by the embedded model."""
    noise: float = 0.05
    """The share of the fixed set's labels that are wrong, as people's are."""
    seed: int = 5000
    """Of the problems to learn from; the next two seeds draw the others."""


def prepare_embedded(database: sa.Engine, plan: EmbeddedProblems) -> None:
    """Draws the problems into the database and labels the fixed set, where they are not there yet.

    Raises:
        JobError: The fixed set could not be sampled; the same call goes on.
    """
    taken = set[str]()
    for at, (source, n) in enumerate(((LEARN, plan.n_learn), (MEASURE, plan.n_measure), (FIXED, plan.n_fixed))):
        problems = draw_problems(n, plan.seed + at, part="reserved", exclude_families=taken)
        taken |= {problem.family for problem in problems}
        with writing(database) as session:
            add_problems(session, [problem_record(problem, source, i) for i, problem in enumerate(problems)])
    engine = TransformersEngine(str(MODEL), threads=1)
    try:
        report = generate_solutions(
            database,
            engine,
            n=plan.n_fixed_samples,
            prompt=read_prompt("plain"),
            sampling=Sampling(temperature=0.7, max_tokens=128),
            selection=ProblemSelection(source=FIXED),
        )
    finally:
        engine.close()
    require_done(report, "sampling the fixed set", then="Run it again.")
    with reading(database) as session:
        ids = session.scalars(sa.select(Solution.solution_id).where(solution_in_source(FIXED))).all()
    label_by_domain(database, ids, noise=plan.noise, seed=plan.seed, annotator=SIMULATED)
