"""Exports from imported data: filters, splits by family, pairs, pages, and the tool that reads them."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.connect import open_database, reading, writing
from db.models import Adjudication, Annotation, Annotator, Export, Problem, Request, Run, Solution, StepLabel, Task
from exports.formats import read_counts, read_rows
from exports.formats.files import FileFormat
from exports.queries import selection as selection_module
from exports.queries.exporting import Target, export_set
from exports.queries.importing import default_options, import_file
from exports.queries.orm_rows import best_of_n_set, orm_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection
from exports.queries.sources import FORMATS
from stepmark.errors import InputError, SettingsError
from stepmark.problems import family_hash

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "data"
OUTCOMES = PreferenceOptions(origin="outcomes")


@pytest.fixture
def imported(database: sa.Engine) -> sa.Engine:
    """The example data of all three sources, with the sources' marks as outcomes."""
    for name, path in (
        ("gsm8k", EXAMPLES / "gsm8k" / "test.jsonl"),
        ("gsm8k-model-solutions", EXAMPLES / "gsm8k_model_solutions" / "example_model_solutions.jsonl"),
        ("processbench", EXAMPLES / "processbench" / "gsm8k.json"),
    ):
        options = default_options(FORMATS[name], path, trust_outcomes=True)
        import_file(database, FORMATS[name], path, options=options)
    return database


def sampled(engine: sa.Engine) -> None:
    """Adds one sampled solution to the first problem."""
    with writing(engine) as session:
        session.add(Run(run_id=7, run_key="r", kind="solutions", engine="openai", model="m", record={}))
        session.flush()
        session.add(
            Request(
                request_id=1, run_id=7, payload_hash="p", sample_index=0, status="done", response="x", problem_id=1
            )
        )
        session.flush()
        session.add(
            Solution(problem_id=1, run_id=7, request_id=1, text="x", text_hash="h", steps=["x"], outcome=False)
        )


def all_rows(folder: Path, config: str) -> list[dict[str, Any]]:
    return [row for split in read_counts(folder, config) for row in read_rows(folder, config, split, verify=True)]


def test_processbench_comes_out_as_its_labels_went_in(imported: sa.Engine, tmp_path: Path) -> None:
    report = export_set(imported, Target(tmp_path), prm_set(Selection(), PrmOptions()))
    assert (report.n_read, report.n_kept, report.dropped) == (13, 13, {})
    source = json.loads((EXAMPLES / "processbench" / "gsm8k.json").read_text(encoding="utf-8"))
    expected = {}
    for row in source:
        error = row["label"]
        steps = row["steps"] if error == -1 else row["steps"][: error + 1]
        labels = [True] * len(steps) if error == -1 else [True] * error + [False]
        expected[row["problem"], steps[-1].strip()] = labels
    found = {}
    for row in all_rows(tmp_path, "prm"):
        completions, labels = row["completions"], row["labels"]
        if completions[-1].startswith("# Answer\n\n"):
            assert labels.pop() is True  # nobody's wrong answer has right steps only
            completions.pop()
        found[row["prompt"], completions[-1].partition(": ")[2]] = labels
    assert found == expected


def test_solutions_are_selected_by_source_and_by_run(imported: sa.Engine, tmp_path: Path) -> None:
    sampled(imported)
    target = Target(tmp_path, overwrite=True)

    def sources(selection: Selection) -> dict[str, int]:
        export_set(imported, target, orm_set(selection))
        manifest = json.loads((tmp_path / "manifest.json").read_bytes())
        found: dict[str, int] = manifest["configs"]["orm"]["sources"]
        return found

    every = {"gsm8k-model-solutions": 96, "processbench/gsm8k": 13, "run/7": 1}
    assert sources(Selection()) == every
    assert sources(Selection(sources=("processbench/*",))) == {"processbench/gsm8k": 13}
    assert sources(Selection(sources=("gsm8k/test",))) == {"run/7": 1}
    assert sources(Selection(sources=("gsm8k*",))) == {"gsm8k-model-solutions": 96, "run/7": 1}
    assert sources(Selection(run_id=7)) == {"run/7": 1}
    with pytest.raises(
        InputError, match="no source is named like 'math'; there are: gsm8k-model-solutions, gsm8k/test"
    ):
        sources(Selection(sources=("math",)))


