"""Which rows the sets of critiques, pairs and tasks have, by their options; each command from end to end."""

import datetime as dt
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.connect import open_database, reading, writing
from db.critiques import iterate_solutions
from db.models import (
    Alternative,
    AlternativeLabel,
    Annotation,
    Annotator,
    Critique,
    CritiqueJudgement,
    Problem,
    Run,
    Solution,
    StepLabel,
)
from db.runs import set_licence
from db.subjects import SolutionSelection
from exports.formats import read_rows
from exports.formats.layouts import layout_of
from exports.queries.alternative_rows import alternative_rows
from exports.queries.critique_rows import (
    CritiqueOptions,
    CritiquePairOptions,
    cloud_set,
    critique_preference_set,
    critique_set,
)
from exports.queries.derived_pairs import DerivedPairOptions, derived_pair_set
from exports.queries.exporting import Target, export_set
from exports.queries.labels import LabelFilter
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.prm800k_rows import prm800k_set
from exports.queries.selection import Counts, Outcome, Selection, SetRow, TrainingSet
from exports.queries.task_rows import RlOptions, SftOptions, rl_set, sft_set
from generator.critiques.solutions import critiques_task
from stepmark.cli.main import app, main
from stepmark.engine import Sampling
from stepmark.errors import InputError, SettingsError
from tests.small_database import JUDGE_PROMPT, fill

EVERY = Selection()
LAYOUTS = {"critique": "prompt-completion", "rl": "trl"}


@pytest.fixture
def small(sqlite_template: Path, tmp_path: Path) -> Iterator[sa.Engine]:
    """On SQLite alone: the same queries run on both databases where the golden files are compared."""
    shutil.copyfile(sqlite_template, tmp_path / "small.db")
    engine = open_database(f"sqlite:///{tmp_path / 'small.db'}")
    fill(engine)
    yield engine
    engine.dispose()


def rows_of(engine: sa.Engine, wanted: TrainingSet) -> tuple[list[SetRow], Counts]:
    counts = Counts()
    with reading(engine) as session:
        columns = () if wanted.columns is None else wanted.columns(session)
        return list(wanted.rows(session, columns, counts)), counts


def completions(engine: sa.Engine, **options: Any) -> list[str]:
    rows, _ = rows_of(engine, critique_set(EVERY, CritiqueOptions(**options)))
    return [row.row["completion"] for row in rows]


def judged(engine: sa.Engine, critique_id: int, *said: str) -> None:
    with writing(engine) as session:
        for number, judgement in enumerate(said):
            id_ = 100 * critique_id + number
            session.add(
                Annotation(
                    annotation_id=id_,
                    submission_id=f"j{id_}",
                    kind="critique",
                    annotator_id=number + 1,
                    solution_id=4,
                )
            )
            session.flush()
            session.add(CritiqueJudgement(annotation_id=id_, critique_id=critique_id, judgement=judgement))


def test_critiques_stand_by_the_verifier_by_people_or_anyhow(small: sa.Engine) -> None:
    judged(small, 2, "right", "right")
    judged(small, 5, "right", "wrong")
    judged(small, 1, "wrong")
    refuted, unknown = "It starts wrong. \\boxed{0}", "Fine. \\boxed{-1}"
    assert completions(small, confirmed_by="people") == [refuted]
    either = completions(small, confirmed_by="either")
    assert refuted in either
    assert "All hold. \\boxed{-1}" not in either
    assert "2 + 12 is 14. \\boxed{1}" in either, "where people differ the verifier decides"
    assert unknown in completions(small, standing="not-refuted")
    assert {refuted, unknown} <= set(completions(small, standing="any"))
    assert completions(small, kinds=("meta",)) == ["3 × 4 is 12.\nVerdict: fail"]
    assert completions(small, critics=("nobody",)) == []


