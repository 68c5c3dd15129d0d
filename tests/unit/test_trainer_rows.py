"""Reading exported sets: plain and conversational rows, JSONL and Parquet, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stepmark.errors import InputError
from tests.tiny_reward_model import write_split
from trainer.rows import Kind, OrmRow, PairRow, PrmRow, data_fingerprint, read_rows

USER = (("user", "9 + 7?"),)


def chat(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


@pytest.mark.parametrize(
    ("kind", "config", "raw", "expected"),
    [
        (
            "prm",
            "prm",
            {"prompt": "9 + 7?", "completions": ["a", "b"], "labels": [True, False], "source": "x"},
            PrmRow(USER, ("a", "b"), (1.0, 0.0)),
        ),
        (
            "prm",
            "prm",
            {"prompt": chat("user", "9 + 7?"), "completions": [chat("assistant", "a")], "labels": [0.25]},
            PrmRow(USER, ("a",), (0.25,)),
        ),
        ("orm", "orm", {"prompt": "9 + 7?", "completion": "16", "label": True}, OrmRow(USER, "16", 1.0)),
        (
            "orm",
            "orm",
            {"prompt": chat("user", "9 + 7?"), "completion": chat("assistant", "15"), "label": False},
            OrmRow(USER, "15", 0.0),
        ),
        (
            "bt",
            "preference",
            {"prompt": "9 + 7?", "chosen": "16", "rejected": "15", "margin": 0.5},
            PairRow(USER, "16", "15", 0.5),
        ),
        (
            "bt",
            "preference",
            {
                "chosen": chat("user", "9 + 7?") + chat("assistant", "16"),
                "rejected": chat("user", "9 + 7?") + chat("assistant", "15"),
                "margin": None,
            },
            PairRow(USER, "16", "15", 0.0),
        ),
    ],
)
def test_plain_and_conversational_rows_read_the_same(
    tmp_path: Path, kind: Kind, config: str, raw: dict[str, Any], expected: object
) -> None:
    write_split(tmp_path, config, [raw])
    assert list(read_rows(tmp_path, kind, "train")) == [expected]


def test_parquet_shards_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "orm").mkdir()
    for shard in (1, 0):
        table = pa.Table.from_pylist([{"prompt": "p", "completion": f"{shard}{i}", "label": True} for i in range(2)])
        pq.write_table(table, tmp_path / "orm" / f"train-{shard:05}-of-00002.parquet")
    rows = [row for row in read_rows(tmp_path, "orm", "train") if isinstance(row, OrmRow)]
    assert [row.completion for row in rows] == ["00", "01", "10", "11"]


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "orm").mkdir()
    (tmp_path / "orm" / "train-00001-of-00002.jsonl").write_text("")
    with pytest.raises(InputError, match=r"not one complete set: train-00001-of-00002.jsonl"):
        list(read_rows(tmp_path, "orm", "train"))


def test_a_split_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert list(read_rows(tmp_path, "prm", "validation")) == []


@pytest.mark.parametrize(
    ("kind", "config", "bad", "message"),
    [
        ("prm", "prm", {"prompt": "p", "completions": ["a", "b"], "labels": [True]}, "2 completions but 1 labels"),
        ("prm", "prm", {"prompt": "p", "completions": [], "labels": []}, "completions is empty"),
        ("prm", "prm", {"prompt": "p", "completions": ["a"], "labels": [-1]}, "labels must be true, false"),
        ("orm", "orm", {"prompt": "p", "completion": "c", "label": None}, "the column label is missing or empty"),
        ("orm", "orm", {"prompt": 7, "completion": "c", "label": True}, "prompt must be a text or a list"),
        ("bt", "preference", {"prompt": "p", "chosen": "c", "rejected": "r", "margin": "big"}, "margin must be"),
        (
            "bt",
            "preference",
            {"chosen": chat("user", "a") + chat("assistant", "c"), "rejected": chat("assistant", "r")},
            "differ in the last turn only",
        ),
    ],
)
def test_an_unusable_row_is_named_by_file_and_row(
    tmp_path: Path, kind: Kind, config: str, bad: dict[str, Any], message: str
) -> None:
    good: dict[str, dict[str, Any]] = {
        "prm": {"prompt": "p", "completions": ["a"], "labels": [True]},
        "orm": {"prompt": "p", "completion": "c", "label": True},
        "bt": {"prompt": "p", "chosen": "c", "rejected": "r"},
    }
    write_split(tmp_path, config, [good[kind], bad])
    with pytest.raises(InputError, match=f"train-00000-of-00001.jsonl, row 2: .*{message}"):
        list(read_rows(tmp_path, kind, "train"))


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    write_split(tmp_path, "orm", [{"prompt": "p", "completion": "c", "label": True}])
    with (tmp_path / "orm" / "train-00000-of-00001.jsonl").open("a") as file:
        file.write('{"prompt": \n')
    with pytest.raises(InputError, match="row 2: not JSON"):
        list(read_rows(tmp_path, "orm", "train"))


def test_the_fingerprint_is_the_manifest_s_and_otherwise_follows_the_rows(tmp_path: Path) -> None:
    write_split(tmp_path, "orm", [{"prompt": "p", "completion": "c", "label": True}])
    before = data_fingerprint(tmp_path, "orm")
    write_split(tmp_path, "orm", [{"prompt": "p", "completion": "c", "label": False}])
    after = data_fingerprint(tmp_path, "orm")
    assert before != after
    (tmp_path / "manifest.json").write_text(json.dumps({"counts": 1}))
    with_manifest = data_fingerprint(tmp_path, "orm")
    assert with_manifest not in (before, after)
    assert with_manifest == data_fingerprint(tmp_path, "prm")