def test_a_family_is_never_on_two_sides_of_a_split(imported: sa.Engine, tmp_path: Path) -> None:
    shares = {"train": 0.5, "test": 0.5}
    export_set(imported, Target(tmp_path, shares=shares), orm_set(Selection()))
    export_set(imported, Target(tmp_path, shares=shares), preference_set(Selection(), OUTCOMES))
    side: dict[str, set[str]] = {}
    for config in ("orm", "preference"):
        for split in shares:
            for row in read_rows(tmp_path, config, split):
                side.setdefault(family_hash(row["prompt"]), set()).add(split)
    assert len(side) == 24
    assert all(len(splits) == 1 for splits in side.values())
    assert {split for splits in side.values() for split in splits} == {"train", "test"}
    with pytest.raises(SettingsError, match="sum to"):
        export_set(imported, Target(tmp_path, shares={"train": 0.5}, overwrite=True), orm_set(Selection()))


def test_pairs_are_right_over_wrong_of_one_problem_each_once(imported: sa.Engine, tmp_path: Path) -> None:
    report = export_set(imported, Target(tmp_path), preference_set(Selection(), OUTCOMES))
    with reading(imported) as session:
        marks = session.execute(
            sa.select(Problem.statement, Solution.outcome, sa.func.count())
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .group_by(Problem.statement, Solution.outcome)
        ).all()
    counted = {(statement, outcome): n for statement, outcome, n in marks}
    n_pairs = sum(n * counted.get((statement, False), 0) for (statement, right), n in counted.items() if right)
    assert report.n_read == n_pairs
    assert report.n_kept + sum(report.dropped.values()) == n_pairs
    rows = all_rows(tmp_path, "preference")
    assert len({(row["prompt"], row["chosen"], row["rejected"]) for row in rows}) == len(rows) == report.n_kept
    export_set(imported, Target(tmp_path), orm_set(Selection()))
    label = {(row["prompt"], row["completion"]): row["label"] for row in all_rows(tmp_path, "orm")}
    assert {(label[row["prompt"], row["chosen"]], label[row["prompt"], row["rejected"]]) for row in rows} == {
        (True, False)
    }


def test_fewer_pairs_are_drawn_by_the_seed_from_all_of_them(imported: sa.Engine, tmp_path: Path) -> None:
    def pairs(folder: str, seed: int, most: int) -> set[tuple[str, ...]]:
        options = PreferenceOptions(origin="outcomes", max_pairs_per_problem=most, seed=seed)
        export_set(imported, Target(tmp_path / folder), preference_set(Selection(), options))
        return {tuple(row.values()) for row in all_rows(tmp_path / folder, "preference")}

    every, two, other = pairs("every", 0, 100), pairs("two", 0, 2), pairs("other", 1, 2)
    assert max(Counter(pair[0] for pair in two).values()) == 2
    assert two < every
    assert other < every
    assert two != other


def test_small_pages_give_the_same_bytes_as_one(
    imported: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(folder: Path) -> dict[str, bytes]:
        export_set(imported, Target(folder), prm_set(Selection(max_per_problem=1), PrmOptions(labellers="majority")))
        export_set(imported, Target(folder), orm_set(Selection()))
        export_set(imported, Target(folder), preference_set(Selection(), OUTCOMES))
        export_set(imported, Target(folder), best_of_n_set(Selection()))
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json*")}

    whole = export(tmp_path / "whole")
    monkeypatch.setattr(selection_module, "_PAGE", 3)
    assert export(tmp_path / "small") == whole


def test_a_reviewers_decision_goes_before_the_majority(database: sa.Engine, tmp_path: Path) -> None:
    with writing(database) as session:
        session.add(Problem(problem_id=1, statement_hash="h", family="f", statement="What?", kind="original"))
        session.flush()
        session.add(
            Solution(
                solution_id=1,
                problem_id=1,
                source="s",
                source_key="1",
                text="t",
                text_hash="t",
                steps=["One.", "Two.", "Three."],
            )
        )
        session.add_all([Annotator(annotator_id=n, name=f"annotator-{n}") for n in (1, 2, 3, 4)])
        session.flush()
        session.add(Task(task_id=1, kind="steps", solution_id=1, n_wanted=3))
        session.flush()
        for annotator, labels in ((1, [1, -1]), (2, [1, 1, 1]), (3, [1, -1])):
            said = Annotation(
                annotation_id=annotator,
                submission_id=str(annotator),
                kind="steps",
                annotator_id=annotator,
                task_id=1,
                solution_id=1,
            )
            session.add(said)
            session.flush()
            session.add_all(StepLabel(annotation_id=annotator, step_index=i, label=x) for i, x in enumerate(labels))
    majority = PrmOptions(labellers="majority")

    def labels_now() -> list[list[bool]]:
        export_set(database, Target(tmp_path, overwrite=True), prm_set(Selection(), majority))
        return [row["labels"] for row in all_rows(tmp_path, "prm")]

    assert labels_now() == [[True, False]]
    for label, expected in ((0, [True, True, True]), (-1, [True, False])):
        with writing(database) as session:
            session.add(Adjudication(task_id=1, step_index=1, label=label, annotator_id=4 if label else 1))
        assert labels_now() == [expected]


def test_an_export_without_rows_writes_nothing_and_says_why(database: sa.Engine, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no row to export: read 0"):
        export_set(database, Target(tmp_path / "out"), prm_set(Selection(), PrmOptions()))
    path = EXAMPLES / "gsm8k_model_solutions" / "example_model_solutions.jsonl"
    import_file(database, FORMATS["gsm8k-model-solutions"], path)
    with pytest.raises(InputError, match="read 96, dropped 96 outcome_unknown"):
        export_set(database, Target(tmp_path / "out"), orm_set(Selection()))
    assert not (tmp_path / "out").exists()
    with reading(database) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Export)) == 0


