"""The exact bytes of each export from a fixed small database, against files written by hand from the formats."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

import stepmark
from db.connect import reading, writing
from db.models import Annotation, Annotator, Export, Preference, Problem, Solution, StepLabel
from exports.queries.exporting import ExportReport, Target, export_set
from exports.queries.orm_rows import best_of_n_set, orm_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection

GOLDEN = Path(__file__).parents[1] / "golden"
ALL = {"train": 1.0}


def problem(id_: int, statement: str, answer: str) -> Problem:
    return Problem(
        problem_id=id_,
        statement_hash=f"{id_:032x}",
        family=f"{id_:032x}",
        statement=statement,
        reference_answer=answer,
        reference_trust="source",
        kind="original",
    )


def solution(id_: int, problem_id: int, steps: list[str], answer: str | None, outcome: bool | None) -> Solution:
    return Solution(
        solution_id=id_,
        problem_id=problem_id,
        source="small",
        source_key=str(id_),
        text="\n".join(steps),
        text_hash=f"{id_:032x}",
        steps=steps,
        answer=answer,
        outcome=outcome,
        outcome_rule=None if outcome is None else "source",
        licence="CC0-1.0",
    )


def annotation(id_: int, solution_id: int, annotator_id: int, labels: list[int], **more: Any) -> list[Any]:
    said = Annotation(
        annotation_id=id_,
        submission_id=f"submission-{id_}",
        kind="steps",
        annotator_id=annotator_id,
        solution_id=solution_id,
        mode="all_steps",
        **({"finish_reason": "found_error" if -1 in labels else "solution"} | more),
    )
    return [said, *(StepLabel(annotation_id=id_, step_index=i, label=label) for i, label in enumerate(labels))]


def preference(id_: int, annotator_id: int, a: int, b: int, choice: str, strength: int | None = None) -> list[Any]:
    return [
        Annotation(
            annotation_id=id_,
            submission_id=f"submission-{id_}",
            kind="preference",
            annotator_id=annotator_id,
            solution_id=a,
        ),
        Preference(annotation_id=id_, solution_a_id=a, solution_b_id=b, choice=choice, strength=strength),
    ]


@pytest.fixture
def small(database: sa.Engine) -> sa.Engine:
    """Two problems, five solutions, three labellers who differ."""
    ann, eggs = "Ann has 9 eggs and finds 7 more. How many has she?", "9 + 7 = 16"
    rows = [
        [problem(1, ann, "16"), problem(2, "What is 2 + 3 × 4?", "14")],
        [
            solution(1, 1, [eggs], "16", True),
            solution(2, 1, ["9 + 7 = 17", "So 17."], "17", False),
            solution(3, 1, [eggs], "16", True),
            solution(4, 2, ["3 × 4 = 12", "2 + 12 = 14", 'It is "14".'], "14", True),
            solution(5, 2, ["2 + 3 = 5", "5 × 4 = 20"], None, None),
        ],
        [
            Annotator(annotator_id=1, name="annotator-1"),
            Annotator(annotator_id=2, name="annotator-2"),
            Annotator(annotator_id=3, name="checker", kind="program"),
        ],
        annotation(1, 1, 1, [1]),
        annotation(2, 2, 1, [-1]),
        annotation(3, 3, 1, [1]),
        annotation(4, 4, 1, [1, 0, 1], guideline="rules-2"),
        annotation(5, 4, 2, [1, 1, 1]),
        annotation(6, 4, 3, [1, -1, 1]),
        annotation(7, 5, 2, [1], finish_reason="give_up"),
        annotation(8, 5, 1, [], finish_reason="bad_problem", guideline="rules-1"),
        annotation(10, 1, 2, [1]),
        annotation(9, 1, 2, [-1], superseded_by_id=10),
        preference(11, 1, 1, 2, "a", 2),
        preference(12, 1, 2, 1, "equal"),
        preference(13, 2, 5, 4, "b"),
    ]
    with writing(database) as session:
        for group in rows:
            session.add_all(group)
            session.flush()
    return database


Run = Callable[[sa.Engine, Target], ExportReport]

EVERY = Selection()
EXPORTS: dict[str, tuple[str, Run, dict[str, Any]]] = {
    "prm": (
        "prm",
        lambda engine, target: export_set(engine, target, prm_set(EVERY, PrmOptions())),
        {"read": 9, "kept": 7, "dropped": {"bad_problem": 1, "duplicate": 1}, "steps_of_several_labellers": 4},
    ),
    "prm_all_negative": (
        "prm",
        lambda engine, target: export_set(
            engine, target, prm_set(EVERY, PrmOptions(neutral="negative", after_first_error="all"))
        ),
        {"read": 9, "kept": 7, "dropped": {"bad_problem": 1, "duplicate": 1}, "steps_of_several_labellers": 4},
    ),
    "prm_majority": (
        "prm",
        lambda engine, target: export_set(engine, target, prm_set(EVERY, PrmOptions(labellers="majority"))),
        {"read": 5, "kept": 4, "dropped": {"duplicate": 1}, "steps_of_several_labellers": 4},
    ),
    "orm": (
        "orm",
        lambda engine, target: export_set(engine, target, orm_set(EVERY)),
        {"read": 5, "kept": 3, "dropped": {"duplicate": 1, "outcome_unknown": 1}},
    ),
    "preference": (
        "preference",
        lambda engine, target: export_set(engine, target, preference_set(EVERY, PreferenceOptions())),
        {"read": 3, "kept": 2, "dropped": {"tie": 1}, "pairs_of_several_labellers": 1},
    ),
    "preference_from_outcomes": (
        "preference",
        lambda engine, target: export_set(
            engine, target, preference_set(EVERY, PreferenceOptions(origin="outcomes"))
        ),
        {"read": 2, "kept": 1, "dropped": {"duplicate": 1}, "problems_without_pairs": 1},
    ),
    "best_of_n": (
        "best_of_n",
        lambda engine, target: export_set(engine, target, best_of_n_set(EVERY)),
        {"read": 2, "kept": 2, "dropped": {}, "solutions_without_outcome": 1},
    ),
}

ARROW = {
    "prm": {"prompt": pa.string(), "completions": pa.list_(pa.string()), "labels": pa.list_(pa.bool_())},
    "orm": {"prompt": pa.string(), "completion": pa.string(), "label": pa.bool_()},
    "preference": {
        "prompt": pa.string(),
        "chosen": pa.string(),
        "rejected": pa.string(),
        "margin": pa.float64(),
    },
    "best_of_n": {"prompt": pa.string(), "answers": pa.list_(pa.string()), "labels": pa.list_(pa.int64())},
}


def test_json_lines_are_the_golden_bytes(small: sa.Engine, tmp_path: Path) -> None:
    for name, (config, run, counts) in EXPORTS.items():
        report = run(small, Target(tmp_path / name, shares=ALL))
        written = (tmp_path / name / config / "train-00000-of-00001.jsonl").read_bytes()
        assert written.decode() == (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8")
        manifest = json.loads((tmp_path / name / "manifest.json").read_bytes())
        assert manifest["configs"][config]["counts"] == counts
        assert {"read": report.n_read, "kept": report.n_kept, "dropped": report.dropped, **report.more} == counts
    ties = (tmp_path / "preference" / "preference" / "ties-00000-of-00001.jsonl").read_bytes()
    assert ties == (GOLDEN / "preference_ties.jsonl").read_bytes()


def test_parquet_holds_the_golden_rows_under_the_formats_types(small: sa.Engine, tmp_path: Path) -> None:
    for name, columns in ARROW.items():
        EXPORTS[name][1](small, Target(tmp_path, file_format="parquet", shares=ALL))
        table = pq.read_table(tmp_path / name / "train-00000-of-00001.parquet")
        assert {field.name: field.type for field in table.schema} == columns
        lines = (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert table.to_pylist() == [json.loads(line) for line in lines]


def test_the_same_query_gives_the_same_bytes_of_everything(small: sa.Engine, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        for name in ARROW:
            EXPORTS[name][1](small, Target(tmp_path / folder))
    files = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()]
    assert {str(path) for path in files} >= {"README.md", "manifest.json"}
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_the_manifest_says_what_was_asked_and_what_came(small: sa.Engine, tmp_path: Path) -> None:
    report = EXPORTS["prm"][1](small, Target(tmp_path, shares=ALL))
    golden = (GOLDEN / "prm.jsonl").read_bytes()
    trace = (tmp_path / "trace" / "prm" / "train-00000-of-00001.jsonl").read_bytes()
    content = (tmp_path / "manifest.json").read_bytes()
    assert json.loads(content) == {
        "manifest_version": 1,
        "stepmark_version": stepmark.__version__,
        "configs": {
            "prm": {
                "format": "trl",
                "file_format": "jsonl",
                "columns": {"prompt": "text", "completions": "texts", "labels": "bools"},
                "query": {
                    "sources": [],
                    "run_id": None,
                    "max_per_problem": None,
                    "keep_duplicates": False,
                    "outcomes": [],
                    "licences": [],
                    "licences_refused": [],
                    "min_pass": None,
                    "max_pass": None,
                    "keep_flagged": False,
                    "decontaminate": [],
                    "max_similarity": None,
                    "annotators": [],
                    "annotator_kinds": [],
                    "annotators_refused": [],
                    "label_sources": [],
                    "projects": [],
                    "guidelines": [],
                    "since": None,
                    "until": None,
                    "without_suggestions": False,
                    "without_quality_control": False,
                    "without_screening": False,
                    "min_labellers": 1,
                    "min_agreement": 0.0,
                    "adjudicated": "prefer",
                    "neutral": "positive",
                    "after_first_error": "stop",
                    "labellers": "each",
                    "target": "hard",
                    "unjudged": "end",
                    "repaired": "wrong",
                    "without_unsure": False,
                    "rollouts_run": None,
                    "answer_segment": True,
                    "split": {"train": 1.0},
                    "split_seed": 0,
                    "file_format": "jsonl",
                    "rows_per_shard": 100_000,
                    "trace": "pseudonyms",
                    "balance": False,
                    "tokenizer": None,
                    "max_length": None,
                    "drop_longer": False,
                },
                "counts": {
                    "read": 9,
                    "kept": 7,
                    "dropped": {"bad_problem": 1, "duplicate": 1},
                    "steps_of_several_labellers": 4,
                },
                "licences": {"CC0-1.0": 7},
                "sources": {"small": 7},
                "splits": {
                    "train": [
                        {
                            "path": "prm/train-00000-of-00001.jsonl",
                            "rows": 7,
                            "bytes": len(golden),
                            "sha256": hashlib.sha256(golden).hexdigest(),
                        }
                    ]
                },
                "aside": {},
                "trace": {
                    "train": [
                        {
                            "path": "trace/prm/train-00000-of-00001.jsonl",
                            "rows": 7,
                            "bytes": len(trace),
                            "sha256": hashlib.sha256(trace).hexdigest(),
                        }
                    ]
                },
                "labels": {"labels": {"false": 2, "true": 14}},
                "lengths": {"64": 2, "128": 5},
                "example": json.loads(golden.splitlines()[0]),
                "guidelines": ["rules-2"],
                # Four steps have several labels: (1 1), (1 1 1), (-1 0 1), (1 1 1). Raw: three of four. Alpha:
                # o(1, 1) = 8, each pair of two others 1/2, margins 1, 1, 9, so 1 - (62 / 11) / 10. AC2: (.8611 -
                # .2755) / .7245.
                "agreement": {
                    "AC2": pytest.approx(0.808306, abs=1e-6),
                    "alpha (ordinal)": pytest.approx(1 - 6.2 / 11),
                    "raw agreement": 0.75,
                },
            }
        },
    }
    assert report.manifest_sha256 == hashlib.sha256(content).hexdigest()
    with reading(small) as session:
        noted = session.scalars(sa.select(Export)).one()
    assert (noted.config, noted.path, noted.manifest_sha256) == (
        "prm",
        str(tmp_path.resolve()),
        report.manifest_sha256,
    )
    assert noted.counts == {
        "read": 9,
        "kept": 7,
        "dropped": {"bad_problem": 1, "duplicate": 1},
        "steps_of_several_labellers": 4,
    }


def rows_of(folder: Path, config: str) -> list[dict[str, Any]]:
    lines = (folder / config / "train-00000-of-00001.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def prm_labels(
    engine: sa.Engine, folder: Path, options: PrmOptions, selection: Selection = EVERY
) -> list[list[bool]]:
    export_set(engine, Target(folder, shares=ALL, overwrite=True), prm_set(selection, options))
    return [row["labels"] for row in rows_of(folder, "prm")]


def test_a_neutral_step_ends_the_row_before_it_where_neutral_is_dropped(small: sa.Engine, tmp_path: Path) -> None:
    assert prm_labels(small, tmp_path, PrmOptions(neutral="drop")) == [
        [True, True],
        [True, True],
        [False],
        [True],
        [True, True, True, True],
        [True, False],
        [True],
    ]


def test_labellers_are_chosen_by_name_and_kind(small: sa.Engine, tmp_path: Path) -> None:
    assert prm_labels(small, tmp_path, PrmOptions(annotators=("annotator-2",))) == [
        [True, True],
        [True, True, True, True],
        [True],
    ]
    assert prm_labels(small, tmp_path, PrmOptions(annotator_kinds=("program", "model"))) == [[True, False]]


def test_without_answer_segments_rows_end_at_the_last_step(small: sa.Engine, tmp_path: Path) -> None:
    assert prm_labels(small, tmp_path, PrmOptions(answer_segment=False, annotators=("annotator-2",))) == [
        [True],
        [True, True, True],
        [True],
    ]


def test_a_label_of_the_answer_itself_goes_before_the_outcome(small: sa.Engine, tmp_path: Path) -> None:
    with writing(small) as session:
        session.add_all(
            [
                StepLabel(annotation_id=5, step_index=3, label=-1),
                StepLabel(annotation_id=6, step_index=3, label=1),
            ]
        )
    chosen = PrmOptions(annotators=("annotator-2", "checker"), after_first_error="all")
    assert prm_labels(small, tmp_path, chosen)[1:3] == [[True, True, True, False], [True, False, True, True]]


def test_rows_of_one_problem_are_limited_and_duplicates_kept_on_request(small: sa.Engine, tmp_path: Path) -> None:
    target = Target(tmp_path, shares=ALL, overwrite=True)
    limited = export_set(small, target, orm_set(Selection(max_per_problem=1)))
    assert (limited.n_kept, limited.dropped) == (
        2,
        {"duplicate": 1, "outcome_unknown": 1, "over_max_per_problem": 1},
    )
    kept = export_set(small, target, orm_set(Selection(keep_duplicates=True)))
    assert (kept.n_kept, kept.dropped) == (4, {"outcome_unknown": 1})
    few = export_set(small, target, best_of_n_set(Selection(max_per_problem=2)))
    assert [row["labels"] for row in rows_of(tmp_path, "best_of_n")] == [[1, 0], [1]]
    assert few.more == {"solutions_over_max_per_problem": 1, "solutions_without_outcome": 1}


def test_texts_as_they_were_written_are_exported_on_request(small: sa.Engine, tmp_path: Path) -> None:
    export_set(small, Target(tmp_path, shares=ALL), orm_set(EVERY, text="written"))
    assert [row["completion"] for row in rows_of(tmp_path, "orm")] == [
        "9 + 7 = 16",
        "9 + 7 = 17\nSo 17.",
        '3 × 4 = 12\n2 + 12 = 14\nIt is "14".',
    ]