def test_judgements_of_critiques_count_by_who_made_them_and_how_many(small: sa.Engine) -> None:
    judged(small, 2, "right", "wrong")
    judged(small, 5, "right")
    first, second = "It starts wrong. \\boxed{0}", "2 + 12 is 14. \\boxed{1}"
    assert completions(small, confirmed_by="people") == [second]
    assert completions(small, confirmed_by="people", annotators=("annotator-1",)) == [first, second]
    assert completions(small, confirmed_by="people", annotators_refused=("annotator-1",)) == []
    assert completions(small, confirmed_by="people", min_labellers=2) == []
    assert completions(small, confirmed_by="people", until=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)) == []
    options = CritiqueOptions(confirmed_by="people", annotators=("annotator-1",))
    _, counts = rows_of(small, critique_set(EVERY, options))
    assert counts.more["judgements_other_annotator"] == 1
    with pytest.raises(InputError, match="no annotator is called 'nobody'"):
        rows_of(small, critique_set(EVERY, CritiqueOptions(confirmed_by="people", annotators=("nobody",))))


def test_most_judgements_may_decide_on_a_critique_where_a_least_agreement_is_asked_for(small: sa.Engine) -> None:
    judged(small, 2, "right", "wrong")
    judged(small, 5, "right")
    judged(small, 7, "right", "partly", "right")
    by_all, by_most = "2 + 12 is 14. \\boxed{1}", "9 + 7 is 16. \\boxed{0}"
    assert completions(small, confirmed_by="people", min_agreement=0.6) == [by_most, by_all]
    assert completions(small, confirmed_by="people", min_agreement=0.7) == [by_all]
    assert completions(small, confirmed_by="people", min_agreement=0.5, min_labellers=3) == [by_most]
    assert completions(small, confirmed_by="people") == [by_all]


def test_what_a_set_does_not_heed_of_the_labels_is_refused_and_not_ignored(small: sa.Engine) -> None:
    someone = {"annotators": ("annotator-1",)}
    for ask, message in (
        (lambda: critique_set(EVERY, CritiqueOptions(**someone)), "the verifier's word .* leave out --annotator$"),
        (
            lambda: critique_preference_set(EVERY, CritiqueOptions(adjudicated="only")),
            "the verifier's word .* leave out --adjudicated$",
        ),
        (
            lambda: derived_pair_set(
                EVERY,
                DerivedPairOptions(
                    origin="scores", reward_model="orm-1", since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
                ),
            ),
            "pairs from scores follow from no labels.* leave out --since$",
        ),
        (
            lambda: derived_pair_set(EVERY, DerivedPairOptions(origin="alternatives", min_labellers=2)),
            "each by one labeller; leave out --min-labellers$",
        ),
        (
            lambda: preference_set(EVERY, PreferenceOptions(origin="outcomes", label_sources=("x",))),
            "pairs from outcomes follow from no labels.* leave out --label-source$",
        ),
        (
            lambda: prm800k_set(EVERY, LabelFilter(adjudicated="only")),
            "holds each annotation as it was given.* leave out --adjudicated$",
        ),
    ):
        with pytest.raises(SettingsError, match=message):
            ask()
    flags = derived_pair_set(EVERY, DerivedPairOptions(origin="scores", reward_model="orm-1")).flags
    assert "annotators" not in flags
    cloud = ["export", "cloud", "--from", "outcomes", "--annotator", "annotator-1", "--out", "x"]
    with pytest.raises(
        SettingsError, match="neither pairs from outcomes nor critiques confirmed by verifier heed that"
    ):
        app(cloud, standalone_mode=False)


