"""What was imported goes out as it came, and what is exported can be imported again."""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.connect import writing
from db.models import StepLabel
from exports.formats.layouts import layout_of
from exports.formats.manifest import read_manifest
from exports.hub.folders import names_of_annotators
from exports.queries.exporting import ExportReport, Target, export_set
from exports.queries.importing import default_options, import_file
from exports.queries.labels import LabelFilter
from exports.queries.prm800k_rows import prm800k_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection, TrainingSet
from exports.queries.sources import FORMATS
from stepmark.steps import bare_step

ROOT = Path(__file__).parents[2]
PROCESSBENCH = ROOT / "examples" / "data" / "processbench" / "gsm8k.json"
IMPORTS = ROOT / "tests" / "data" / "imports"


def brought(engine: sa.Engine, name: str, path: Path) -> None:
    import_file(engine, FORMATS[name], path, options=default_options(FORMATS[name], path, trust_outcomes=True))


def exported(engine: sa.Engine, folder: Path, wanted: TrainingSet, layout: str) -> tuple[ExportReport, list[Any]]:
    target = Target(folder, shares={"train": 1.0}, overwrite=True)
    report = export_set(engine, target, wanted, layout=layout_of(wanted.config, layout))
    lines = (folder / wanted.config / "train-00000-of-00001.jsonl").read_text(encoding="utf-8").splitlines()
    return report, [json.loads(line) for line in lines]


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_processbench_comes_back_key_for_key(database: sa.Engine, tmp_path: Path) -> None:
    brought(database, "processbench", PROCESSBENCH)
    report, rows = exported(database, tmp_path, prm_set(Selection(keep_duplicates=True)), "processbench")
    source = json.loads(PROCESSBENCH.read_text(encoding="utf-8"))
    assert sorted(rows, key=lambda row: row["id"]) == sorted(source, key=lambda row: row["id"])
    assert (report.n_read, report.dropped) == (len(source), {})


def test_prm800k_comes_back_key_for_key_in_the_order_of_its_keys(database: sa.Engine, tmp_path: Path) -> None:
    path = IMPORTS / "prm800k_sample" / "examples.jsonl"
    brought(database, "prm800k", path)
    _, rows = exported(
        database, tmp_path, prm800k_set(Selection(sources=("prm800k*",)), annotator_names=True), "prm800k"
    )
    by_problem = {row["question"]["problem"]: row for row in lines_of(path)}
    assert {row["question"]["problem"]: json.dumps(row) for row in rows} == {
        problem: json.dumps(row) for problem, row in by_problem.items()
    }


def test_labellers_of_prm800k_have_the_pseudonyms_of_the_traces_and_tests_of_them_can_stay_out(
    database: sa.Engine, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = lines_of(IMPORTS / "prm800k_sample" / "examples.jsonl")
    rows[0]["is_quality_control_question"] = rows[1]["is_initial_screening_question"] = True
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    brought(database, "prm800k", path)

    out = tmp_path / "out"
    report, found = exported(database, out, prm800k_set(Selection()), "prm800k")
    trace = [json.loads(line) for line in next((out / "trace" / "prm").iterdir()).read_text().splitlines()]
    assert [[row["labeler"]] for row in found] == [row["annotators"] for row in trace]
    written = "".join(file.read_text() for file in out.rglob("*") if file.is_file())
    assert not [row["labeler"] for row in rows if row["labeler"] in written]
    manifest = read_manifest(out)
    assert manifest is not None
    assert names_of_annotators(manifest) == []
    assert report.dropped == {}

    for number, (reason, labels) in enumerate(
        (
            ("quality_control_question", LabelFilter(without_quality_control=True)),
            ("initial_screening_question", LabelFilter(without_screening=True)),
        )
    ):
        report, kept = exported(database, out, prm800k_set(Selection(), labels, annotator_names=True), "prm800k")
        assert report.dropped == {reason: 1}
        assert rows[number]["question"]["problem"] not in [row["question"]["problem"] for row in kept]
    manifest = read_manifest(out)
    assert manifest is not None
    assert names_of_annotators(manifest) == ["column labeler of prm"]
    options = PrmOptions(without_quality_control=True, without_screening=True)
    report, _ = exported(database, out, prm_set(Selection(), options), "trl")
    assert {"quality_control_question", "initial_screening_question"} <= set(report.dropped)


def test_a_rating_that_was_mended_here_goes_out_mended(database: sa.Engine, tmp_path: Path) -> None:
    path = IMPORTS / "prm800k_sample" / "examples.jsonl"
    brought(database, "prm800k", path)
    with writing(database) as session:
        label = session.scalars(sa.select(StepLabel).order_by(StepLabel.annotation_id, StepLabel.step_index)).first()
        assert label is not None
        mended, label.label = -label.label or 1, -label.label or 1
    _, rows = exported(database, tmp_path, prm800k_set(Selection()), "prm800k")
    first = rows[0]["label"]["steps"][0]
    assert first["completions"][first["chosen_completion"] or 0]["rating"] == mended


def test_prmbench_names_the_same_wrong_steps(database: sa.Engine, tmp_path: Path) -> None:
    path = IMPORTS / "prmbench" / "target_data.jsonl"
    brought(database, "prmbench", path)
    _, rows = exported(database, tmp_path, prm_set(Selection(), PrmOptions(after_first_error="all")), "prmbench")
    source = {(row["idx"], row["classification"]): row for row in lines_of(path)}
    assert len(rows) == len(source)
    for row in rows:
        came = source[row["idx"], row["classification"]]
        assert row["modified_process"] == [bare_step(step) for step in came["modified_process"]]
        assert row["error_steps"] == [n for n in came["error_steps"] if n <= len(came["modified_process"])]


def test_marked_texts_are_read_back_by_our_own_importers(database: sa.Engine, tmp_path: Path) -> None:
    brought(database, "processbench", PROCESSBENCH)
    wanted = prm_set(Selection(), PrmOptions(answer_segment=False))
    _, direct = exported(database, tmp_path / "first", wanted, "trl")
    for layout, importer in (("openrlhf", "openrlhf-prm"), ("rlhflow", "rlhflow-prm"), ("trl", "stepwise")):
        exported(database, tmp_path / layout, wanted, layout)
        path = tmp_path / layout / "prm" / "train-00000-of-00001.jsonl"
        source = f"again/{layout}"
        options = default_options(FORMATS[importer], path, source=source)
        assert import_file(database, FORMATS[importer], path, options=options).dropped == {}
        again = prm_set(Selection(sources=(source,)), PrmOptions(answer_segment=False))
        _, rows = exported(database, tmp_path / "again", again, "trl")
        assert sorted(map(json.dumps, rows)) == sorted(map(json.dumps, direct)), layout
