"""`stepmark export`: training sets out of the database."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import Db, Json, database_url
from .output import fields_of, print_counts, print_json
from .progress import progress_bar

if TYPE_CHECKING:
    from exports.queries.exporting import ExportReport, Target
    from exports.queries.selection import Selection

app = typer.Typer(help="Write training sets that the trainers read.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Folder of the sets; several configs may share one.")]
Format = Annotated[Literal["trl"], typer.Option(help="Layout of the rows.")]
FileFormat = Annotated[Literal["jsonl", "parquet"], typer.Option(help="Kind of the files.")]
Source = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Only solutions of sources named so; * is any text. May be repeated."),
]
Run = Annotated[int | None, typer.Option(metavar="ID", help="Only solutions sampled by this run.")]
Split = Annotated[str, typer.Option(metavar="NAME=SHARE,...", help="Share of the problem families for each split.")]
SplitSeed = Annotated[int, typer.Option(help="Another seed splits the families otherwise.")]
MaxPerProblem = Annotated[int | None, typer.Option(min=1, help="Rows of one problem at most.")]
KeepDuplicates = Annotated[bool, typer.Option("--keep-duplicates", help="Keep rows of equal texts.")]
RowsPerShard = Annotated[int, typer.Option(min=1, help="Rows of one file at most.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace this config if the folder holds it.")]
Text = Annotated[
    Literal["steps", "written"],
    typer.Option(help="Whole solutions as rendered steps and answer, or as they were written."),
]


class AnnotatorKind(StrEnum):
    """Whose labels."""

    PERSON = "person"
    PROGRAM = "program"
    MODEL = "model"


AnnotatorNames = Annotated[
    list[str] | None, typer.Option("--annotator", metavar="NAME", help="Only labels by this one. May be repeated.")
]
AnnotatorKinds = Annotated[
    list[AnnotatorKind] | None,
    typer.Option("--annotator-kind", help="Only labels by this kind. May be repeated."),
]

_SPLIT = "train=0.9,validation=0.05,test=0.05"


@app.command()
def prm(
    out: Out,
    format: Format = "trl",
    file_format: FileFormat = "jsonl",
    source: Source = None,
    run: Run = None,
    split: Split = _SPLIT,
    split_seed: SplitSeed = 0,
    neutral: Annotated[
        Literal["positive", "negative", "drop"],
        typer.Option(help="What a step labelled 0 becomes; drop ends the row before it."),
    ] = "positive",
    after_first_error: Annotated[
        Literal["stop", "all"], typer.Option(help="End a row at its first wrong step, or keep all that was labelled.")
    ] = "stop",
    annotator: AnnotatorNames = None,
    annotator_kind: AnnotatorKinds = None,
    labellers: Annotated[
        Literal["each", "majority"], typer.Option(help="A row for each labeller, or one by their majority.")
    ] = "each",
    answer_segment: Annotated[
        bool, typer.Option(help="End solutions without a wrong step in their answer, labelled with the outcome.")
    ] = True,
    max_per_problem: MaxPerProblem = None,
    keep_duplicates: KeepDuplicates = False,
    rows_per_shard: RowsPerShard = 100_000,
    overwrite: Overwrite = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Step labels for a process reward model: prompt, completions, labels."""
    from db.connect import open_database
    from exports.queries.exporting import export_prm
    from exports.queries.prm_rows import PrmOptions

    options = PrmOptions(
        neutral=neutral,
        after_first_error=after_first_error,
        annotators=tuple(annotator or ()),
        annotator_kinds=tuple(map(str, annotator_kind or ())),
        labellers=labellers,
        answer_segment=answer_segment,
    )
    target = _target(out, file_format, split, split_seed, rows_per_shard, overwrite=overwrite)
    selection = _selection(source, run, max_per_problem, keep_duplicates=keep_duplicates)
    engine = open_database(database_url(db))
    with progress_bar("export prm") as show:
        report = export_prm(engine, target, selection, options, progress=show)
    _print(report, json=json)