def test_pairs_from_labels_of_steps_are_of_the_labels_that_were_asked_for(small: sa.Engine) -> None:
    def of(origin: Any, **options: Any) -> tuple[int, dict[str, int]]:
        rows, counts = rows_of(small, derived_pair_set(EVERY, DerivedPairOptions(origin=origin, **options)))
        return len(rows), {name: n for name, n in counts.more.items() if n and name.startswith(("labels", "sol"))}

    noon = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
    assert of("shared-prefix", annotators=("annotator-2",)) == (1, {"labels_other_annotator": 5})
    assert of("shared-prefix", annotators=("annotator-2",), min_labellers=2) == (
        0,
        {"labels_other_annotator": 5, "solutions_with_a_step_by_too_few": 4},
    )
    assert of("shared-prefix", until=noon) == (0, {"labels_too_late": 9})
    assert of("alternatives", since=noon) == (1, {})
    assert of("alternatives", annotator_kinds=("model",)) == (0, {"labels_other_annotator_kind": 1})


@pytest.mark.parametrize("origin", ["shared-prefix", "alternatives"])
def test_pairs_from_labels_of_steps_name_who_labelled_them(small: sa.Engine, origin: Any) -> None:
    rows, _ = rows_of(small, derived_pair_set(EVERY, DerivedPairOptions(origin=origin)))
    assert rows
    with reading(small) as session:
        found = session.execute(sa.select(Annotation.annotation_id, Annotation.annotator_id))
        annotator_of = {row.annotation_id: row.annotator_id for row in found}
    for row in rows:
        by = [annotator_of[id_] for id_ in row.trace["annotation_ids"]]
        assert row.trace["annotator_ids"] == list(dict.fromkeys(by)) != []


def test_critiques_and_tasks_to_judge_are_balanced_by_verdict_and_sets_without_classes_refuse(
    small: sa.Engine, tmp_path: Path
) -> None:
    def of(wanted: TrainingSet) -> tuple[list[dict[str, Any]], int]:
        target = Target(tmp_path, shares={"train": 1.0}, balance=True, overwrite=True)
        report = export_set(small, target, wanted, layout=layout_of(wanted.config, LAYOUTS.get(wanted.config)))
        return list(read_rows(tmp_path, wanted.config, "train")), report.dropped.get("to_balance", 0)

    critiques = critique_set(EVERY)
    before = Counter(row.class_ for row in rows_of(small, critiques)[0])
    assert before == {"pass": 3, "fail": 3}
    judged(small, 10, "right")
    rows, n_dropped = of(critique_set(EVERY, CritiqueOptions(confirmed_by="either")))
    assert (len(rows), n_dropped) == (6, 1)
    assert sum(row["completion"].endswith(("{-1}", "pass")) for row in rows) == 3
    tasks = RlOptions(solve_prompt="plain", judge_prompt=str(JUDGE_PROMPT))
    rows, n_dropped = of(rl_set(EVERY, tasks))
    assert n_dropped == 0
    assert Counter((row["task"], row["ground_truth"] if row["task"] == "judge" else None) for row in rows) == {
        ("solve", None): 3,
        ("judge", "pass"): 1,
        ("judge", "fail"): 1,
    }
    with writing(small) as session:
        session.execute(sa.update(Solution).where(Solution.solution_id == 5).values(outcome=False))
    rows, n_dropped = of(rl_set(EVERY, tasks))
    assert (len(rows), n_dropped) == (5, 1)
    assert critique_preference_set(EVERY).class_of is not None
    for wanted in (
        rl_set(EVERY, RlOptions(tasks=("solve",))),
        sft_set(EVERY),
        cloud_set(EVERY, preference_set(EVERY, PreferenceOptions(origin="outcomes"))),
    ):
        with pytest.raises(
            SettingsError, match=f"the rows of {wanted.config} have no classes that could be balanced"
        ):
            of(wanted)


def test_a_truncated_critique_is_no_row(small: sa.Engine) -> None:
    with writing(small) as session:
        session.execute(sa.update(Critique).where(Critique.critique_id == 5).values(extra={"is_truncated": True}))
    _, counts = rows_of(small, critique_set(EVERY))
    assert counts.dropped["truncated"] == 1


