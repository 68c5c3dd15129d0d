"""Training sets on disk: what is written is read back, whole or not at all, and nothing foreign is lost."""

import hashlib
import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard
from hypothesis import given, settings
from hypothesis import strategies as st

from exports.formats import SetWriter, read_counts, read_rows
from exports.formats.card import MARK, size_category
from exports.formats.columns import CONFIGS, MARGIN, PREFERENCE, TIES, Column
from exports.formats.files import FileFormat, json_line
from exports.formats.manifest import read_manifest
from stepmark.errors import InputError, LimitReached, SettingsError

COUNTS = {"read": 3, "kept": 3, "dropped": {}}
ROWS = [{"prompt": f"What is {n} + 1?", "completion": str(n + 1), "label": n % 2 == 0} for n in range(5)]


def finish(writer: SetWriter, **more: Any) -> bytes:
    return writer.finish(version="0.1.0", format="trl", query={}, counts=COUNTS, **more)


def write(folder: Path, rows: list[dict[str, Any]] = ROWS, **options: Any) -> None:
    with SetWriter(folder, "orm", **options) as writer:
        for row in rows:
            writer.write("train", row)
        finish(writer)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=30)
CELLS = {
    "text": TEXT,
    "texts": st.lists(TEXT, max_size=4),
    "bool": st.booleans(),
    "bools": st.lists(st.booleans(), max_size=4),
    "int": st.none() | st.integers(-(2**62), 2**62),
    "ints": st.lists(st.integers(-(2**62), 2**62), max_size=4),
    "float": st.floats(allow_nan=False, allow_infinity=False),
}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), file_format=st.sampled_from(["jsonl", "parquet"]), per_shard=st.integers(1, 5))
@pytest.mark.parametrize("config", CONFIGS)
def test_whatever_rows_are_written_are_read_back(
    config: str, data: st.DataObject, file_format: FileFormat, per_shard: int
) -> None:
    columns = (*PREFERENCE, MARGIN) if config == "preference" else CONFIGS[config]
    row = st.fixed_dictionaries({column.name: CELLS[column.kind] for column in columns})
    rows = data.draw(st.lists(row, min_size=1, max_size=12))
    with tempfile.TemporaryDirectory() as folder:
        with SetWriter(
            Path(folder), config, columns=columns, file_format=file_format, rows_per_shard=per_shard
        ) as writer:
            for cells in rows:
                writer.write("train", cells)
            finish(writer)
        assert list(read_rows(Path(folder), config, "train", verify=True)) == rows
        assert read_counts(Path(folder), config) == {"train": len(rows)}


def test_rows_are_cut_into_shards_that_say_how_many_there_are(tmp_path: Path) -> None:
    write(tmp_path, rows_per_shard=2)
    assert names(tmp_path) == [
        "README.md",
        "manifest.json",
        "orm/train-00000-of-00003.jsonl",
        "orm/train-00001-of-00003.jsonl",
        "orm/train-00002-of-00003.jsonl",
    ]
    last = tmp_path / "orm" / "train-00002-of-00003.jsonl"
    assert last.read_bytes() == b'{"prompt":"What is 4 + 1?","completion":"5","label":true}\n'
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    entry = manifest.configs["orm"].splits["train"][2]
    assert (entry.path, entry.rows, entry.bytes, entry.sha256) == (
        "orm/train-00002-of-00003.jsonl",
        1,
        last.stat().st_size,
        hashlib.sha256(last.read_bytes()).hexdigest(),
    )


def test_two_configs_share_a_folder_and_its_manifest(tmp_path: Path) -> None:
    write(tmp_path)
    with SetWriter(tmp_path, "preference") as writer:
        writer.write("test", {"prompt": "p", "chosen": "c", "rejected": "r"})
        writer.write_aside("ties", TIES, {"prompt": "p", "a": "a", "b": "b", "choice": "equal"})
        finish(writer)
    assert names(tmp_path) == [
        "README.md",
        "manifest.json",
        "orm/train-00000-of-00001.jsonl",
        "preference/test-00000-of-00001.jsonl",
        "preference/ties-00000-of-00001.jsonl",
    ]
    assert list(read_rows(tmp_path, "orm", "train")) == ROWS
    assert list(read_rows(tmp_path, "preference", "test")) == [{"prompt": "p", "chosen": "c", "rejected": "r"}]
    assert list(read_rows(tmp_path, "preference", "train")) == []
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "path: orm/train-*" in card
    assert "path: preference/test-*" in card
    assert "ties-" not in card


