"""Which rows leave, counted by reason: terms, labels, agreement, difficulty, test sets, balance, lengths."""

import datetime as dt
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from db.connect import writing
from db.models import (
    Adjudication,
    Annotator,
    Problem,
    ProblemFlag,
    ProblemSource,
    Project,
    Run,
    StepValue,
    Task,
    TaskAdjudication,
)
from exports.formats import read_rows
from exports.queries.exporting import ExportReport, Target, export_set
from exports.queries.lengths import Lengths, token_counter
from exports.queries.orm_rows import orm_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection, TrainingSet
from stepmark.dawid_skene import dawid_skene
from stepmark.errors import InputError, SettingsError
from stepmark.problems import family_hash
from tests.integration.test_export_golden import annotation, preference, problem, solution

DAY = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


def source(problem_id: int, name: str, licence: str | None) -> ProblemSource:
    return ProblemSource(problem_id=problem_id, source=name, source_key=str(problem_id), licence=licence)


def fill(engine: sa.Engine, *groups: Sequence[Any]) -> None:
    with writing(engine) as session:
        for group in groups:
            session.add_all(group)
            session.flush()


@pytest.fixture
def labelled(database: sa.Engine) -> sa.Engine:
    """Two problems, four solutions of two steps; three labellers say of solution 1: + +, + -, - 0."""
    fill(
        database,
        [problem(1, "What is 1 + 1 + 1?", "3"), problem(2, "What is 2 + 2 + 2?", "6")],
        [
            source(1, "open/train", "MIT"),
            source(1, "closed/train", "CC-BY-NC-4.0"),
            source(2, "closed/train", "CC-BY-NC-4.0"),
            solution(1, 1, ["1 + 1 = 2", "2 + 1 = 3"], "3", True),
            solution(2, 1, ["1 + 1 = 3", "3 + 1 = 4"], "4", False),
            solution(3, 2, ["2 + 2 = 4", "4 + 2 = 6"], "6", True),
            solution(4, 2, ["2 + 2 = 4", "so it is 6"], "6", True),
        ],
        [Annotator(annotator_id=number, name=f"annotator-{number}") for number in (1, 2, 3)],
        [Project(project_id=1, name="sums", kind="steps", settings={})],
        [Task(task_id=1, project_id=1, kind="steps", solution_id=1, n_wanted=3)],
        annotation(1, 1, 1, [1, 1], task_id=1, created_at=DAY, guideline="1", suggestion_shown=True),
        annotation(2, 1, 2, [1, -1], task_id=1, created_at=DAY + dt.timedelta(days=1), guideline="1"),
        annotation(3, 1, 3, [-1, 0], task_id=1, created_at=DAY + dt.timedelta(days=2), guideline="2"),
        annotation(4, 3, 1, [1, 1], created_at=DAY, source="other"),
    )
    return database


def export(
    engine: sa.Engine, folder: Path, wanted: TrainingSet, **target: Any
) -> tuple[list[dict[str, Any]], dict[str, int], ExportReport]:
    report = export_set(engine, Target(folder, shares={"train": 1.0}, overwrite=True, **target), wanted)
    assert report.n_read == report.n_kept + sum(report.dropped.values())
    return list(read_rows(folder, wanted.config, "train")), report.dropped, report


def labels(engine: sa.Engine, folder: Path, **options: Any) -> list[list[Any]]:
    chosen = PrmOptions(answer_segment=False, **options)
    return [row["labels"] for row in export(engine, folder, prm_set(Selection(), chosen))[0]]


def test_rows_leave_by_the_terms_of_their_solutions_and_of_their_problems(
    labelled: sa.Engine, tmp_path: Path
) -> None:
    def kept(**selection: Any) -> tuple[int, dict[str, int]]:
        rows, dropped, _ = export(labelled, tmp_path, orm_set(Selection(**selection)))
        return len(rows), dropped

    assert kept() == (4, {})
    # The text of problem 1 may be taken from either source; problem 2 is in the closed one alone.
    assert kept(licences=("mit", "CC0-1.0")) == (2, {"licence": 2})
    assert kept(licences_refused=("CC-BY-NC*",)) == (2, {"licence": 2})
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    assert manifest["configs"]["orm"]["licences"] == {"CC0-1.0 AND MIT": 2}
    with writing(labelled) as session:
        session.execute(sa.text("UPDATE solutions SET licence = NULL WHERE solution_id IN (1, 3)"))
    assert kept(licences=("MIT", "CC0-*")) == (1, {"licence": 1, "licence_unknown": 2})
    assert kept(licences=("MIT", "CC0-*", "unknown")) == (2, {"licence": 2})
    assert kept(licences_refused=("unknown",)) == (2, {"licence_unknown": 2})


