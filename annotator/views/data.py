"""Data in and out from the browser: the same imports and exports as on the command line, with the same counts."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from annotator.workplace import Workplace, current_as
from db.counts import table_counts
from db.runs import sampled_runs
from exports.formats.files import FileFormat
from exports.queries.critique_rows import CritiqueOptions, cloud_set, critique_preference_set, critique_set
from exports.queries.exporting import ExportReport, Target, export_set
from exports.queries.importing import ImportReport, default_options, import_file
from exports.queries.orm_rows import best_of_n_set, orm_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection, TrainingSet
from exports.queries.sources import FORMATS, HubSet
from exports.queries.sources.hub import PREFIX
from exports.queries.task_rows import rl_set, sft_set
from stepmark.errors import StepmarkError
from stepmark.progress import Progress
from stepmark.splits import read_shares

from .reading_page import counted, mistakes_said, plain, set_measure

_SETS = {
    "prm": "Step labels, for a process reward model",
    "orm": "Outcomes, for an outcome reward model",
    "preference": "Pairs, for a preference model",
    "best_of_n": "Best-of-N test file",
    "critique": "Critiques whose verdict is right, to learn from",
    "critique_preference": "Pairs of critiques, a right verdict over a wrong one",
    "cloud": "Pairs by outcomes with critiques of both, for CLoud",
    "sft": "Right solutions, for fine-tuning",
    "rl": "Tasks with a verifier: solve, judge",
}
_FILE_FORMATS: tuple[FileFormat, ...] = ("jsonl", "parquet")


def show() -> None:
    """Draws the page."""
    set_measure()
    workplace = current_as("admin")
    st.title("Data")
    part = st.segmented_control(
        "Part", ("Import", "Export", "Contents"), default="Import", label_visibility="collapsed", key="data_part"
    )
    {"Export": _export, "Contents": _contents}.get(part or "Import", _import)(workplace)


def _import(workplace: Workplace) -> None:
    st.write(
        "Files of JSON lines, one JSON array, CSV or Parquet, which may be gzipped, or a set on the Hub. Importing "
        "one again changes nothing."
    )
    with st.form("import"):
        name = st.selectbox("Format", list(FORMATS))
        uploads = st.file_uploader(
            "Files", accept_multiple_files=True, type=["jsonl", "json", "ndjson", "csv", "tsv", "parquet", "gz"]
        )
        path = st.text_input(
            "Or the path of a file on the server, or a set on the Hub",
            placeholder="/data/gsm8k/test.jsonl, or hub:openai/gsm8k:main/test",
            help="hub:OWNER/NAME[@REVISION][:CONFIG[/SPLIT]]",
        )
        left, right = st.columns(2)
        source = left.text_input("Source", placeholder="the format's own name")
        licence = right.text_input("Licence", placeholder="that of the published set")
        skip_bad = left.toggle("Leave out rows that cannot be read")
        trust = right.toggle("Take the source's word for right and wrong")
        is_dry_run = left.toggle("Dry run: report, store nothing", value=False)
        if not st.form_submit_button("Import", type="primary"):
            return
    given = {"source": source.strip() or None, "licence": licence.strip() or None, "trust_outcomes": trust}
    if not uploads and not path.strip():
        st.error("Choose a file, or give the path of one.")
        return
    with tempfile.TemporaryDirectory() as folder:
        files: list[Path | HubSet] = [_kept(Path(folder), upload) for upload in uploads or []]
        if path.strip():
            with mistakes_said():
                files.append(_location(path.strip()))
        for file in files:
            _import_one(workplace, name, file, given, skip_bad=skip_bad, is_dry_run=is_dry_run)


def _location(text: str) -> Path | HubSet:
    return HubSet.parse(text) if text.startswith(PREFIX) else Path(text)


def _kept(folder: Path, upload: Any) -> Path:
    file = folder / Path(upload.name).name
    with file.open("wb") as out:
        while block := upload.read(1 << 20):
            out.write(block)
    return file


def _import_one(
    workplace: Workplace, name: str, file: Path | HubSet, given: dict[str, Any], *, skip_bad: bool, is_dry_run: bool
) -> None:
    title = str(file) if isinstance(file, HubSet) else file.name
    bar = st.progress(0.0, text=plain(f"Reading {title}"))
    try:
        report = import_file(
            workplace.engine,
            FORMATS[name],
            file,
            options=default_options(FORMATS[name], file, **given),
            skip_bad=skip_bad,
            is_dry_run=is_dry_run,
            progress=_shown(bar, f"Reading {title}"),
        )
    except StepmarkError as err:
        bar.empty()
        st.error(plain(str(err).replace(str(file), title)))
        return
    bar.empty()
    _draw_import(report, title, is_dry_run=is_dry_run)


def _draw_import(report: ImportReport, name: str, *, is_dry_run: bool) -> None:
    line = counted(name, report.n_read, report.n_kept, report.dropped)
    st.success(plain(f"{line}; {report.n_already_there:,} were already there"))
    stored = [{"what": what.replace("_", " "), "rows": count} for what, count in report.stored.items() if count]
    if stored:
        st.caption("Would be stored" if is_dry_run else "Stored")
        st.dataframe(stored, hide_index=True)
    _draw_reasons("Rows left out", report.dropped)
    _draw_reasons("Parts of rows that no table takes, kept beside them", report.left_out)
    for message in report.first_bad:
        st.caption(plain(f"Left out: {message}"))


def _draw_reasons(title: str, counts: Mapping[str, int]) -> None:
    """A table of what was left out, by reason; nothing where nothing was."""
    if rows := [{"reason": reason.replace("_", " "), "count": n} for reason, n in sorted(counts.items()) if n]:
        st.caption(title)
        st.dataframe(rows, hide_index=True)


def _export(workplace: Workplace) -> None:
    st.write("A training set is a folder with files, a manifest and a card, on the server; several may share one.")
    runs = {
        run.run_id: f"run {run.run_id}: {run.model}, {run.n_samples:,} samples, {run.created_at:%Y-%m-%d}"
        for run in sampled_runs(workplace.engine)
    }
    with st.form("export"):
        config = st.selectbox("Set", list(_SETS), format_func=lambda one: f"{one}: {_SETS[one]}")
        folder = st.text_input("Folder on the server", placeholder="sets/first")
        left, right = st.columns(2)
        source = left.text_input("Sources, with commas", placeholder="all")
        run_id = right.selectbox(
            "Run",
            [None, *runs],
            format_func=lambda one: "all, and what was imported" if one is None else runs[one],
            help="Only the solutions that one run sampled.",
        )
        file_format: FileFormat = left.selectbox("Files", _FILE_FORMATS)
        split = right.text_input("Split by problem family", value="train=0.9,validation=0.05,test=0.05")
        labellers = left.selectbox(
            "Labels of several labellers",
            ("each", "majority"),
            format_func={"each": "a row for each", "majority": "one row by their majority"}.__getitem__,
        )
        people_only = right.toggle("Labels by people only", value=False)
        overwrite = right.toggle("Replace this set if the folder holds it")
        if not st.form_submit_button("Export", type="primary"):
            return
    if not folder.strip():
        st.error("Give the folder that the set goes to.")
        return
    kinds = ("person",) if people_only else ()
    selection = Selection(sources=tuple(one.strip() for one in source.split(",") if one.strip()), run_id=run_id)
    bar = st.progress(0.0, text="Writing")
    try:
        target = Target(
            folder=Path(folder.strip()),
            file_format=file_format,
            shares=read_shares(split),
            overwrite=overwrite,
        )
        report = _write(workplace, config, target, selection, labellers, kinds, _shown(bar, "Writing"))
    except StepmarkError as err:
        bar.empty()
        st.error(plain(str(err)))
        return
    bar.empty()
    _draw_export(report)


def _write(
    workplace: Workplace,
    config: str,
    target: Target,
    selection: Selection,
    labellers: Any,
    kinds: tuple[str, ...],
    progress: Progress,
) -> ExportReport:
    return export_set(workplace.engine, target, _wanted(config, selection, labellers, kinds), progress=progress)


def _wanted(config: str, selection: Selection, labellers: Any, kinds: tuple[str, ...]) -> TrainingSet:
    """The set; people's judgements alone make critiques stand where labels by people are asked for."""
    options = PrmOptions(labellers=labellers, annotator_kinds=kinds)
    choices = PreferenceOptions(labellers=labellers, annotator_kinds=kinds)
    critiques = CritiqueOptions(confirmed_by="people", annotator_kinds=kinds) if kinds else CritiqueOptions()
    made: dict[str, Callable[[], TrainingSet]] = {
        "prm": lambda: prm_set(selection, options),
        "orm": lambda: orm_set(selection),
        "preference": lambda: preference_set(selection, choices),
        "best_of_n": lambda: best_of_n_set(selection),
        "critique": lambda: critique_set(selection, critiques),
        "critique_preference": lambda: critique_preference_set(selection, critiques),
        "cloud": lambda: cloud_set(
            selection, preference_set(selection, PreferenceOptions(origin="outcomes")), critiques
        ),
        "sft": lambda: sft_set(selection),
        "rl": lambda: rl_set(selection),
    }
    return made[config]()