def test_a_set_is_replaced_only_on_request(tmp_path: Path) -> None:
    write(tmp_path, rows_per_shard=2)
    with pytest.raises(SettingsError, match="already holds a orm set; pass --overwrite"):
        SetWriter(tmp_path, "orm")
    write(tmp_path, ROWS[:1], file_format="parquet", overwrite=True)
    assert names(tmp_path) == ["README.md", "manifest.json", "orm/train-00000-of-00001.parquet"]
    assert list(read_rows(tmp_path, "orm", "train")) == ROWS[:1]


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_an_export_that_fails_leaves_the_folder_as_it_was(tmp_path: Path, file_format: FileFormat) -> None:
    def fail(folder: Path) -> None:
        with SetWriter(folder, "orm", file_format=file_format, overwrite=True) as writer:
            writer.write("train", ROWS[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    write(tmp_path / "old")
    before = {name: (tmp_path / "old" / name).read_bytes() for name in names(tmp_path / "old")}
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "old")
    assert {name: (tmp_path / "old" / name).read_bytes() for name in names(tmp_path / "old")} == before


def test_what_a_crashed_export_left_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "orm").mkdir()
    (tmp_path / "orm" / "train-00000.partial").write_bytes(b'{"prompt')
    (tmp_path / "orm" / "train-00000-of-00002.jsonl").write_bytes(b"{}\n")
    with pytest.raises(InputError, match=r"holds no manifest\.json: it is no exported set, or its export was"):
        list(read_rows(tmp_path, "orm", "train"))
    write(tmp_path)
    assert names(tmp_path) == ["README.md", "manifest.json", "orm/train-00000-of-00001.jsonl"]


def test_files_that_are_not_ours_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("My thesis.")
    with pytest.raises(SettingsError, match=r"README\.md was not written by stepmark and would be replaced"):
        SetWriter(tmp_path, "orm")
    (tmp_path / "README.md").write_text(MARK)
    (tmp_path / "orm").mkdir()
    (tmp_path / "orm" / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"holds files that are not ours: notes\.txt"):
        SetWriter(tmp_path, "orm")
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="is a file; give a folder as --out"):
        SetWriter(tmp_path / "file", "orm")
    (tmp_path / "manifest.json").write_text('{"name": "an extension"}')
    with pytest.raises(InputError, match="is no manifest of an exported set"):
        SetWriter(tmp_path, "prm")


