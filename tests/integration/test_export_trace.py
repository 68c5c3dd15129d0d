"""Where each row came from: trace files beside a set, `export explain`, and the same bytes from a copied database."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.connect import open_database, reading, writing
from db.models import ProblemSource, Secret
from db.schema import Base
from db.secrets import get_secret, pseudonyms
from exports.formats import read_rows
from exports.formats.manifest import read_manifest
from exports.formats.sets import read_trace
from exports.queries.explaining import explain, find_places
from exports.queries.exporting import Target, export_set
from exports.queries.orm_rows import best_of_n_set, orm_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection
from stepmark.errors import InputError
from tests.integration.test_export_golden import small

__all__ = ["small"]

ALL = {"train": 1.0}


def traced(engine: sa.Engine, folder: Path, wanted: Any, **target: Any) -> list[dict[str, Any]]:
    export_set(engine, Target(folder, shares=ALL, overwrite=True, **target), wanted)
    return list(read_trace(folder, wanted.config, "train"))


def test_a_trace_says_row_by_row_what_a_set_was_made_of(small: sa.Engine, tmp_path: Path) -> None:
    with writing(small) as session:
        session.add(ProblemSource(problem_id=1, source="s", source_key="1", licence="MIT"))
    found = traced(small, tmp_path, prm_set(Selection(), PrmOptions()), trace="names")
    one = {"problem_ids": [1], "solution_ids": [1], "annotation_ids": [1], "annotators": ["annotator-1"]}
    rest = {"critique_ids": [], "run_ids": [], "sources": ["small"], "licence": "CC0-1.0 AND MIT"}
    assert found[0] == one | rest | {"rule": "labels of one"}
    assert [row["annotation_ids"] for row in found] == [[1], [10], [2], [4], [5], [6], [7]]
    together = traced(small, tmp_path, prm_set(Selection(), PrmOptions(labellers="share")))
    assert [(row["rule"], row["annotation_ids"]) for row in together][2] == ("share of 3", [4, 5, 6])
    pairs = traced(small, tmp_path, preference_set(Selection(), PreferenceOptions()), file_format="jsonl")
    assert [(row["solution_ids"], row["annotation_ids"]) for row in pairs] == [([1, 2], [11]), ([5, 4], [13])]
    assert traced(small, tmp_path, best_of_n_set(Selection()))[0]["solution_ids"] == [1, 2, 3]
    assert [row["rule"] for row in traced(small, tmp_path, orm_set(Selection()))] == ["source"] * 3
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    for entry in manifest.configs.values():
        assert [file.rows for file in entry.trace["train"]] == [file.rows for file in entry.splits["train"]]
    assert traced(small, tmp_path, orm_set(Selection()), trace="none") == []
    assert not list((tmp_path / "trace" / "orm").iterdir())


def test_annotators_have_pseudonyms_that_stay_and_that_only_the_database_can_tell(
    small: sa.Engine, tmp_path: Path
) -> None:
    first = traced(small, tmp_path, prm_set(Selection(), PrmOptions()))
    names = [row["annotators"] for row in first]
    assert all(re.fullmatch("annotator-[0-9a-f]{12}", name) for (name,) in names)
    assert len({name for (name,) in names}) == 3
    assert names == [row["annotators"] for row in traced(small, tmp_path, prm_set(Selection(), PrmOptions()))]
    assert names[0] == [pseudonyms(small)(1)]
    salt = get_secret(small, "pseudonyms")
    with writing(small) as session:
        session.execute(sa.update(Secret).values(value="another"))
    assert (len(salt), pseudonyms(small)(1) != names[0][0]) == (64, True)


def test_a_row_is_explained_from_its_place_or_from_a_text_in_it(small: sa.Engine, tmp_path: Path) -> None:
    with writing(small) as session:
        session.add(ProblemSource(problem_id=2, source="s", source_key="7", licence="MIT"))
    traced(small, tmp_path, prm_set(Selection(), PrmOptions(labellers="majority")))
    (place,) = find_places(tmp_path, "prm/train/2")
    found = explain(small, tmp_path, place, with_names=True)
    assert (found.rule, found.licence, found.problems[0].sources) == (
        "majority of 3",
        "CC0-1.0 AND MIT",
        (("s", "7", "MIT"),),
    )
    assert [(said.annotator, said.labels) for said in found.annotations] == [
        ("annotator-1", {0: 1, 1: 0, 2: 1}),
        ("annotator-2", {0: 1, 1: 1, 2: 1}),
        ("checker", {0: 1, 1: -1, 2: 1}),
    ]
    assert found.flags["labellers"] == "majority"
    assert find_places(tmp_path, "3 × 4 = 12") == [place]
    for wanted, message in (
        ("prm/train/4", "prm/train has 4 rows, counted from 0: none is 4"),
        ("orm/train/0", "holds no complete 'orm'"),
        ("no such text", "no row of .* holds the text 'no such text'"),
    ):
        with pytest.raises(InputError, match=message):
            find_places(tmp_path, wanted)
    traced(small, tmp_path, prm_set(Selection(), PrmOptions()), trace="none")
    with pytest.raises(InputError, match="was exported without a trace of prm"):
        explain(small, tmp_path, place)


def test_the_command_explains_and_says_nothing_of_names_unless_asked(small: sa.Engine, tmp_path: Path) -> None:
    traced(small, tmp_path, prm_set(Selection(), PrmOptions()))

    def explained(*more: str) -> str:
        url = small.url.render_as_string(hide_password=False)
        asked = ["export", "explain", str(tmp_path), "prm/train/4", "--db", url, *more]
        root = str(Path(__file__).parents[2])
        return subprocess.run(
            [sys.executable, "-m", "stepmark", *asked],
            env=os.environ | {"PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    printed = explained()
    assert "prm/train/4: labels of one; licence CC0-1.0" in printed
    assert "solution 4: small 4, by nobody named, licence CC0-1.0, outcome right (source)" in printed
    assert re.search(
        r"annotation 5: annotator-[0-9a-f]{12} \(person\), .* guideline none: 1:\+1 2:\+1 3:\+1", printed
    )
    (found,) = json.loads(explained("--annotator-names", "--json"))
    assert (found["annotations"][0]["annotator"], found["place"]["index"]) == ("annotator-2", 4)


def test_a_copy_in_the_other_database_system_gives_the_same_bytes(small: sa.Engine, tmp_path: Path) -> None:

    def everything(engine: sa.Engine, folder: Path) -> dict[str, bytes]:
        for wanted in (
            prm_set(Selection(), PrmOptions(labellers="dawid-skene", target="soft")),
            orm_set(Selection()),
            preference_set(Selection(), PreferenceOptions()),
            best_of_n_set(Selection()),
        ):
            export_set(engine, Target(folder, file_format="parquet"), wanted)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    one = everything(small, tmp_path / "one")
    copy = open_database(f"sqlite:///{tmp_path / 'copy.db'}", create=True)
    with reading(small) as there, writing(copy) as here:
        here.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
        for table in Base.metadata.sorted_tables:
            here.execute(sa.delete(table))
            rows = [dict(row) for row in there.execute(sa.select(table)).mappings()]
            if rows:
                here.execute(sa.insert(table), rows)
    two = everything(copy, tmp_path / "two")
    copy.dispose()
    assert {name for name, content in one.items() if two.get(name) != content} == set()
    assert any(name.startswith("trace/prm/") for name in one)
    assert len(list(read_rows(tmp_path / "two", "prm", "train"))) > 0
    assert os.listdir(tmp_path / "one") == os.listdir(tmp_path / "two")