def _draw_export(report: ExportReport) -> None:
    line = counted(f"{report.config} in {report.folder}", report.n_read, report.n_kept, report.dropped)
    st.success(plain(line))
    rows = [{"": name, "rows": count} for name, count in {**report.splits, **report.more}.items()]
    st.dataframe(rows, hide_index=True)
    _draw_reasons("Left out", report.dropped)
    st.caption(f"Manifest {report.manifest_sha256}")


def _contents(workplace: Workplace) -> None:
    counts = table_counts(workplace.engine)
    shown = ("problems", "solutions", "annotations", "step_labels", "preferences", "critiques", "tasks", "runs")
    for start in (0, 4):
        for column, name in zip(st.columns(4), shown[start : start + 4], strict=True):
            column.metric(name.replace("_", " ").capitalize(), f"{counts.get(name, 0):,}", border=True)
    with st.expander("All tables"):
        st.dataframe([{"table": name, "rows": count} for name, count in counts.items()], hide_index=True)


def _shown(bar: Any, title: str) -> Progress:
    def show(done: int, total: int | None, note: str = "") -> None:
        share = min(1.0, done / total) if total else 0.0
        bar.progress(share, text=plain(f"{title}: {share:.0%}" if total else f"{title}: {done:,} {note}"))

    return show