def test_without_a_run_the_prompt_is_what_the_generator_asks(small: sa.Engine) -> None:
    with writing(small) as session:
        session.execute(sa.update(Run).values(record={}))
    rows, counts = rows_of(small, critique_set(EVERY))
    asked = {(row.trace["critique_ids"][0]): row.row["prompt"] for row in rows}
    (chunk,) = iterate_solutions(small, SolutionSelection(), n_variants=1)
    solution = next(one for one in chunk if one.subject.solution_id == 4)
    for kind, critique_id in (("judge", 1), ("variant", 3)):
        task = critiques_task(kind, sampling=Sampling(), n=1, model="m", selection=SolutionSelection())
        questions = next(task.work(solution))
        assert asked[critique_id] == questions[0].messages[0].content
    assert counts.dropped["no_prompt_for_kind"] == 1


def test_one_prompt_can_ask_all_kinds_alike_also_those_without_one(small: sa.Engine, tmp_path: Path) -> None:
    prompt = tmp_path / "mine.txt"
    prompt.write_text("Mine: {problem}", encoding="utf-8")
    rows, counts = rows_of(small, critique_set(EVERY, CritiqueOptions(kinds=("note",), prompt=str(prompt))))
    assert [row.row["prompt"] for row in rows] == ["Mine: Ann has 9 eggs and finds 7 more. How many has she?"]
    assert counts.dropped == {}
    with pytest.raises(InputError, match="cannot read the prompt"):
        rows_of(small, critique_set(EVERY, CritiqueOptions(prompt="none such")))


def test_pairs_of_critiques_are_drawn_by_the_seed(small: sa.Engine) -> None:
    with writing(small) as session:
        for number in range(6):
            session.add(
                Critique(
                    critique_id=20 + number,
                    solution_id=4,
                    problem_id=2,
                    run_id=1,
                    kind="judge",
                    text=f"No {number}. \\boxed{{0}}",
                    verdict="fail",
                    is_confirmed=False,
                )
            )

    def rejected(seed: int) -> list[str]:
        pairs = CritiquePairOptions(max_pairs_per_subject=2, seed=seed)
        rows, counts = rows_of(small, critique_preference_set(EVERY, None, pairs))
        assert (counts.n_read, counts.dropped["over_max_pairs_per_subject"]) == (7, 5)
        return [row.row["rejected"] for row in rows]

    assert rejected(0) == rejected(0)
    assert len({tuple(rejected(seed)) for seed in range(5)}) > 1


def test_a_pair_without_a_critique_of_both_is_dropped_and_more_feedback_is_taken_on_request(small: sa.Engine) -> None:
    pairs = preference_set(EVERY, PreferenceOptions(origin="outcomes"))
    options = CritiqueOptions(kinds=("judge", "note"))
    rows, counts = rows_of(small, cloud_set(EVERY, pairs, options, max_feedback=2))
    assert [row.row["id"] for row in rows] == ["solution/4/over/6"]
    assert counts.dropped["no_critique"] == 1
    rows, _ = rows_of(small, cloud_set(EVERY, pairs, max_feedback=2))
    assert rows[0].row["rejected_feedback"] == ["9 + 7 is 16. \\boxed{0}", "Adds wrongly."]
    assert rows[0].trace["critique_ids"] == [6, 7, 9]


def test_scores_that_differ_too_little_are_ties(small: sa.Engine) -> None:
    wanted = derived_pair_set(EVERY, DerivedPairOptions(origin="scores", reward_model="orm-1", tie=0.4))
    rows, counts = rows_of(small, wanted)
    assert [row.row["margin"] for row in rows] == [0.5]
    assert (counts.n_read, counts.dropped["tie"]) == (4, 3)
    with pytest.raises(InputError, match="named 'orm-2'; there are: orm-1"):
        rows_of(small, derived_pair_set(EVERY, DerivedPairOptions(origin="scores", reward_model="orm-2")))
    with pytest.raises(SettingsError, match="need the name of a reward model"):
        derived_pair_set(EVERY, DerivedPairOptions(origin="scores"))


