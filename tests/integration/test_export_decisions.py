"""Sets that follow from what several labellers agree on: a reviewer's decision goes before them."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.adjudications import decide, decide_whole
from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.models import Annotation, Critique, Problem, Solution
from db.tasks import CritiqueAnswer, Wanted, add_tasks
from exports.queries.critique_rows import CritiqueOptions, CritiquePairOptions, critique_preference_set, critique_set
from exports.queries.derived_pairs import DerivedPairOptions, derived_pair_set
from exports.queries.exporting import Target, export_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.selection import Counts, Selection, SetRow, TrainingSet
from stepmark.cli.main import app
from tests.labelling import add_project, answered, fill

RIGHT, WRONG_LATE, WRONG_EARLY = ["1 + 1 = 2", "2 + 1 = 3"], ["1 + 1 = 2", "2 + 1 = 4"], ["1 + 1 = 3", "3 + 1 = 4"]


def rows_of(engine: sa.Engine, wanted: TrainingSet) -> tuple[list[SetRow], Counter[str]]:
    counts = Counts()
    with reading(engine) as session:
        return list(wanted.rows(session, (), counts)), +counts.more


def sides(rows: Sequence[SetRow]) -> list[tuple[str, str, str]]:
    """The last step of both texts, and the rule."""
    return sorted(
        (row.row["chosen"].split(": ")[-1], row.row["rejected"].split(": ")[-1], row.trace["rule"]) for row in rows
    )


@pytest.fixture
def steps(database: sa.Engine) -> sa.Engine:
    """Three solutions of one problem; of the second the last step is contested."""
    with writing(database) as session:
        session.add(Problem(statement_hash="0" * 32, family="0" * 32, statement="What is 1 + 1 + 1?"))
        session.flush()
        for number, found in enumerate((RIGHT, WRONG_LATE, WRONG_EARLY)):
            text = "\n".join(found)
            session.add(
                Solution(
                    problem_id=1,
                    text=text,
                    text_hash=f"{number:032x}",
                    steps=found,
                    source="sums",
                    source_key=str(number),
                )
            )
            session.flush()
    project_id = add_project(database, n_wanted=2, settings={"gold_share": 0})
    add_tasks(database, [Wanted(1), Wanted(2), Wanted(3)], project_id=project_id)
    said = {1: ([1, 1], [1, 1]), 2: ([1, -1], [1, 1]), 3: ([-1, None], [-1, None])}
    answered(database, project_id, said)
    return database


def decided(engine: sa.Engine, task_id: int, labels: dict[int, int]) -> None:
    decide(engine, task_id, labels, reviewer_id=find_or_create_annotator(engine, "annotator-3"))


def test_first_errors_follow_a_reviewer_where_labellers_differ(steps: sa.Engine) -> None:
    def pairs(**options: Any) -> tuple[list[tuple[str, str, str]], Counter[str]]:
        found, more = rows_of(steps, preference_set(Selection(), PreferenceOptions(origin="first-errors", **options)))
        return sides(found), more

    rule = "right for longer by step labels"
    undecided = ([("2 + 1 = 3", "3 + 1 = 4", rule)], {"solutions_with_labellers_who_differ": 1})
    assert pairs() == undecided
    decided(steps, 2, {1: -1})
    after = f"{rule}, after a reviewer"
    assert pairs() == (
        [("2 + 1 = 3", "2 + 1 = 4", after), ("2 + 1 = 3", "3 + 1 = 4", rule), ("2 + 1 = 4", "3 + 1 = 4", after)],
        {},
    )
    assert pairs(adjudicated="ignore") == undecided
    assert pairs(adjudicated="only") == ([], {"solutions_not_adjudicated": 2})
    decided(steps, 2, {1: 1})
    assert pairs()[0][0] == ("2 + 1 = 3", "3 + 1 = 4", rule), "the latest decision stands"
    assert pairs()[1] == {}


def test_a_solution_whose_labels_end_at_a_step_that_is_right_after_all_has_no_first_error(steps: sa.Engine) -> None:
    decided(steps, 3, {0: 1})
    options = PreferenceOptions(origin="first-errors")
    found, more = rows_of(steps, preference_set(Selection(), options))
    assert found == []
    assert more == {"solutions_with_labellers_who_differ": 1, "solutions_unlabelled_after_a_decision": 1}


def test_pairs_that_share_their_first_steps_follow_a_reviewer_where_labellers_differ(steps: sa.Engine) -> None:
    def pairs(**options: Any) -> tuple[list[tuple[str, str, str]], Counter[str]]:
        chosen = DerivedPairOptions(origin="shared-prefix", **options)
        found, more = rows_of(steps, derived_pair_set(Selection(), chosen))
        return sides(found), more

    undecided = ([("1 + 1 = 2", "1 + 1 = 3", "step labels")], {"solutions_with_labellers_who_differ": 1})
    assert pairs() == undecided
    decided(steps, 2, {1: -1})
    late = ("2 + 1 = 3", "2 + 1 = 4", "step labels, after a reviewer")
    assert pairs() == ([undecided[0][0], late], {})
    assert late in pairs(min_labellers=2)[0]
    assert pairs(adjudicated="ignore") == undecided
    assert pairs(adjudicated="only") == ([], {"solutions_not_adjudicated": 2})


@pytest.fixture
def critiques(database: sa.Engine) -> sa.Engine:
    """Two critiques of one solution: on the first the judgements differ, the second is wrong."""
    fill(database, 1)
    with writing(database) as session:
        for text in ("All hold.", "Step 1 is wrong."):
            session.add(Critique(solution_id=1, problem_id=1, kind="judge", text=text, verdict="pass"))
            session.flush()
    project_id = add_project(database, kind="critique", n_wanted=2, settings={"gold_share": 0})
    add_tasks(database, [Wanted(1, critique_id=1), Wanted(1, critique_id=2)], project_id=project_id)
    right, wrong = CritiqueAnswer("right"), CritiqueAnswer("wrong")
    answered(database, project_id, {1: (right, wrong), 2: (wrong, wrong)})
    return database


def test_critiques_stand_by_a_reviewer_where_judgements_differ_and_name_who_judged_them(critiques: sa.Engine) -> None:
    def standing(**options: Any) -> list[str]:
        chosen = CritiqueOptions(confirmed_by="people", **options)
        return [row.row["completion"] for row in rows_of(critiques, critique_set(Selection(), chosen))[0]]

    reviewer = find_or_create_annotator(critiques, "annotator-3")
    with reading(critiques) as session:
        of = {
            (row.task_id, row.annotator_id): row.annotation_id
            for row in session.execute(
                sa.select(Annotation.task_id, Annotation.annotator_id, Annotation.annotation_id)
            )
        }
    assert standing() == []
    assert standing(standing="not-refuted") == ["All hold."]
    decide_whole(critiques, 1, reviewer_id=reviewer, judgement="right", adopted_from_id=of[1, 1])
    assert standing() == standing(min_labellers=3) == standing(adjudicated="only") == ["All hold."]
    assert standing(adjudicated="ignore") == []
    options = CritiqueOptions(confirmed_by="either")
    [pair], more = rows_of(critiques, critique_preference_set(Selection(), options, CritiquePairOptions()))
    assert (pair.row["chosen"], pair.row["rejected"]) == ("All hold.", "Step 1 is wrong.")
    assert more == {"critiques_of_several_judges": 2}
    assert pair.trace["rule"] == "a reviewer's decision"
    assert pair.trace["annotation_ids"] == [of[1, 1], of[2, 1], of[2, 2]]
    assert pair.trace["annotator_ids"] == [reviewer, 1, 2]


def test_a_set_of_judged_critiques_tells_how_far_the_judges_agree(critiques: sa.Engine) -> None:
    counts = Counts()
    with reading(critiques) as session:
        options = CritiqueOptions(confirmed_by="people", standing="any")
        rows = list(critique_set(Selection(), options).rows(session, (), counts))
    assert [row.trace["rule"] for row in rows] == ["judgement of 2", "judgement of 2"]
    assert counts.agreement["raw agreement"] == 0.5


def test_an_exported_critique_is_explained_by_its_verdict_and_by_who_judged_it(
    critiques: sa.Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = CritiqueOptions(confirmed_by="people", standing="any")
    export_set(critiques, Target(tmp_path, shares={"train": 1.0}), critique_set(Selection(), chosen))
    url = critiques.url.render_as_string(hide_password=False)
    app(
        ["export", "explain", str(tmp_path), "critique/train/1", "--annotator-names", "--db", url],
        standalone_mode=False,
    )
    printed = capsys.readouterr().out
    assert "critique/train/1: judgement of 2; licence unknown" in printed
    assert "critique 2: judge, of no source, by nobody named, on problem 1: pass, not confirmed" in printed
    assert re.search(r"annotation \d: annotator-2 \(person\), .*: critique 2 is wrong", printed)
