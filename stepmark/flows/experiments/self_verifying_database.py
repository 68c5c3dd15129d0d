"""The self-verifying experiment's database: what its rounds sampled, with the verifier's word, for `stepmark export`.

The small critic's notation is its own, and no words are in it. What is stored says the same as a critic with a
prompt would write it (`Step 1: 4 + 3 = 7`, `Verdict: pass`), so that the rows suit a model that reads text; what
it wrote itself stands in the critique's extra.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa

from db.connect import open_database, reading, writing
from db.critiques import add_critiques
from db.models import Critique, Solution
from db.problems import add_problems
from db.selection import solution_in_source
from db.solutions import add_solutions, solution_text_hash
from exports.queries.critique_rows import critique_set
from exports.queries.exporting import Target, export_set
from exports.queries.selection import Selection, TrainingSet
from exports.queries.task_rows import rl_set
from generator.domain import DomainProblem, problem_record
from generator.domain.carrying import written_out
from stepmark.errors import InputError
from stepmark.flows.round_labels import CHECKER, label_by_domain
from stepmark.flows.verdicts import verify_verdicts
from stepmark.flows.verify import verify_solutions
from stepmark.problems import statement_hash
from stepmark.records import ProblemRecord, SolutionRecord
from stepmark.steps import render_solution
from stepmark.verdicts import read_application

SOURCE = "self-verifying"
"""Of the problems; that of a round's solutions ends in its number."""


@dataclass(frozen=True, slots=True)
class Criticised:
    """A chain with the critique that the model wrote of it on a variant."""

    problem: DomainProblem
    variant: DomainProblem
    kind: str
    """`own`, `honest` or how it was planted."""
    steps: tuple[str, ...]
    answer: str | None
    critique: str
    """In the small critic's notation."""
    critic: str
    """The model's name."""
    round_number: int


def keep_database(folder: Path, criticised: Sequence[Criticised]) -> dict[str, int]:
    """Stores chains and critiques in `folder/stepmark.db` and verifies them, then exports what trainers read.

    What is there already stays. The exports lie in `folder/exports`.

    Returns:
        Rows of the database by table, and of each export.
    """
    url = f"sqlite:///{folder / 'stepmark.db'}"
    database = open_database(url, create=True)
    try:
        _store(database, criticised)
        verify_solutions(database)
        with reading(database) as session:
            ids = session.scalars(sa.select(Solution.solution_id).where(solution_in_source(f"{SOURCE}/*"))).all()
        label_by_domain(database, ids, noise=0.0, seed=0, annotator=CHECKER)
        verify_verdicts(database)
        with reading(database) as session:
            n_known = session.scalar(sa.select(sa.func.count()).where(Critique.is_confirmed.is_not(None))) or 0
        target = Target(folder / "exports", shares={"train": 0.95, "validation": 0.05}, overwrite=True)
        return {
            "solutions": len(ids),
            "critiques whose verdict is known to be right or wrong": n_known,
            "rows of export rl": _exported(database, target, rl_set(Selection())),
            "rows of export critique": _exported(database, target, critique_set(Selection())),
        }
    finally:
        database.dispose()


def _exported(database: sa.Engine, target: Target, wanted: TrainingSet) -> int:
    """Writes a set and counts its rows; none where a model wrote nothing that stands."""
    try:
        return export_set(database, target, wanted).n_kept
    except InputError:
        return 0


def _store(database: sa.Engine, criticised: Sequence[Criticised]) -> None:
    problems = list(dict.fromkeys(one.problem.statement for one in criticised))
    number = {statement: index for index, statement in enumerate(problems)}
    originals = {one.problem.statement: one.problem for one in criticised}
    records = {text: problem_record(originals[text], SOURCE, index) for text, index in number.items()}
    variants = {
        one.variant.statement: ProblemRecord(
            statement=one.variant.statement,
            source="variants/template",
            source_key=f"{statement_hash(one.problem.statement)}/0",
            reference_answer=one.variant.answer,
            licence="Apache-2.0",
            kind="template",
            parent=records[one.problem.statement],
        )
        for one in criticised
    }
    solutions = [
        SolutionRecord(
            source=f"{SOURCE}/{one.round_number}",
            source_key=str(index),
            text=render_solution(one.steps, one.answer),
            steps=one.steps,
            generator=one.critic if one.kind == "own" else f"planted/{one.kind}",
            answer=one.answer,
        )
        for index, one in enumerate(criticised)
    ]
    hashes = [statement_hash(one.problem.statement) for one in criticised]
    with writing(database) as session:
        known = add_problems(session, list(records.values())).problem_ids
        ids = dict(zip(records, known, strict=True))
        ids |= dict(zip(variants, add_problems(session, list(variants.values())).problem_ids, strict=True))
        added = add_solutions(
            session,
            solutions,
            problem_ids=[ids[one.problem.statement] for one in criticised],
            text_hashes=[solution_text_hash(h, s.text) for h, s in zip(hashes, solutions, strict=True)],
        )
        add_critiques(
            session,
            [
                _critique(one, index, solution_id=solution_id, variant_id=ids[one.variant.statement])
                for index, (one, solution_id) in enumerate(zip(criticised, added.solution_ids, strict=True))
            ],
        )


def _critique(one: Criticised, index: int, *, solution_id: int, variant_id: int) -> dict[str, object]:
    text = written_out(one.critique, one.variant.answer)
    found = read_application(text, len(one.steps))
    extra = {"notation": one.critique, "carried": [asdict(step) for step in found.carried]}
    if found.verdict.reason is not None:
        extra["reason"] = found.verdict.reason
    return {
        "source": f"{SOURCE}/{one.round_number}",
        "source_key": str(index),
        "request_id": None,
        "run_id": None,
        "target_critique_id": None,
        "kind": "variant",
        "critic": one.critic,
        "solution_id": solution_id,
        "problem_id": variant_id,
        "text": text,
        "verdict": found.verdict.word,
        "first_error": found.verdict.first_error,
        "answer": found.answer,
        "extra": extra,
    }