def test_most_labellers_may_decide_on_a_step_where_a_least_agreement_is_asked_for(small: sa.Engine) -> None:
    def n_pairs(**options: Any) -> int:
        return len(rows_of(small, derived_pair_set(EVERY, DerivedPairOptions(origin="shared-prefix", **options)))[0])

    assert n_pairs() == 1, "9 + 7 = 16 over 9 + 7 = 17, which solution 2 has"
    with writing(small) as session:
        for number, label in ((98, -1), (99, 1)):
            session.add(Annotator(annotator_id=number, name=f"annotator-{number}"))
            session.flush()
            session.add(
                Annotation(
                    annotation_id=number, submission_id=str(number), kind="steps", annotator_id=number, solution_id=2
                )
            )
            session.flush()
            session.add(StepLabel(annotation_id=number, step_index=0, label=label))
    assert (n_pairs(), n_pairs(min_agreement=0.6), n_pairs(min_agreement=0.9)) == (0, 1, 0)
    assert n_pairs(min_agreement=0.6, min_labellers=9) == 0


def test_a_step_on_which_labellers_differ_makes_no_pair(small: sa.Engine) -> None:
    _, counts = rows_of(small, derived_pair_set(EVERY, DerivedPairOptions(origin="shared-prefix")))
    assert counts.more["solutions_with_labellers_who_differ"] > 0
    assert counts.n_read == 1, "9 + 7 = 16 over 9 + 7 = 17 is left: on solution 1 both say right"


def test_the_solutions_own_step_is_a_candidate_where_the_same_labeller_judged_it(small: sa.Engine) -> None:
    with writing(small) as session:
        session.add(StepLabel(annotation_id=7, step_index=1, label=-1))
    rows, _ = rows_of(small, derived_pair_set(EVERY, DerivedPairOptions(origin="alternatives")))
    assert sorted(row.row["rejected"].rpartition("\n\n")[2] for row in rows) == [
        "Step 2: 5 × 4 = 20",
        "Step 2: 5 × 4 = 21",
    ]


def test_candidates_after_an_error_are_left_out_and_a_final_answer_is_rendered_as_one(small: sa.Engine) -> None:
    with writing(small) as session:
        for id_, index, text, is_answer in ((3, 2, "20", True), (4, 2, "21", True)):
            session.add(
                Alternative(
                    alternative_id=id_,
                    solution_id=5,
                    step_index=index,
                    source="small",
                    source_key=f"alternative-{id_}",
                    text=text,
                    is_answer=is_answer,
                )
            )
        session.flush()
        session.add(AlternativeLabel(annotation_id=7, alternative_id=3, label=1))
        session.add(AlternativeLabel(annotation_id=7, alternative_id=4, label=-1))
        session.add(StepLabel(annotation_id=7, step_index=1, label=0))
    rows, _ = rows_of(small, derived_pair_set(EVERY, DerivedPairOptions(origin="alternatives")))
    assert rows[-1].row["chosen"].endswith("Step 2: 5 × 4 = 20\n\n# Answer\n\n20")
    with writing(small) as session:
        session.execute(
            sa.update(StepLabel).where(StepLabel.annotation_id == 7, StepLabel.step_index == 0).values(label=-1)
        )
    rows, counts = rows_of(small, derived_pair_set(EVERY, DerivedPairOptions(origin="alternatives")))
    assert (rows, counts.more["candidates_after_an_error"]) == ([], 4)