def test_labels_are_chosen_by_who_when_and_under_what_and_the_others_are_counted(
    labelled: sa.Engine, tmp_path: Path
) -> None:
    def kept(**options: Any) -> tuple[int, dict[str, int]]:
        rows, dropped, _ = export(labelled, tmp_path, prm_set(Selection(), PrmOptions(**options)))
        return len(rows), dropped

    assert kept() == (4, {})
    assert kept(annotators=("annotator-1",)) == (2, {"other_annotator": 2})
    assert kept(annotators_refused=("annotator-1",)) == (2, {"annotator_refused": 2})
    assert kept(label_sources=("oth*",)) == (1, {"other_label_source": 3})
    assert kept(projects=("sums",)) == (3, {"other_project": 1})
    assert kept(guidelines=("2",)) == (1, {"other_guideline": 3})
    assert kept(since=DAY + dt.timedelta(days=1)) == (2, {"too_early": 2})
    assert kept(until=DAY + dt.timedelta(days=1)) == (2, {"too_late": 2})
    assert kept(without_suggestions=True) == (3, {"suggestion_shown": 1})
    merged = export(
        labelled, tmp_path, prm_set(Selection(), PrmOptions(labellers="majority", guidelines=("1", "2")))
    )[2]
    assert (merged.n_kept, merged.dropped, merged.more) == (
        1,
        {"other_guideline": 1},
        {"labels_other_guideline": 1, "steps_of_several_labellers": 2},
    )
    for options, message in (
        ({"annotators": ("nobody",)}, "no annotator is called 'nobody'; there are: annotator-1, annotator-2"),
        ({"projects": ("none",)}, "no project is called 'none'; there are: sums"),
        ({"guidelines": ("9",)}, "no guideline is called '9'"),
        ({"label_sources": ("x",)}, "no label is of a source named like 'x'; there are: other"),
    ):
        with pytest.raises(InputError, match=message):
            kept(**options)


def test_several_labellers_become_one_by_majority_share_or_posterior(labelled: sa.Engine, tmp_path: Path) -> None:
    assert labels(labelled, tmp_path, labellers="majority") == [[True], [True, True]]  # the second step is tied
    soft = {"target": "soft", "after_first_error": "all"}
    third = pytest.approx(2 / 3)
    assert labels(labelled, tmp_path, labellers="share", **soft) == [[third, third], [1.0, 1.0]]
    assert labels(labelled, tmp_path, labellers="share", neutral="negative", **soft)[0] == [third, 1 / 3]
    assert labels(labelled, tmp_path, labellers="share", neutral="drop", **soft)[0] == [third, 0.5]
    assert labels(labelled, tmp_path, labellers="share") == [[True, True], [True, True]]
    assert labels(labelled, tmp_path, **soft) == [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]

    said = [(0, 0, 1), (0, 1, 1), (0, 2, -1), (1, 0, 1), (1, 1, -1), (1, 2, 0), (2, 0, 1), (3, 0, 1)]
    item, who, label = np.array(said).T
    fit = dawid_skene(item, who, label + 1, 3).posteriors
    right = (fit[:, 1] + fit[:, 2]).tolist()
    found = labels(labelled, tmp_path, labellers="dawid-skene", **soft)
    assert np.allclose(np.concatenate(found), right, atol=1e-6)
    with pytest.raises(InputError, match="none of 2 labelled steps has two labellers"):
        labels(labelled, tmp_path, labellers="dawid-skene", label_sources=("other",))


def test_steps_without_enough_labellers_or_agreement_have_no_label(labelled: sa.Engine, tmp_path: Path) -> None:
    def kept(**options: Any) -> tuple[list[list[Any]], dict[str, int]]:
        rows, dropped, _ = export(labelled, tmp_path, prm_set(Selection(), PrmOptions(**options)))
        return [row["labels"] for row in rows], dropped

    assert kept(min_labellers=2) == (
        [[True, True, True], [True, False], [False]],
        {"first_step_by_too_few": 1},
    )
    assert kept(min_agreement=0.6) == ([[True], [True], [False], [True, True, True]], {})
    assert kept(min_agreement=0.7) == ([[True, True, True]], {"first_step_disputed": 3})
    assert kept(min_labellers=2, labellers="share", min_agreement=0.6) == ([[True]], {"first_step_by_too_few": 1})