LOAD = """
import json, sys, datasets
found = {}
for config in sys.argv[3:]:
    loaded = datasets.load_dataset(sys.argv[1], config, cache_dir=sys.argv[2])
    found[config] = {split: rows.to_list() for split, rows in loaded.items()}
print(json.dumps(found))
"""


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_the_datasets_library_loads_every_config_offline(tmp_path: Path, file_format: FileFormat) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'stepmark.db'}", create=True)
    path = EXAMPLES / "gsm8k_model_solutions" / "example_model_solutions.jsonl"
    found = FORMATS["gsm8k-model-solutions"]
    import_file(engine, found, path, options=default_options(found, path, trust_outcomes=True))
    path = EXAMPLES / "processbench" / "gsm8k.json"
    import_file(engine, FORMATS["processbench"], path)
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    out = tmp_path / "out"
    target = Target(out, file_format=file_format, shares=shares, rows_per_shard=5)
    export_set(engine, target, prm_set(Selection(), PrmOptions()))
    export_set(engine, target, orm_set(Selection()))
    export_set(engine, target, preference_set(Selection(), OUTCOMES))
    export_set(engine, target, best_of_n_set(Selection()))
    engine.dispose()
    configs = ["prm", "orm", "preference", "best_of_n"]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(out), str(tmp_path / "cache"), *configs],
        env=os.environ | {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        config: {split: list(read_rows(out, config, split)) for split in read_counts(out, config)}
        for config in configs
    }


def test_the_command_prints_counts_and_json_and_refuses_to_overwrite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'stepmark.db'}"
    engine = open_database(url, create=True)
    import_file(engine, FORMATS["processbench"], EXAMPLES / "processbench" / "gsm8k.json")
    engine.dispose()

    def stepmark(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "stepmark", *words, "--db", url, "--out", "out"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    asked = ("export", "prm", "--split", "train=1", "--annotator-kind", "person", "--source", "processbench/*")
    assert stepmark(*asked) == (0, "prm in out: read 13, kept 13, dropped 0\n  13 train\n", "")
    code, output, error = stepmark(*asked)
    assert (code, output) == (2, "")
    assert error == ("stepmark: out already holds a prm set; pass --overwrite to replace it, or another --out\n")
    code, output, _ = stepmark(*asked, "--overwrite", "--json", "--file-format", "parquet", "--no-answer-segment")
    report = json.loads(output)
    assert (code, report["n_kept"], report["splits"]) == (0, 13, {"train": 13})
    code, _, error = stepmark("export", "orm", "--split", "train:1")
    assert (code, error) == (
        2,
        "stepmark: --split 'train:1': 'train:1' is not NAME=SHARE; write train=0.9,test=0.1\n",
    )
    code, _, error = stepmark("export", "preference", "--file-format", "parquet")
    assert code == 2
    assert "there is no row to export: read 0" in error
