"""Every import format into both databases: where each part of a row lands, and that twice is once."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.connect import reading
from db.counts import table_counts
from db.models import (
    Alternative,
    AlternativeLabel,
    Annotation,
    Annotator,
    Critique,
    CritiqueJudgement,
    Preference,
    Problem,
    ProblemFlag,
    ProblemSource,
    Run,
    Score,
    Solution,
    StepLabel,
    StepValue,
    WrittenStep,
)
from exports.queries.importing import ImportReport, default_options, import_file, preview_file
from exports.queries.sources import FORMATS, HubSet, ImportOptions
from stepmark.cli.main import main
from stepmark.errors import InputError, SettingsError
from stepmark.flows.filters import flag_duplicates

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "data"
DATA = ROOT / "tests" / "data" / "imports"
FILES = [
    ("gsm-plus", "gsm_plus/testmini.jsonl"),
    ("svamp", "svamp/SVAMP.json"),
    ("prm800k", "prm800k_sample/examples.jsonl"),
    ("prmbench", "prmbench/target_data.jsonl"),
    ("mr-ben", "mr_ben/medicine.json"),
    ("mr-ben", "mr_ben/coding.json"),
    ("mr-gsm8k", "mr_gsm8k_critiques/Claude_eval_results.json"),
    ("mr-gsm8k", "mr_gsm8k_critiques/GPT3_5_eval_results.json"),
    ("bigbench-mistake", "bigbench_mistake/dyck_languages.jsonl"),
    ("bigbench-mistake", "bigbench_mistake/multistep_arithmetic.jsonl"),
    ("bigbench-mistake", "bigbench_mistake/logical_deduction.jsonl.gz"),
    ("stepverify", "stepverify/dataset.json"),
    ("openr", "openr_math_aps/samples_math-aps-tree.jsonl"),
    ("openr", "openr_math_aps/samples_math-aps.jsonl.gz"),
    ("math-best-of-8", "math_best_of_8/math_cot_100.jsonl.gz"),
    ("hh-rlhf", "hh_rlhf_helpful/helpful-base-test.jsonl"),
    ("pandalm", "pandalm/testset-v1.json"),
    ("llmbar", "llmbar/natural.json"),
    ("llmbar", "llmbar/mt_bench_majority.json"),
    ("oasst", "oasst_ranked/en_100_tree.jsonl"),
]


def import_real(engine: sa.Engine, name: str, file: str, **options: Any) -> ImportReport:
    path = DATA / file
    return import_file(engine, FORMATS[name], path, options=default_options(FORMATS[name], path, **options))


def import_rows(engine: sa.Engine, path: Path, name: str, *rows: dict[str, Any], **options: Any) -> ImportReport:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return import_file(engine, FORMATS[name], path, options=default_options(FORMATS[name], path, **options))


def rows_of(file: str) -> list[Any]:
    text = (DATA / file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if file.endswith("jsonl") else json.loads(text)


def all_rows(engine: sa.Engine, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
    with reading(engine) as session:
        return [tuple(row) for row in session.execute(query)]


def test_importing_everything_twice_is_importing_it_once(database: sa.Engine) -> None:
    first = [import_real(database, name, file) for name, file in FILES]
    assert [(report.path, dict(report.dropped)) for report in first if report.dropped] == []
    assert {report.n_kept for report in first if report.n_kept != report.n_read} == set()
    before = table_counts(database)
    again = [import_real(database, name, file) for name, file in FILES]
    assert [(report.n_kept, report.n_already_there) for report in again] == [(0, one.n_read) for one in first]
    assert [+report.stored for report in again] == [{}] * len(FILES)
    assert [report.left_out for report in again] == [report.left_out for report in first]
    assert table_counts(database) == before


def test_candidates_of_prm800k_are_alternatives_with_labels_below_the_one_annotation(database: sa.Engine) -> None:
    report = import_real(database, "prm800k", "prm800k_sample/examples.jsonl")
    ratings = [
        candidate["rating"]
        for row in rows_of("prm800k_sample/examples.jsonl")
        for step in row["label"]["steps"]
        for candidate in step["completions"]
    ]
    human = [
        step["human_completion"]["text"]
        for row in rows_of("prm800k_sample/examples.jsonl")
        for step in row["label"]["steps"]
        if step["human_completion"]
    ]
    assert (report.stored["annotations"], report.stored["alternatives"]) == (3, report.stored["alternative_labels"])
    labels = [label for (label,) in all_rows(database, sa.select(StepLabel.label))]
    others = [label for (label,) in all_rows(database, sa.select(AlternativeLabel.label))]
    # Each step that the labeller wrote counts as right; it stands among the step labels, and is nobody's rating.
    assert sorted([*labels, *others]) == sorted([*ratings, *[1] * len(human)])
    assert sorted(text for (text,) in all_rows(database, sa.select(WrittenStep.text))) == sorted(human)
    first = all_rows(
        database,
        sa.select(Alternative.source, Alternative.step_index, Alternative.run_id, AlternativeLabel.label)
        .join(AlternativeLabel)
        .where(Alternative.source_key == "0/1/3"),
    )
    assert first == [("prm800k/examples", 1, None, -1)]


def test_a_corrected_rating_supersedes_the_whole_annotation(database: sa.Engine, tmp_path: Path) -> None:
    row = rows_of("prm800k_sample/examples.jsonl")[0]
    path = tmp_path / "examples.jsonl"
    import_rows(database, path, "prm800k", row)
    row["label"]["steps"][1]["completions"][3]["rating"] = 1
    report = import_rows(database, path, "prm800k", row)
    assert (report.n_kept, report.stored["annotations_superseded"], report.stored["alternatives"]) == (1, 1, 0)
    current = (
        sa.select(AlternativeLabel.label)
        .join(Alternative)
        .join(Annotation, Annotation.annotation_id == AlternativeLabel.annotation_id)
    )
    assert all_rows(
        database, current.where(Alternative.source_key == "0/1/3", Annotation.superseded_by_id.is_(None))
    ) == [(1,)]


def test_variants_join_the_family_of_their_seed_also_where_both_were_known_before(
    database: sa.Engine, tmp_path: Path
) -> None:
    rows = rows_of("gsm_plus/testmini.jsonl")
    distracted = next(row for row in rows if row["perturbation_type"] == "distraction insertion")
    import_rows(
        database,
        tmp_path / "before.jsonl",
        "problems",
        {"problem": distracted["question"]},
        {"problem": rows[0]["seed_question"]},
    )
    report = import_real(database, "gsm-plus", "gsm_plus/testmini.jsonl")
    assert (report.stored["problems"], report.stored["problem_sources"], report.left_out["no_answer"]) == (7, 9, 1)
    assert report.stored["families_joined"] == 1
    found = all_rows(database, sa.select(Problem.kind, Problem.family, Problem.parent_id, Problem.reference_answer))
    assert len({family for _, family, _, _ in found}) == 1
    assert sorted(kind for kind, *_ in found) == [
        *["backward"] * 3,
        *["original"] * 2,
        *["other_variant"] * 3,
        "rephrased",
    ]
    assert {parent for kind, _, parent, _ in found if kind != "original"} == {2}
    assert [kind for kind, _, _, answer in found if answer is None] == ["backward"]


def test_svamp_joins_problems_of_one_body(database: sa.Engine) -> None:
    import_real(database, "svamp", "svamp/SVAMP.json")
    families = [family for (family,) in all_rows(database, sa.select(Problem.family).order_by(Problem.problem_id))]
    assert (families[1], len(set(families))) == (families[2], 3)


def test_critiques_are_judged_by_people_and_by_other_critiques(database: sa.Engine) -> None:
    for file in ("mr_gsm8k_critiques/Claude_eval_results.json", "mr_gsm8k_critiques/GPT3_5_eval_results.json"):
        import_real(database, "mr-gsm8k", file)
    found = all_rows(
        database,
        sa.select(Critique.critic, Critique.solution_id, CritiqueJudgement.judgement, Annotator.name, Annotation.kind)
        .join(CritiqueJudgement, CritiqueJudgement.critique_id == Critique.critique_id)
        .join(Annotation, Annotation.annotation_id == CritiqueJudgement.annotation_id)
        .join(Annotator)
        .order_by(Critique.critique_id),
    )
    assert [(critic, solution) for critic, solution, *_ in found] == [("claude2", 1), ("claude2", 2), ("gpt3_5", 1)]
    assert {(name, kind) for *_, name, kind in found} == {("mr-gsm8k-annotators", "critique")}
    target = sa.orm.aliased(Critique)
    judged = sa.select(Critique.critic, target.critic).join(target, target.critique_id == Critique.target_critique_id)
    assert sorted(all_rows(database, judged)) == [("gpt-4", "claude2"), ("gpt-4", "claude2"), ("gpt-4", "gpt3_5")]
    assert table_counts(database)["solutions"] == 2


def test_three_votes_are_three_annotators_and_a_changed_vote_supersedes(database: sa.Engine, tmp_path: Path) -> None:
    rows = rows_of("pandalm/testset-v1.json")
    path = tmp_path / "testset-v1.jsonl"
    import_rows(database, path, "pandalm", *rows)
    query = (
        sa.select(Annotator.name, Preference.choice)
        .join(Annotation, Annotation.annotator_id == Annotator.annotator_id)
        .join(Preference, Preference.annotation_id == Annotation.annotation_id)
        .where(Annotation.superseded_by_id.is_(None))
        .order_by(Annotation.annotation_id)
    )
    choices = {0: "equal", 1: "a", 2: "b"}
    names = ("annotator1", "annotator2", "annotator3")
    votes = [(f"pandalm-{name}", choices[row[name]]) for row in rows for name in names]
    assert all_rows(database, query) == votes
    rows[0]["annotator2"] = 1 + (rows[0]["annotator2"] == 1)
    report = import_rows(database, path, "pandalm", *rows)
    assert (report.n_kept, report.stored["annotations_superseded"]) == (1, 1)
    assert len(all_rows(database, query)) == len(votes)


def test_both_sides_equal_is_one_solution_and_no_choice(database: sa.Engine) -> None:
    report = import_real(database, "hh-rlhf", "hh_rlhf_helpful/helpful-base-test.jsonl")
    assert (report.n_kept, report.stored["solutions"], report.stored["preferences"]) == (4, 7, 3)
    assert dict(report.left_out) == {"chosen_equals_rejected": 1, "empty_response": 1}
    steps = {tuple(steps) for (steps,) in all_rows(database, sa.select(Solution.steps))}
    assert steps == {()}


def test_values_stand_under_a_run_of_the_import(database: sa.Engine) -> None:
    import_real(database, "openr", "openr_math_aps/samples_math-aps-tree.jsonl")
    runs = all_rows(database, sa.select(Run.kind, Run.engine, Run.model, Run.status))
    assert runs == [("rollouts", "import", "openr/samples_math-aps-tree", "done")]
    start = all_rows(
        database, sa.select(StepValue.n_right, StepValue.n_rollouts).where(StepValue.step_index == -1).distinct()
    )
    assert [right / n for right, n in start] == [
        rows_of("openr_math_aps/samples_math-aps-tree.jsonl")[0]["reasoning_steps"]["mc_value"]
    ]


def test_samples_that_name_their_problem_by_line_find_it_or_are_refused(database: sa.Engine, tmp_path: Path) -> None:
    file = "gsm8k_cot_samples/gpt4_LtM.jsonl"
    with pytest.raises(InputError, match="gsm8k/test holds no problem '0'; import it first"):
        import_real(database, "gsm8k-cot-samples", file)
    keys = (DATA / "gsm8k_cot_samples" / "test.source_lines.txt").read_text().split()
    path = EXAMPLES / "gsm8k" / "test.jsonl"
    import_file(database, FORMATS["gsm8k"], path, options=default_options(FORMATS["gsm8k"], path, keys=keys))
    report = import_real(database, "gsm8k-cot-samples", file)
    assert (report.n_kept, +report.stored) == (3, {"solutions": 3})
    found = all_rows(
        database,
        sa.select(ProblemSource.source_key, Solution.source_key, Problem.reference_answer)
        .join(Problem, Problem.problem_id == ProblemSource.problem_id)
        .join(Solution, Solution.problem_id == Problem.problem_id)
        .order_by(Solution.solution_id),
    )
    assert found == [("0", "0/gpt4_LtM", "18"), ("2", "2/gpt4_LtM", "70000"), ("4", "4/gpt4_LtM", "20")]
    fewer = default_options(FORMATS["gsm8k"], path, keys=keys[:3], source="other")
    with pytest.raises(InputError, match="row 4 has no key: there are 3 of them"):
        import_file(database, FORMATS["gsm8k"], path, options=fewer)


def test_a_reward_models_scores_are_scores_and_no_labels(database: sa.Engine) -> None:
    import_real(database, "math-best-of-8", "math_best_of_8/math_cot_100.jsonl.gz")
    found = all_rows(database, sa.select(Score.kind, Score.value).order_by(Score.score_id))
    assert (len(found), {kind for kind, _ in found}) == (8, {"bt"})
    assert all_rows(database, sa.select(Solution.outcome).distinct()) == [(None,)]


def test_a_row_whose_second_part_is_taken_leaves_nothing_behind(database: sa.Engine, tmp_path: Path) -> None:
    def row(text: str) -> dict[str, Any]:
        return {"id": "p", "problem": "What?", "solutions": [{"id": "s", "text": "first"}, {"id": "t", "text": text}]}

    path = tmp_path / "own.jsonl"
    import_rows(database, path, "solutions", row("second"))
    before = table_counts(database)
    other = {"id": "q", "problem": "Why?", "solutions": [{"id": "u", "text": "new"}, {"id": "t", "text": "other"}]}
    path.write_text(json.dumps(other) + "\n", encoding="utf-8")
    report = import_file(database, FORMATS["solutions"], path, skip_bad=True)
    assert (dict(report.dropped), table_counts(database)) == ({"key_taken": 1}, before)


def test_near_duplicates_become_one_family(database: sa.Engine, tmp_path: Path) -> None:
    text = "gave away 5 of the 12 red and 7 green apples that had been lying in the old basket since the last week"
    rows = [{"problem": f"{name} {text}. How many are left?"} for name in ("Ann", "Bob")]
    import_rows(database, tmp_path / "near.jsonl", "problems", *rows, {"problem": "What is 2 + 2?"})
    report = flag_duplicates(database, threshold=0.6)
    assert (dict(report.dropped), report.n_families_joined) == ({"minhash": 1}, 1)
    families = all_rows(database, sa.select(Problem.family, sa.func.count()).group_by(Problem.family))
    assert sorted(n for _, n in families) == [1, 2]
    assert table_counts(database)[ProblemFlag.__tablename__] == 1
    assert flag_duplicates(database, threshold=0.6).n_families_joined == 0


# ------------------------------------------------------------ sets on the Hub


def test_a_set_is_streamed_by_config_and_split_as_from_the_hub(database: sa.Engine, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    folder = tmp_path / "owner" / "sums"
    for split in ("train", "test"):
        file = folder / "main" / f"{split}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"problem": f"What is {n} + {len(split)}?", "answer": n + len(split)} for n in range(3)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n"
        "  - {split: train, path: main/train.jsonl}\n  - {split: test, path: main/test.jsonl}\n---\n",
        encoding="utf-8",
    )
    one = HubSet.parse(f"hub:{folder}:main/test")
    report = import_file(database, FORMATS["problems"], one)
    assert (report.source, report.n_read, report.n_kept) == ("problems/sums/main/test", 3, 3)
    both = HubSet.parse(f"hub:{folder}:main")
    report = import_file(database, FORMATS["problems"], both)
    assert (report.source, report.n_read, +report.stored) == (
        "problems/sums/main",
        6,
        {"problems": 3, "problem_sources": 6},
    )
    (first, *_) = preview_file(FORMATS["problems"], both, ImportOptions("x"))
    assert first.given == {"problem": "What is 0 + 5?", "answer": 5}
    for wrong in (f"hub:{folder}:main/validation", f"hub:{tmp_path}/owner/nothing"):
        with pytest.raises(InputError, match="Check the name, the config and the split"):
            import_file(database, FORMATS["problems"], HubSet.parse(wrong))


@pytest.mark.parametrize("text", ["hub:", "hub:gsm8k", "hub:@main"])
def test_what_names_no_set_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="names no set"):
        HubSet.parse(text)


# ------------------------------------------------------------ the command


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Runs `stepmark import ARGUMENTS` in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["stepmark", "import", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert isinstance(exit_.value.code, int)
    printed = capsys.readouterr()
    return exit_.value.code, printed.out, printed.err


def test_the_command_lists_every_format_with_a_line_of_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(monkeypatch, capsys, "--formats")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(FORMATS)
    assert all(len(line.split()) > 3 for line in out.splitlines())


def test_a_preview_needs_no_database_and_shows_what_cannot_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("text,gold\nWhat is 1 + 1?,2\n,3\n", encoding="utf-8")
    mapped = ("problems", str(path), "--map", "problem=text", "--map", "answer=gold", "--preview")
    code, out, err = run(monkeypatch, capsys, *mapped)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        str(path),
        "line 2: columns text, gold",
        "  problem",
        "    statement: 'What is 1 + 1?'",
        "    source: 'problems/mine'",
        "    source_key: '0'",
        "    reference_answer: '2'",
        "    answer_kind: 'value'",
        "    kind: 'original'",
        "line 3: columns text, gold",
        "  cannot be taken: 'problem' should be text, not None",
    ]
    code, out, _ = run(monkeypatch, capsys, *mapped, "--json")
    (first, _) = json.loads(out)["rows"]
    assert (code, first["given"]) == (0, {"text": "What is 1 + 1?", "gold": "2"})
    assert first["records"][0]["problem"]["statement"] == "What is 1 + 1?"
    code, out, err = run(monkeypatch, capsys, "problems", str(path), "--map", "text", "--preview")
    assert (code, out) == (2, "")
    assert "--map 'text' is not NAME=THEIRS; write it as problem=question" in err


def test_what_a_row_said_and_no_table_took_is_counted_at_the_end(
    database_url: str, database: sa.Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = DATA / "hh_rlhf_helpful" / "helpful-base-test.jsonl"
    code, out, _ = run(monkeypatch, capsys, "hh-rlhf", str(path), "--db", database_url)
    assert (code, out.splitlines()) == (
        0,
        [
            f"{path}: read 4, kept 4, dropped 0",
            "  already there 0",
            "  stored 4 problems, 4 problem_sources, 7 solutions, 3 annotations, 3 preferences",
            "  kept beside these rows only: 1 chosen_equals_rejected, 1 empty_response",
        ],
    )


# ------------------------------------------------------------ all of them at once


def test_the_script_imports_what_a_folder_holds_and_tells_what_sets_share(
    database: sa.Engine, tmp_path: Path
) -> None:
    for folder in (*DATA.iterdir(), EXAMPLES / "processbench"):
        (tmp_path / folder.name).symlink_to(folder)
    (tmp_path / "gsm8k").mkdir()
    for file in (EXAMPLES / "gsm8k" / "test.jsonl", DATA / "gsm8k_cot_samples" / "test.source_lines.txt"):
        (tmp_path / "gsm8k" / file.name).symlink_to(file)
    import_all = importlib.import_module("examples.import_all")
    table = {row["set"]: row for row in import_all.import_sets(database, tmp_path)}
    assert "gsm8k_model_solutions/*.jsonl" not in table
    assert {row["rows"]["read"] - row["rows"]["kept"] for row in table.values()} == {0}
    assert table["prmbench/*.jsonl"]["left_out"] == {"error_step_past_end": 1}
    assert table["gsm8k_cot_samples/*.jsonl"]["stored"] == {"solutions": 6}
    shared = {tuple(pair["sets"]): pair["same_problems"] for pair in import_all.shared_between(database)}
    assert shared == {
        ("gsm-plus", "gsm8k/test"): 1,
        ("gsm-plus", "processbench"): 1,
        ("gsm8k/test", "processbench"): 12,
    }
