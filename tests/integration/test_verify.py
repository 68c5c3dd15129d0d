"""Outcomes in the database, on both databases."""

import sqlalchemy as sa

from db.connect import reading, writing
from db.models import Solution
from db.problems import add_problems
from db.solutions import add_solutions
from stepmark.flows.verify import verify_solutions
from stepmark.records import ProblemRecord, SolutionRecord

ANSWERS = {
    # answer: (what its source says, the outcome that must be found, by which rule)
    "1,000": (True, True, "number"),
    "$1000": (None, True, "number"),
    "999": (True, False, "number"),
    "\\frac{2000}{2}": (None, True, "number"),
    "no idea at all": (False, None, "text"),
    None: (False, None, "no_answer"),
}


def _fill(database: sa.Engine, *, reference: str | None) -> None:
    with writing(database) as session:
        problem = ProblemRecord("How many grams is a kilogram?", "test", "0", reference_answer=reference)
        problem_ids = add_problems(session, [problem]).problem_ids
        records = [
            SolutionRecord(
                source="test",
                source_key=str(index),
                text=f"A: {answer}",
                steps=("I look it up.",),
                answer=answer,
                extra=None if said is None else {"is_correct": said},
            )
            for index, (answer, (said, _, _)) in enumerate(ANSWERS.items())
        ]
        hashes = [f"{index:032d}" for index in range(len(records))]
        add_solutions(session, records, problem_ids=problem_ids * len(records), text_hashes=hashes)


def _outcomes(database: sa.Engine) -> list[tuple[bool | None, str | None]]:
    with reading(database) as session:
        query = sa.select(Solution.outcome, Solution.outcome_rule).order_by(Solution.solution_id)
        return [(outcome, rule) for outcome, rule in session.execute(query)]


def test_each_answer_gets_its_outcome_and_an_unreadable_one_is_unknown_not_false(database: sa.Engine) -> None:
    _fill(database, reference="1000")
    report = verify_solutions(database)
    assert _outcomes(database) == [(outcome, rule) for _, outcome, rule in ANSWERS.values()]
    assert report.n_read == len(ANSWERS)
    assert dict(report.results) == {"correct": 3, "incorrect": 1, "unparsable": 1, "no_answer": 1}
    assert dict(report.against_source) == {"agree": 1, "contradict": 1, "unknown, marked wrong": 2}
    assert len(report.contradicting) == 1


def test_what_was_verified_is_not_verified_again_unless_asked(database: sa.Engine) -> None:
    _fill(database, reference="1000")
    verify_solutions(database)
    assert verify_solutions(database).n_read == 0
    assert verify_solutions(database, again=True).n_read == len(ANSWERS)


def test_without_a_reference_nothing_is_decided_and_a_later_one_is_used(database: sa.Engine) -> None:
    _fill(database, reference=None)
    report = verify_solutions(database)
    assert dict(report.results) == {"no_reference": 5, "no_answer": 1}
    with writing(database) as session:
        add_problems(session, [ProblemRecord("How many grams is a kilogram?", "other", "0", reference_answer="1000")])
    assert verify_solutions(database).results["correct"] == 3
