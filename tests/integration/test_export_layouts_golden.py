"""Every layout of every config, against rows written by hand from the schema of the tool that reads them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from exports.formats.layouts import LAYOUTS, layout_of
from exports.queries.exporting import ExportReport, Target, export_set
from tests.small_database import CASES, Case, fill

GOLDEN = Path(__file__).parents[1] / "golden" / "layouts"
MESSAGES = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
TURN = pa.struct({"from": pa.string(), "value": pa.string()})
TEXT, TEXTS, BOOL, INT = pa.string(), pa.list_(pa.string()), pa.bool_(), pa.int64()

PAIR = {"prompt": TEXT, "chosen": TEXT, "rejected": TEXT}
WHOLE = {"chosen": MESSAGES, "rejected": MESSAGES}
MARGIN = {"margin": pa.float64()}
RANKED = {"conversations": pa.list_(TURN), "chosen": TURN, "rejected": TURN}
AXOLOTL = {"system": TEXT, "input": TEXT, "chosen": TEXT, "rejected": TEXT}
REWARDBENCH2 = {
    "id": TEXT,
    "prompt": TEXT,
    "chosen": TEXTS,
    "rejected": TEXTS,
    "num_correct": INT,
    "num_incorrect": INT,
    "total_completions": INT,
    "subset": TEXT,
}
WRITTEN = {
    "messages": {"messages": MESSAGES},
    "prompt-completion": {"prompt": TEXT, "completion": TEXT},
    "prompt-completion-chat": {"prompt": MESSAGES, "completion": MESSAGES},
    "llamafactory": {"conversations": pa.list_(TURN)},
}
CANDIDATE = pa.struct({"text": TEXT, "rating": INT, "flagged": BOOL})
HUMAN = pa.struct({"text": TEXT, "rating": INT, "source": TEXT, "flagged": BOOL})
STEP = pa.struct({"completions": pa.list_(CANDIDATE), "human_completion": HUMAN, "chosen_completion": INT})
QUESTION = {
    "problem": TEXT,
    "ground_truth_solution": TEXT,
    "ground_truth_answer": TEXT,
    "pre_generated_steps": TEXTS,
    "pre_generated_answer": TEXT,
    "pre_generated_verifier_score": pa.float64(),
}
ABOUT_TASK = {
    **{name: TEXT for name in ("split", "index", "id", "task", "problem", "trust", "n_steps", "source")},
    **{name: INT for name in ("index", "n_steps")},
}

ARROW: dict[str, dict[str, dict[str, Any]]] = {
    "prm": {
        "trl": {"prompt": TEXT, "completions": TEXTS, "labels": pa.list_(BOOL)},
        "openrlhf": {"input": TEXT, "value": TEXTS},
        "math-shepherd": {"input": TEXT, "label": TEXT, "task": TEXT},
        "rlhflow": {"conversations": MESSAGES},
        "qwen": {"messages": MESSAGES, "labels": pa.list_(BOOL)},
        "lightman": {"text": TEXT, "labels": pa.list_(INT)},
        "processbench": {
            "id": TEXT,
            "generator": TEXT,
            "problem": TEXT,
            "steps": TEXTS,
            "final_answer_correct": BOOL,
            "label": INT,
        },
        "prmbench": {
            "idx": TEXT,
            "question": TEXT,
            "modified_question": TEXT,
            "modified_process": TEXTS,
            "error_steps": pa.list_(INT),
            "classification": TEXT,
        },
        "prm800k": {
            "labeler": TEXT,
            "timestamp": TEXT,
            "generation": INT,
            "is_quality_control_question": BOOL,
            "is_initial_screening_question": BOOL,
            "question": pa.struct(QUESTION),
            "label": pa.struct({"steps": pa.list_(STEP), "total_time": INT, "finish_reason": TEXT}),
        },
    },
    "orm": {
        "trl": {"prompt": TEXT, "completion": TEXT, "label": BOOL},
        "trl-chat": {"prompt": MESSAGES, "completion": MESSAGES, "label": BOOL},
        "llamafactory": {"conversations": pa.list_(TURN), "kto_tag": BOOL},
        "rlhflow": {"conversations": MESSAGES},
    },
    "best_of_n": {
        "trl": {"prompt": TEXT, "answers": TEXTS, "labels": pa.list_(INT)},
        "rewardbench2": REWARDBENCH2,
    },
    "preference": {
        "trl": PAIR | MARGIN,
        "trl-chat": {"prompt": MESSAGES} | WHOLE | MARGIN,
        "trl-implicit": WHOLE | MARGIN,
        "openrlhf": WHOLE | MARGIN,
        "llamafactory": RANKED,
        "axolotl": AXOLOTL,
        "rewardbench": {"id": INT, **PAIR, "subset": TEXT},
        "rewardbench2": REWARDBENCH2,
    },
    "critique_preference": {
        "trl": PAIR,
        "trl-chat": {"prompt": MESSAGES} | WHOLE,
        "trl-implicit": WHOLE,
        "openrlhf": WHOLE,
        "llamafactory": RANKED,
        "axolotl": AXOLOTL,
    },
    "critique": WRITTEN,
    "sft": WRITTEN,
    "cloud": {"cloud": {"id": TEXT, **PAIR, "chosen_feedback": TEXTS, "rejected_feedback": TEXTS}},
    "rl": {
        "verl": {
            "data_source": TEXT,
            "prompt": MESSAGES,
            "ability": TEXT,
            "reward_model": pa.struct({"style": TEXT, "ground_truth": TEXT}),
            "extra_info": pa.struct(ABOUT_TASK),
        },
        "trl": {
            "prompt": MESSAGES,
            **{name: TEXT for name in ("task", "ground_truth", "problem", "id", "trust")},
            "n_steps": INT,
        },
    },
}


@pytest.fixture
def small(database: sa.Engine) -> sa.Engine:
    fill(database)
    return database


def export(engine: sa.Engine, case: Case, folder: Path, file_format: Any = "jsonl") -> ExportReport:
    target = Target(folder, file_format=file_format, shares={"train": 1.0})
    return export_set(engine, target, case.wanted(), layout=layout_of(case.config, case.layout))


def golden(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_json_lines_are_the_golden_bytes(small: sa.Engine, tmp_path: Path) -> None:
    for name, case in CASES.items():
        report = export(small, case, tmp_path / name)
        written = (tmp_path / name / case.config / "train-00000-of-00001.jsonl").read_text(encoding="utf-8")
        assert written == (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8"), name
        assert (report.n_read, report.dropped, report.more) == (case.read, case.dropped, case.more), name
        entry = json.loads((tmp_path / name / "manifest.json").read_bytes())["configs"][case.config]
        assert entry["format"] == case.layout
        assert f"Layout `{case.layout}`" in (tmp_path / name / "README.md").read_text(encoding="utf-8")


def test_parquet_holds_the_golden_rows_under_the_types_of_the_format(small: sa.Engine, tmp_path: Path) -> None:
    for name, case in CASES.items():
        export(small, case, tmp_path / name, "parquet")
        table = pq.read_table(tmp_path / name / case.config / "train-00000-of-00001.parquet")
        columns = dict(ARROW[case.config][case.layout])
        if name in ("preference_shared-prefix", "preference_alternatives"):
            del columns["margin"]
        assert {field.name: field.type for field in table.schema} == columns, name
        assert table.to_pylist() == golden(name), name


def test_every_layout_has_a_golden_file() -> None:
    exported = {(case.config, case.layout) for case in CASES.values()}
    assert exported == {(config, layout) for config, layouts in LAYOUTS.items() for layout in layouts}
    assert {config: set(layouts) for config, layouts in ARROW.items()} == {
        config: set(layouts) for config, layouts in LAYOUTS.items()
    }
    assert {file.stem for file in GOLDEN.glob("*.jsonl")} == set(CASES)


def test_llamafactory_finds_each_file_described_beside_it(small: sa.Engine, tmp_path: Path) -> None:
    target = Target(tmp_path, shares={"train": 1.0}, rows_per_shard=1)
    described = {}
    for name in ("preference_llamafactory", "orm_llamafactory", "sft_llamafactory"):
        case = CASES[name]
        export_set(small, target, case.wanted(), layout=layout_of(case.config, case.layout))
        described[case.config] = json.loads((tmp_path / case.config / "dataset_info.json").read_bytes())
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    assert described["preference"] == {
        f"train_0000{n}": {
            "file_name": f"train-0000{n}-of-00002.jsonl",
            "formatting": "sharegpt",
            "ranking": True,
            "columns": columns,
        }
        for n in (0, 1)
    }
    assert described["orm"]["train_00000"]["columns"] == {"messages": "conversations", "kto_tag": "kto_tag"}
    assert "ranking" not in described["orm"]["train_00000"]
    assert described["sft"]["train_00001"]["columns"] == {"messages": "conversations"}
    entry = json.loads((tmp_path / "manifest.json").read_bytes())["configs"]["sft"]
    assert [file["path"] for file in entry["aside"]["dataset_info"]] == ["sft/dataset_info.json"]
    case = CASES["sft_messages"]
    export_set(small, Target(tmp_path, overwrite=True), case.wanted(), layout=layout_of("sft", "messages"))
    assert not (tmp_path / "sft" / "dataset_info.json").exists()
