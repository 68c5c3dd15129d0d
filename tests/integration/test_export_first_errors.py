"""Preference pairs from step labels: the solution whose steps are right for longer over the other."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.connect import writing
from db.models import Annotation, Annotator, Problem, Solution
from exports.formats import read_rows
from exports.queries.exporting import Target, export_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.selection import Selection
from stepmark.errors import InputError

SELECTED: dict[str, tuple[int, list[tuple[str, int | None, str]]]] = {
    # Steps, and who said where the first error is, and how the labelling ended.
    "none of 2": (2, [("ann", None, "solution"), ("bob", None, "solution")]),
    "3 of 4": (4, [("ann", 3, "found_error")]),
    "2 of 3": (3, [("ann", 2, "found_error")]),
    "3 of 9": (9, [("ann", 3, "found_error")]),
    "differing": (3, [("ann", 1, "found_error"), ("bob", 2, "found_error")]),
    "given up": (3, [("ann", None, "give_up")]),
    "unlabelled": (3, []),
}


@pytest.fixture
def labelled(database: sa.Engine) -> sa.Engine:
    with writing(database) as session:
        session.add(Problem(problem_id=1, statement="p", statement_hash="p", family="p", kind="original"))
        session.add_all([Annotator(annotator_id=1, name="ann"), Annotator(annotator_id=2, name="bob")])
        session.flush()
        for name, (n_steps, said) in SELECTED.items():
            solution = Solution(
                problem_id=1, source="toy", source_key=name, text=name, text_hash=name, steps=["s"] * n_steps
            )
            session.add(solution)
            session.flush()
            for who, first_error, finish_reason in said:
                session.add(
                    Annotation(
                        submission_id=f"{name} {who}",
                        kind="steps",
                        annotator_id={"ann": 1, "bob": 2}[who],
                        solution_id=solution.solution_id,
                        first_error=first_error,
                        finish_reason=finish_reason,
                    )
                )
    return database


def exported(database: sa.Engine, folder: Path, **options: Any) -> tuple[dict[str, int], dict[str, int], set[str]]:
    target = Target(folder, shares={"train": 1.0}, overwrite=True)
    chosen = PreferenceOptions(origin="first-errors", text="written", **options)
    report = export_set(database, target, preference_set(Selection(), chosen))
    rows = read_rows(folder, "preference", "train")
    return report.dropped, report.more, {f"{row['chosen']} > {row['rejected']}" for row in rows}


def test_a_pair_is_made_where_number_and_share_of_right_steps_agree(labelled: sa.Engine, tmp_path: Path) -> None:
    dropped, more, pairs = exported(labelled, tmp_path)
    # 3 of 9 goes right for more steps than 2 of 3, and for a smaller share; as many steps as 3 of 4.
    assert pairs == {"none of 2 > 3 of 4", "none of 2 > 2 of 3", "none of 2 > 3 of 9", "3 of 4 > 2 of 3"}
    assert dropped == {"neither_right_for_longer": 2}
    assert more == {"solutions_with_labellers_who_differ": 1}


def test_most_labellers_may_decide_where_a_least_agreement_is_asked_for(labelled: sa.Engine, tmp_path: Path) -> None:
    with writing(labelled) as session:
        session.add(Annotator(annotator_id=3, name="cyd"))
        session.flush()
        solution_id = session.scalar(sa.select(Solution.solution_id).where(Solution.source_key == "differing"))
        session.add(
            Annotation(
                submission_id="differing cyd",
                kind="steps",
                annotator_id=3,
                solution_id=solution_id,
                first_error=1,
                finish_reason="found_error",
            )
        )
    _, more, pairs = exported(labelled, tmp_path, min_agreement=0.6)
    assert more == {}
    assert {"none of 2 > differing", "2 of 3 > differing"} <= pairs, "two of three say that step 1 is wrong"
    _, more, pairs = exported(labelled, tmp_path, min_agreement=0.7)
    assert more == {"solutions_with_labellers_who_differ": 1}
    assert not any("differing" in pair for pair in pairs)


def test_labels_are_taken_from_those_who_were_asked_for(labelled: sa.Engine, tmp_path: Path) -> None:
    _, more, pairs = exported(labelled, tmp_path, annotators=("bob",))
    assert (more, pairs) == ({"labels_other_annotator": 5}, {"none of 2 > differing"})
    with pytest.raises(InputError, match="no row to export: read 0"):
        exported(labelled, tmp_path, annotator_kinds=("model",))


def test_pairs_of_a_problem_are_limited(labelled: sa.Engine, tmp_path: Path) -> None:
    dropped, _, pairs = exported(labelled, tmp_path, max_pairs_per_problem=3)
    assert (len(pairs), dropped["over_max_pairs_per_problem"]) == (3, 1)