def test_unjudged_unsure_neutral_and_repaired_steps_are_as_asked(database: sa.Engine, tmp_path: Path) -> None:
    said = annotation(1, 1, 1, [1, -1, 1, 0])
    said[2].is_repaired = said[3].is_unsure = True
    fill(
        database,
        [problem(1, "What?", "3")],
        [solution(1, 1, ["a", "b", "c", "d", "e"], "3", True)],
        [Annotator(annotator_id=1, name="annotator-1")],
        said[:1],
        said[1:],
    )
    assert labels(database, tmp_path) == [[True, False]]
    assert labels(database, tmp_path, repaired="go-on") == [[True, False, True, True]]
    assert labels(database, tmp_path, repaired="right", neutral="negative") == [[True, True, True, False]]
    assert labels(database, tmp_path, repaired="neutral", neutral="drop") == [[True]]
    masked = {"unjudged": "mask", "without_unsure": True, "repaired": "go-on"}
    assert labels(database, tmp_path, **masked) == [[True, False, None, True]]
    rows, _, _ = export(database, tmp_path, prm_set(Selection(), PrmOptions(**masked)), file_format="parquet")
    assert rows[0]["labels"] == [True, False, None, True, None, True]  # and the outcome, for the answer
    assert rows[0]["completions"][-1] == "# Answer\n\n3"
    assert labels(database, tmp_path, unjudged="mask", neutral="drop", after_first_error="all") == [
        [True, False, True]
    ]


def test_values_of_rollouts_are_targets_hard_and_soft(labelled: sa.Engine, tmp_path: Path) -> None:
    values = [(1, -1, 6), (1, 0, 6), (1, 1, 3), (2, 0, 0), (2, 1, 0)]
    fill(
        labelled,
        [Run(run_id=5, run_key="r", kind="rollouts", engine="openai", model="m", record={})],
        [StepValue(solution_id=s, step_index=index, run_id=5, n_right=n, n_rollouts=8) for s, index, n in values],
    )
    assert labels(labelled, tmp_path, rollouts_run=5, target="soft") == [[0.75, 0.375], [0.0]]
    assert labels(labelled, tmp_path, rollouts_run=5) == [[True, True], [False]]


def test_a_reviewers_decision_on_a_pair_or_step_is_preferred_ignored_or_all_that_is_taken(
    labelled: sa.Engine, tmp_path: Path
) -> None:
    pairs = [preference(11, 1, 1, 2, "b", 2), preference(12, 2, 1, 2, "a", 3), preference(13, 1, 3, 4, "a", 1)]
    fill(
        labelled,
        [Task(task_id=2, kind="preference", solution_id=1, other_solution_id=2)],
        *([rows[0]] for rows in pairs),
        [rows[1] for rows in pairs],
        [TaskAdjudication(task_id=2, annotator_id=3, choice="a", adopted_from_id=12)],
        [Adjudication(task_id=1, step_index=1, label=-1, annotator_id=3)],
    )
    with writing(labelled) as session:
        session.execute(sa.text("UPDATE annotations SET task_id = 2 WHERE annotation_id IN (11, 12)"))

    def margins(**options: Any) -> list[tuple[bool, float]]:
        rows, _, _ = export(labelled, tmp_path, preference_set(Selection(), PreferenceOptions(**options)))
        return [("1 + 1 = 2" in row["chosen"] or "2 + 2" in row["chosen"], row["margin"]) for row in rows]

    assert margins() == [(True, 3.0), (True, 1.0)]
    assert margins(adjudicated="ignore") == [(False, 2.0), (True, 3.0), (True, 1.0)]
    assert margins(adjudicated="only") == [(True, 3.0)]
    assert margins(adjudicated="ignore", min_labellers=2) == [(False, 2.0), (True, 3.0)]
    assert margins(adjudicated="ignore", min_agreement=0.6) == [(True, 1.0)]
    assert labels(labelled, tmp_path, labellers="majority") == [[True, False], [True, True]]
    assert labels(labelled, tmp_path, labellers="majority", adjudicated="only") == [[True, False]]