@app.command()
def orm(
    out: Out,
    format: Format = "trl",
    file_format: FileFormat = "jsonl",
    source: Source = None,
    run: Run = None,
    split: Split = _SPLIT,
    split_seed: SplitSeed = 0,
    text: Text = "steps",
    max_per_problem: MaxPerProblem = None,
    keep_duplicates: KeepDuplicates = False,
    rows_per_shard: RowsPerShard = 100_000,
    overwrite: Overwrite = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Outcomes for an outcome reward model: prompt, completion, label."""
    from db.connect import open_database
    from exports.queries.exporting import export_orm

    target = _target(out, file_format, split, split_seed, rows_per_shard, overwrite=overwrite)
    selection = _selection(source, run, max_per_problem, keep_duplicates=keep_duplicates)
    engine = open_database(database_url(db))
    with progress_bar("export orm") as show:
        report = export_orm(engine, target, selection, text=text, progress=show)
    _print(report, json=json)


@app.command()
def preference(
    out: Out,
    format: Format = "trl",
    file_format: FileFormat = "jsonl",
    origin: Annotated[
        Literal["preferences", "outcomes", "first-errors"],
        typer.Option(
            "--from",
            help="Choices of annotators, right over wrong solutions of a problem, or those whose steps are right for "
            "longer over others.",
        ),
    ] = "preferences",
    source: Source = None,
    run: Run = None,
    split: Split = _SPLIT,
    split_seed: SplitSeed = 0,
    text: Text = "steps",
    annotator: AnnotatorNames = None,
    annotator_kind: AnnotatorKinds = None,
    max_pairs_per_problem: Annotated[
        int, typer.Option(min=1, help="--from outcomes and first-errors: pairs of one problem at most.")
    ] = 16,
    seed: Annotated[int, typer.Option(help="--from outcomes and first-errors: another seed draws other pairs.")] = 0,
    max_per_problem: MaxPerProblem = None,
    keep_duplicates: KeepDuplicates = False,
    rows_per_shard: RowsPerShard = 100_000,
    overwrite: Overwrite = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Pairs for a preference model: prompt, chosen, rejected, and margin where choices have a strength."""
    from db.connect import open_database
    from exports.queries.exporting import export_preference
    from exports.queries.preference_rows import PreferenceOptions

    options = PreferenceOptions(
        origin=origin,
        text=text,
        annotators=tuple(annotator or ()),
        annotator_kinds=tuple(map(str, annotator_kind or ())),
        max_pairs_per_problem=max_pairs_per_problem,
        seed=seed,
    )
    target = _target(out, file_format, split, split_seed, rows_per_shard, overwrite=overwrite)
    selection = _selection(source, run, max_per_problem, keep_duplicates=keep_duplicates)
    engine = open_database(database_url(db))
    with progress_bar("export preference") as show:
        report = export_preference(engine, target, selection, options, progress=show)
    _print(report, json=json)


@app.command("best-of-n")
def best_of_n(
    out: Out,
    format: Format = "trl",
    file_format: FileFormat = "jsonl",
    source: Source = None,
    run: Run = None,
    split: Split = _SPLIT,
    split_seed: SplitSeed = 0,
    text: Text = "steps",
    max_per_problem: Annotated[int | None, typer.Option(min=1, help="Solutions of one problem at most.")] = None,
    rows_per_shard: RowsPerShard = 100_000,
    overwrite: Overwrite = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """The Best-of-N test file: prompt, answers, labels; one row for each problem."""
    from db.connect import open_database
    from exports.queries.exporting import export_best_of_n

    target = _target(out, file_format, split, split_seed, rows_per_shard, overwrite=overwrite)
    selection = _selection(source, run, max_per_problem, keep_duplicates=False)
    engine = open_database(database_url(db))
    with progress_bar("export best-of-n") as show:
        report = export_best_of_n(engine, target, selection, text=text, progress=show)
    _print(report, json=json)


def parse_shares(text: str) -> dict[str, float]:
    """Reads `train=0.9,test=0.1`.

    >>> parse_shares("train=0.9, test=0.1")
    {'train': 0.9, 'test': 0.1}
    """
    from stepmark.errors import SettingsError

    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError as err:
            raise SettingsError(f"--split {text!r}: {part!r} is not NAME=SHARE; write train=0.9,test=0.1") from err
    return shares


def _target(
    out: Path,
    file_format: Literal["jsonl", "parquet"],
    split: str,
    split_seed: int,
    rows_per_shard: int,
    *,
    overwrite: bool,
) -> "Target":
    from exports.queries.exporting import Target

    return Target(
        folder=out,
        file_format=file_format,
        shares=parse_shares(split),
        split_seed=split_seed,
        rows_per_shard=rows_per_shard,
        overwrite=overwrite,
    )


def _selection(
    source: list[str] | None, run: int | None, max_per_problem: int | None, *, keep_duplicates: bool
) -> "Selection":
    from exports.queries.selection import Selection

    return Selection(tuple(source or ()), run, max_per_problem, keep_duplicates)


def _print(report: "ExportReport", *, json: bool) -> None:
    if json:
        print_json(fields_of(report))
        return
    print_counts(
        f"{report.config} in {report.folder}", read=report.n_read, kept=report.n_kept, dropped=report.dropped
    )
    for counted in (report.splits, report.more):
        if counted:
            print("  " + ", ".join(f"{count} {name}" for name, count in counted.items()))
