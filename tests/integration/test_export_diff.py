"""`export diff`: rows added, removed and changed between two exported folders, whatever the kind of their files."""

import json
from pathlib import Path
from typing import Any

import pytest

from exports.formats import SetWriter
from exports.formats.columns import PRM, Column
from exports.formats.differences import Change, compare_sets
from stepmark.cli.main import app
from stepmark.errors import InputError


def row(prompt: str, label: bool, completion: str = "16") -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion, "label": label}


def written(folder: Path, rows: list[tuple[str, dict[str, Any]]], file_format: Any, **query: Any) -> Path:
    with SetWriter(folder, "orm", file_format=file_format, rows_per_shard=2) as writer:
        for split, one in rows:
            writer.write(split, one)
        writer.finish(version="1", format="trl", query=query, counts={"read": 1, "kept": 1, "dropped": {}})
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    same = [("train", row(f"q{number}", True)) for number in range(5)]
    before = [*same, ("train", row("gone", True)), ("test", row("turned", True)), ("test", row("twice", True))]
    after = [("train", row("new", False)), *(("test", one) for _, one in reversed(same))]
    after += [("train", row("turned", False)), ("train", row("twice", True)), ("train", row("twice", True))]
    return (
        written(tmp_path / "a", before, "jsonl", text="steps", seed=0),
        written(tmp_path / "b", after, "parquet", text="written", seed=0),
    )


def test_rows_are_added_removed_or_changed_and_neither_order_nor_split_nor_kind_matters(
    two: tuple[Path, Path],
) -> None:
    (found,) = compare_sets(*two)
    assert (found.n_before, found.n_after, found.n_same) == (8, 9, 6)
    assert (found.added, found.removed) == ([row("new", False), row("twice", True)], [row("gone", True)])
    assert found.changed == [Change(row("turned", True), row("turned", False))]
    assert (found.n_added, found.n_removed, found.n_changed) == (2, 1, 1)
    assert found.flags == {"text": ("steps", "written")}
    (back,) = compare_sets(two[1], two[0], most=0)
    assert (back.n_added, back.n_removed, back.n_changed, back.added) == (1, 2, 1, [])
    (itself,) = compare_sets(two[0], two[0])
    assert (itself.n_same, itself.n_added, itself.n_removed, itself.n_changed) == (8, 0, 0, 0)


def test_hard_labels_that_became_soft_are_the_same_where_their_values_are(tmp_path: Path) -> None:
    for name, kind, labels in (("a", "bools", [True, False]), ("b", "floats", [1.0, 0.0])):
        columns = (*PRM[:2], Column("labels", kind, "labels"))
        with SetWriter(tmp_path / name, "prm", columns=columns) as writer:
            writer.write("train", {"prompt": "p", "completions": ["x", "y"], "labels": labels})
            writer.finish(version="1", format="trl", query={}, counts={"read": 1, "kept": 1, "dropped": {}})
    (found,) = compare_sets(tmp_path / "a", tmp_path / "b")
    assert (found.n_same, found.n_changed) == (1, 0)


def test_a_set_that_one_folder_lacks_is_all_new_and_an_unknown_one_is_refused(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    with SetWriter(tmp_path / "a", "preference") as writer:
        writer.write("train", {"prompt": "p", "chosen": "a", "rejected": "b"})
        writer.finish(version="1", format="trl", query={}, counts={"read": 1, "kept": 1, "dropped": {}})
    (found,) = compare_sets(*two, config="preference")
    assert (found.n_before, found.n_after, found.n_removed) == (1, 0, 1)
    with pytest.raises(InputError, match="neither folder holds 'prm'; they have orm, preference"):
        compare_sets(*two, config="prm")
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        compare_sets(two[0], tmp_path)


def test_the_command_prints_counts_and_examples_or_json(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["export", "diff", *map(str, two)]
    app([*asked, "--most", "1"], standalone_mode=False)
    assert capsys.readouterr().out.splitlines() == [
        "orm: 8 and 9 rows, 6 the same, 2 added, 1 removed, 1 changed",
        "  + prompt: new  completion: 16  label: False",
        "  - prompt: gone  completion: 16  label: True",
        "  ~ prompt: turned  completion: 16  label: True",
        "    label: True is now False",
        "  flag text: 'steps' and 'written'",
    ]
    app([*asked, "--json"], standalone_mode=False)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["n_added"], found["changed"][0]["after"]["label"]) == (2, False)