def test_rows_of_alternatives_take_the_labels_before_them_from_others_where_need_be(small: sa.Engine) -> None:
    def found(neutral: Any = "positive") -> tuple[list[list[bool]], dict[str, int]]:
        counts = Counts()
        with reading(small) as session:
            rows = list(alternative_rows(session, EVERY, counts, neutral=neutral))
        return [row.row["labels"] for row in rows], dict(counts.dropped)

    with writing(small) as session:
        session.execute(sa.delete(StepLabel).where(StepLabel.annotation_id == 7))
    assert found() == ([], {"prefix_unjudged": 2})
    with writing(small) as session:
        session.execute(sa.update(Annotation).where(Annotation.annotation_id == 8).values(finish_reason="give_up"))
        session.add(StepLabel(annotation_id=8, step_index=0, label=0))
    assert found() == ([[True, True], [True, False]], {})
    assert found("drop") == ([], {"prefix_neutral": 2})
    assert found("negative") == ([], {"alternative_after_an_error": 2})


def test_right_answers_with_a_wrong_step_are_left_out_on_request(small: sa.Engine) -> None:
    with writing(small) as session:
        session.execute(sa.update(Annotation).where(Annotation.annotation_id == 6).values(first_error=1))
    rows, counts = rows_of(small, sft_set(EVERY))
    assert (len(rows), counts.more["right_answers_with_a_wrong_step"]) == (2, 1)
    assert rows[0].row["prompt"].endswith("The problem:\n\nAnn has 9 eggs and finds 7 more. How many has she?")
    rows, counts = rows_of(small, sft_set(EVERY, SftOptions(without_wrong_steps=True)))
    assert (len(rows), counts.dropped["wrong_step"]) == (1, 1)


def test_judging_is_right_by_step_labels_before_outcomes_and_on_variants_or_the_problem(small: sa.Engine) -> None:
    with writing(small) as session:
        session.execute(sa.update(Annotation).where(Annotation.annotation_id == 6).values(first_error=1))
    rows, _ = rows_of(small, rl_set(EVERY, RlOptions(tasks=("judge",))))
    assert [(row.row["ground_truth"], row.row["trust"]) for row in rows] == [("fail", "step labels")] * 2
    assert rows[0].trace["problem_ids"] == [2, 3]
    rows, counts = rows_of(small, rl_set(EVERY, RlOptions(tasks=("judge",), judge_on="problem")))
    assert [row.row["id"] for row in rows] == [
        "solution/1/on/1",
        "solution/2/on/1",
        "solution/4/on/2",
        "solution/6/on/2",
    ]
    assert counts.dropped == {"duplicate": 1, "outcome_unknown": 1}


def test_a_critique_is_under_the_terms_of_its_solution_and_of_its_critics_run(small: sa.Engine) -> None:
    of_critiques = critique_set(EVERY, CritiqueOptions(standing="any"))
    assert {row.licence for row in rows_of(small, of_critiques)[0]} == {None}
    set_licence(small, [1, 2], "MIT")
    by_run = {(*row.trace["run_ids"], row.licence) for row in rows_of(small, of_critiques)[0]}
    assert by_run == {(1, "CC0-1.0 AND MIT"), (2, "CC0-1.0 AND MIT"), (3, None)}
    pairs = preference_set(EVERY, PreferenceOptions(origin="outcomes"))
    rows, _ = rows_of(small, cloud_set(EVERY, pairs, CritiqueOptions(standing="any")))
    assert {row.licence for row in rows} == {"CC0-1.0 AND MIT"}
    set_licence(small, [3], "MIT")
    set_licence(small, [1], "Apache-2.0")
    of_critiques = critique_set(EVERY, CritiqueOptions(kinds=("meta",)))
    (on_a_critique,) = rows_of(small, of_critiques)[0]
    assert on_a_critique.licence == "Apache-2.0 AND CC0-1.0 AND MIT", "the critique that it judges is of run 1"