def test_choices_of_several_labellers_become_one_pair_by_majority_or_share(
    labelled: sa.Engine, tmp_path: Path
) -> None:
    choices = [
        preference(11, 1, 1, 2, "b", 1),
        preference(12, 1, 1, 2, "a", 3),  # the same labeller again, later
        preference(13, 2, 2, 1, "b"),
        preference(14, 3, 2, 1, "a", 2),
        preference(15, 1, 3, 4, "equal"),
        preference(16, 2, 3, 4, "both_bad"),
        preference(17, 3, 3, 4, "a", 1),
    ]
    fill(labelled, *([rows[0]] for rows in choices), [rows[1] for rows in choices])

    def kept(**options: Any) -> tuple[list[tuple[bool, float | None]], dict[str, int]]:
        wanted = preference_set(Selection(), PreferenceOptions(**options))
        rows, dropped, _ = export(labelled, tmp_path, wanted)
        return [
            ("1 + 1 = 2" in row["chosen"] or "2 + 2" in row["chosen"], row.get("margin")) for row in rows
        ], dropped

    third = pytest.approx(1 / 3)
    assert kept(labellers="majority") == ([(True, 3.0)], {"tie": 1})
    assert kept(labellers="share") == ([(True, third), (True, third)], {})
    two = ("annotator-2", "annotator-3")
    assert kept(labellers="share", annotators=two) == ([(True, 0.5)], {"tie": 1})
    with pytest.raises(InputError, match="read 2, dropped 2 no_majority"):
        kept(labellers="majority", annotators=two)
    assert kept(labellers="majority", annotators=("annotator-1",)) == ([(True, 3.0)], {"tie": 1})
    assert kept(labellers="share", min_agreement=0.7, annotators=("annotator-1", "annotator-2")) == (
        [(True, 1.0)],
        {"tie": 1},
    )
    with pytest.raises(InputError, match="dropped 2 disputed"):
        kept(labellers="majority", min_agreement=0.7)
    with pytest.raises(SettingsError, match="pairs from outcomes are nobody's choices"):
        preference_set(Selection(), PreferenceOptions(origin="outcomes", labellers="share"))

    kept(labellers="share", annotators=two)
    entry = json.loads((tmp_path / "manifest.json").read_bytes())["configs"]["preference"]
    assert (entry["query"]["labellers"], entry["counts"]["dropped"]) == ("share", {"tie": 1})
    assert entry["counts"]["pairs_of_several_labellers"] == 2
    ties = [json.loads(line) for line in next((tmp_path / "preference").glob("ties-*")).read_text().splitlines()]
    assert [tie["choice"] for tie in ties] == ["tie"]
    card = (tmp_path / "README.md").read_text()
    assert "share of the labellers who chose it, less the share who chose the other" in card
    assert "dropped: 1 tie" in card
    trace = json.loads((tmp_path / "trace" / "preference" / "train-00000-of-00001.jsonl").read_text())
    assert (trace["annotation_ids"], trace["rule"]) == ([16, 17], "share of 2")

    with writing(labelled) as session:
        session.add(Task(task_id=2, kind="preference", solution_id=1, other_solution_id=2))
        session.flush()
        session.add(TaskAdjudication(task_id=2, annotator_id=3, choice="b", adopted_from_id=None))
        session.execute(sa.text("UPDATE annotations SET task_id = 2 WHERE annotation_id = 12"))
    assert kept(labellers="majority", adjudicated="only") == ([(False, 0.0)], {"not_adjudicated": 1})
    assert kept(labellers="share", adjudicated="prefer")[0][0] == (False, 1.0)
    assert kept(labellers="share", adjudicated="ignore")[0][0] == (True, third)