def test_a_changed_or_missing_file_is_noticed_by_the_reader(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "orm" / "train-00000-of-00001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"true", b"null"))
    with pytest.raises(InputError, match="is not as it was exported"):
        list(read_rows(tmp_path, "orm", "train", verify=True))
    path.write_bytes(b'{"prompt": 1}\nno json\n')
    with pytest.raises(InputError, match="line 2: invalid literal"):
        list(read_rows(tmp_path, "orm", "train"))
    path.unlink()
    with pytest.raises(InputError, match="is missing; export the set again"):
        list(read_rows(tmp_path, "orm", "train"))
    with pytest.raises(InputError, match="holds no 'prm'; it has orm"):
        list(read_rows(tmp_path, "prm", "train"))
    with pytest.raises(InputError, match="holds no complete 'prm'"):
        read_counts(tmp_path, "prm")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_is_a_job_that_failed(tmp_path: Path) -> None:
    from exports.formats.files import JsonlShard

    link = tmp_path / "train-00000.partial"
    link.symlink_to("/dev/full")
    large = JsonlShard(link, CONFIGS["orm"])

    def write_much() -> None:
        for _ in range(1_000):  # what is written is said to be so a little later
            large.write([ROWS[0] | {"completion": "a" * 5_000}] * 100)

    with pytest.raises(LimitReached, match="is full; the export is not complete"):
        write_much()
    with suppress(LimitReached):
        large.close()
    small = JsonlShard(link, CONFIGS["orm"])
    small.write([ROWS[0]])
    with pytest.raises(LimitReached, match="is full; the export is not complete"):
        small.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("n_rows", [10, 50_000])  # noticed at the end, or before
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_a_full_disk_leaves_the_folder_as_it_was(tmp_path: Path, file_format: FileFormat, n_rows: int) -> None:
    def write_on_a_full_disk() -> None:
        with SetWriter(tmp_path / "set", "orm", file_format=file_format) as writer:
            (tmp_path / "set" / "orm" / "train-00000.partial").symlink_to("/dev/full")
            for _ in range(n_rows):
                writer.write("train", ROWS[0] | {"completion": "a" * 500})
            finish(writer)

    with pytest.raises(LimitReached, match="is full; the export is not complete"):
        write_on_a_full_disk()
    assert not (tmp_path / "set").exists()


def test_one_folder_holds_one_kind_of_file_since_the_datasets_library_reads_no_more(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(SettingsError, match="holds orm as jsonl, and load_dataset reads one kind of file"):
        SetWriter(tmp_path, "prm", file_format="parquet")


def test_splits_have_plain_names(tmp_path: Path) -> None:
    with SetWriter(tmp_path, "orm") as writer, pytest.raises(SettingsError, match=r"'\.\./x' is no name for a split"):
        writer.write("../x", ROWS[0])


def test_lines_hold_every_character_as_itself_on_one_line() -> None:
    line = json_line({"prompt": 'a\u2028b\nc\x85"\\é😀'})
    assert line.decode() == '{"prompt":"a\u2028b\\nc\x85\\"\\\\é😀"}\n'
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"prompt": 'a\u2028b\nc\x85"\\é😀'}


def test_the_card_is_one_that_the_hub_takes_and_says_what_the_set_holds(tmp_path: Path) -> None:
    write(tmp_path)
    with SetWriter(tmp_path, "preference") as writer:
        writer.write("train", {"prompt": "p", "chosen": "long `````` text", "rejected": "r"})
        writer.finish(
            version="0.1.0",
            format="trl",
            query={},
            counts=COUNTS,
            licences={"MIT AND my own": 1},
            sources={"gsm8k/train": 1, "run/3": 1, "notes": 1},
            guidelines=["rules v2"],
            agreement={"alpha": 0.8125},
        )
    size = (tmp_path / "preference" / "train-00000-of-00001.jsonl").stat().st_size
    card = DatasetCard.load(tmp_path / "README.md")
    found = card.data.to_dict()
    assert {key: value for key, value in found.items() if key not in ("configs", "dataset_info")} == {
        "license": ["mit", "other"],
        "language": ["en"],
        "pretty_name": "Training sets for reward models",
        "task_categories": ["text-classification"],
        "tags": ["reward-model", "reasoning", "stepmark", "orm", "preference"],
        "size_categories": ["n<1K"],
        "source_datasets": ["extended|other-notes", "openai/gsm8k", "original"],
    }
    assert [config["config_name"] for config in found["configs"]] == ["orm", "preference"]
    assert found["dataset_info"][1]["splits"] == [{"name": "train", "num_bytes": size, "num_examples": 1}]
    text = card.text
    assert "| label | true | 3 | 60.0% |" in text
    assert "| longer text | chosen | 1 | 100.0% |" in text
    assert "16     5 ####" in text
    assert "```````json" in text, "the fence is longer than any within"
    assert "Labelled under the rules: rules v2." in text
    assert "Agreement of the labellers: alpha 0.812." in text


def test_what_people_wrote_in_the_cards_head_outlives_the_next_export(tmp_path: Path) -> None:
    write(tmp_path)
    readme = tmp_path / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(
        text.replace('language:\n- "en"', "language: de").replace(
            '"Training sets for reward models"', "Bruchrechnen"
        ),
        encoding="utf-8",
    )
    write(tmp_path, overwrite=True)
    data = DatasetCard.load(readme).data
    assert (data.language, data.pretty_name) == (["de"], "Bruchrechnen")


def test_long_examples_are_cut_and_columns_of_many_values_are_no_labels(tmp_path: Path) -> None:
    with SetWriter(tmp_path, "best_of_n") as writer:
        writer.write("test", {"prompt": "a" * 1000, "answers": ["b"] * 30, "labels": list(range(30))})
        finish(writer)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    entry = manifest.configs["best_of_n"]
    assert entry.example == {"prompt": "a" * 400 + "…", "answers": ["b"] * 8, "labels": list(range(8))}
    assert (entry.labels, entry.lengths) == ({}, {"2048": 1})


def test_labels_that_nobody_gave_are_counted_as_null(tmp_path: Path) -> None:
    columns = (*CONFIGS["prm"][:2], Column("labels", "bools", "hard"), Column("soft", "floats", "soft"))
    with SetWriter(tmp_path, "prm", columns=columns) as writer:
        labels = {"labels": [True, None, False], "soft": [0.25, None, 0.75]}
        writer.write("train", {"prompt": "p", "completions": ["a", "b", "c"], **labels})
        finish(writer)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest.configs["prm"].labels == {
        "labels": {"null": 1, "false": 1, "true": 1},
        "soft": {"null": 1, "0.2": 1, "0.8": 1},
    }


def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "manifest.json"
    content = path.read_text(encoding="utf-8")
    for evil in ("../../x", "/etc/x", "orm/../../x", "x", ".git/config", "orm\\\\..\\\\x"):
        path.write_text(content.replace("orm/train-00000-of-00001.jsonl", evil), encoding="utf-8")
        with pytest.raises(InputError, match="is no path of a set's file"):
            read_manifest(tmp_path)


def test_sizes_are_the_hubs_words() -> None:
    found = [size_category(n) for n in (0, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)]
    assert found == ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "n>10M"]