def test_problems_to_solve_are_those_with_a_solution_of_the_outcome_that_is_asked_for(small: sa.Engine) -> None:
    with reading(small) as session:
        known = session.execute(sa.select(Solution.problem_id, Solution.outcome)).all()
    named: dict[Outcome, bool | None] = {"right": True, "wrong": False, "unknown": None}
    for outcome, value in named.items():
        rows, _ = rows_of(small, rl_set(Selection(outcomes=(outcome,)), RlOptions(tasks=("solve",))))
        wanted = {f"problem/{problem_id}" for problem_id, found in known if found is value}
        assert {row.row["id"] for row in rows} == wanted
    assert len({found for _, found in known}) > 1


def test_problems_to_solve_need_a_reference_answer_that_is_a_value(small: sa.Engine) -> None:
    with writing(small) as session:
        session.execute(sa.update(Problem).where(Problem.problem_id == 1).values(reference_answer=None))
        session.execute(sa.update(Problem).where(Problem.problem_id == 2).values(answer_kind="tests"))
    rows, counts = rows_of(small, rl_set(EVERY, RlOptions(tasks=("solve",))))
    assert [row.row["id"] for row in rows] == ["problem/3"]
    assert counts.dropped == {"no_reference_answer": 1, "answer_is_tests": 1}
    rows, _ = rows_of(small, rl_set(EVERY, RlOptions(tasks=("solve",), problems="originals")))
    assert rows == []
    rows, _ = rows_of(small, rl_set(Selection(sources=("other*",)), RlOptions(tasks=("solve",))))
    assert rows == []


COMMANDS = {
    "prm --format openrlhf --step-token <s> --after-first-error all": ("prm", "openrlhf"),
    "orm --format rlhflow --reward-tokens good,bad": ("orm", "rlhflow"),
    "best-of-n --format rewardbench2": ("best_of_n", "rewardbench2"),
    "prm --format prm800k --annotator annotator-2": ("prm", "prm800k"),
    "prm --alternatives rows --target soft --labellers share": ("prm", "trl"),
    "preference --from scores --reward-model orm-1 --format trl-chat": ("preference", "trl-chat"),
    "preference --from shared-prefix --annotator annotator-2": ("preference", "trl"),
    "preference --from alternatives": ("preference", "trl"),
    "critique --standing any": ("critique", "messages"),
    "critique-preference --format axolotl": ("critique_preference", "axolotl"),
    "cloud --from outcomes --max-feedback 2": ("cloud", "cloud"),
    "sft --format llamafactory --prompt plain": ("sft", "llamafactory"),
    "rl --tasks both --n-variants 2": ("rl", "verl"),
}


@pytest.fixture(scope="module")
def database_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('small') / 'small.db'}"
    engine = open_database(url, create=True)
    fill(engine)
    engine.dispose()
    return url


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["stepmark", "export", *arguments])
    try:
        main()
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_writes_its_set_and_says_what_became_of_the_rows(
    database_file: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, layout = COMMANDS[command]
    where = ("--source", "sma*", "--out", str(tmp_path), "--db", database_file, "--json")
    assert run(monkeypatch, *command.split(), *where) == 0
    report = json.loads(capsys.readouterr().out)
    entry = json.loads((tmp_path / "manifest.json").read_bytes())["configs"][config]
    assert (report["config"], entry["format"]) == (config, layout)
    assert report["n_kept"] == sum(file["rows"] for files in entry["splits"].values() for file in files) > 0
    if layout == "openrlhf":
        assert entry["query"]["step_token"] == "<s>"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("prm --format rlhflow --step-token ки", "the layout rlhflow has no step token"),
        ("prm --format prm800k --neutral drop", "leave out --neutral"),
        ("prm --reward-tokens +", "is not RIGHT,WRONG"),
        ("preference --reward-model orm-1", "goes with --from scores"),
        ("preference --from scores", "need the name of a reward model"),
        ("cloud --from alternatives", "critiques are of whole solutions"),
        ("critique --kind none", "there is no row to export: read 0"),
    ],
)
def test_what_does_not_go_together_is_one_message(
    database_file: str,
    command: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *command.split(), "--out", str(tmp_path / "sets"), "--db", database_file) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "sets").exists()