def test_problems_that_are_flagged_too_hard_or_in_a_test_set_are_left_out(
    labelled: sa.Engine, tmp_path: Path
) -> None:
    def kept(**selection: Any) -> tuple[int, dict[str, int]]:
        rows, dropped, _ = export(labelled, tmp_path / "out", orm_set(Selection(**selection)))
        return len(rows), dropped

    fill(labelled, [ProblemFlag(problem_id=2, kind="duplicate", against="1", rule="masked")])
    assert kept() == (2, {"duplicate_problem": 2})
    assert kept(keep_flagged=True, max_pass=0.9) == (2, {"difficulty": 2})
    assert kept(keep_flagged=True, min_pass=0.6, max_pass=1.0) == (2, {"difficulty": 2})
    assert kept(keep_flagged=True, outcomes=("wrong",)) == (1, {})
    assert kept(keep_flagged=True, decontaminate=("open/*",)) == (2, {"in_test_set_by_exact": 2})
    tests = tmp_path / "tests.jsonl"
    tests.write_text('{"question": "What is 7 + 7 + 7?"}\n"What is 2 + 2  + 2 ?"\n')
    with writing(labelled) as session:
        for found in session.scalars(sa.select(Problem)):
            found.family = family_hash(found.statement)
    by_both = "dropped 2 in_test_set_by_exact, 2 in_test_set_by_family"  # the family has other numbers
    with pytest.raises(InputError, match=by_both):
        kept(keep_flagged=True, decontaminate=(str(tests),))
    tests.write_text('"What is 9?"\n')
    assert kept(keep_flagged=True, decontaminate=(str(tests),)) == (4, {})
    recorded = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["configs"]["orm"]["query"]
    assert re.fullmatch(r"tests\.jsonl@[0-9a-f]{16}", recorded["decontaminate"][0])
    for content, message in (("x\n", "line 1 is no JSON"), ("{}\n", "line 1 has no statement")):
        tests.write_text(content)
        with pytest.raises(InputError, match=message):
            kept(decontaminate=(str(tests),))
    with pytest.raises(InputError, match="no file of statements, and no source is named so"):
        kept(decontaminate=("absent.jsonl",))


def test_rows_that_nearly_repeat_one_of_the_problem_are_left_out_unless_numbers_differ(
    database: sa.Engine, tmp_path: Path
) -> None:
    words = "She has nine eggs and finds seven more under the hedge, which makes"
    texts = [f"{words} 16 eggs.", f"{words} 16 eggs in all.", f"{words} 17 eggs."]
    fill(
        database,
        [problem(1, "How many?", "16")],
        [solution(number, 1, [text], None, True) for number, text in enumerate(texts, start=1)],
    )
    rows, dropped, _ = export(database, tmp_path, orm_set(Selection(max_similarity=0.6)))
    assert (len(rows), dropped) == (2, {"near_duplicate": 1})


def test_classes_are_balanced_by_a_lot_that_does_not_depend_on_order(labelled: sa.Engine, tmp_path: Path) -> None:
    rows, dropped, _ = export(labelled, tmp_path / "one", orm_set(Selection()), balance=True)
    assert (sorted(row["label"] for row in rows), dropped) == ([False, True], {"to_balance": 2})
    again, _, _ = export(labelled, tmp_path / "two", orm_set(Selection()), balance=True, file_format="parquet")
    assert again == rows
    with pytest.raises(SettingsError, match="have no classes that could be balanced"):
        export(labelled, tmp_path / "x", preference_set(Selection(), PreferenceOptions()), balance=True)


def test_tokens_are_counted_and_rows_that_are_longer_reported_or_dropped(labelled: sa.Engine, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    lengths = Lengths("own", token_counter(str(tmp_path)), 26)
    rows, dropped, report = export(labelled, tmp_path / "out", orm_set(Selection()), lengths=lengths)
    n = [len(f"{row['prompt']} {row['completion']}".split()) for row in rows]
    assert n == [24, 24, 24, 23]
    assert (dropped, report.more["tokens_max"], report.more.get("longer", 0)) == ({}, 24, 0)
    lengths = Lengths("own", token_counter(str(tmp_path)), 23)
    _, dropped, report = export(labelled, tmp_path / "out", orm_set(Selection()), lengths=lengths)
    assert (dropped, report.more["longer"], report.more["longer_by_max"]) == ({}, 3, 1)
    lengths = Lengths("own", token_counter(str(tmp_path)), 23, drop_longer=True)
    rows, dropped, _ = export(labelled, tmp_path / "out", orm_set(Selection()), lengths=lengths)
    assert (len(rows), dropped) == (1, {"longer_than_max_length": 3})
    with pytest.raises(SettingsError, match="cannot read a tokenizer from"):
        token_counter(str(tmp_path / "absent" / "tokenizer"))
