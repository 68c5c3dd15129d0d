"""`stepmark evaluate`: measures of reward models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stepmark.errors import SettingsError

from .critiquing import Critiquing
from .flags import with_flags
from .options import Db, Json, open_db
from .output import print_json

if TYPE_CHECKING:
    from stepmark.flows.calibration import Rows

app = typer.Typer(no_args_is_help=True, help="Measure reward models.")

ModelsOption = Annotated[
    list[str], typer.Option("--model", metavar="[NAME=]FOLDER", help="A reward model; several are compared.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", file_okay=False, help="Folder for the page, the pictures and the JSON.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
ThreadsOption = Annotated[int, typer.Option("--threads", help="CPU threads; small models are fastest with one.")]
BootOption = Annotated[int, typer.Option("--boot", min=1, help="Bootstrap samples of the problems.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the bootstrap and of draws.")]
HowOption = Annotated[
    Literal["product", "min", "mean", "last"],
    typer.Option("--how", help="How a PRM's steps make a solution's score."),
]


@app.callback()
def evaluate() -> None:
    """Measure reward models."""


@app.command("best-of-n")
def best_of_n(
    out: Annotated[
        Path,
        typer.Option("--out", file_okay=False, help="Folder for problems.jsonl and best_of_n.json, .png and .svg."),
    ],
    file: Annotated[
        Path | None, typer.Option("--file", help="JSONL of problems with scored solutions, instead of the database.")
    ] = None,
    db: Db = None,
    source: Annotated[str | None, typer.Option(help="Only solutions of sources named so; * is any text.")] = None,
    prm: Annotated[list[str] | None, typer.Option(help="Name of a PRM's scores; once for each seed.")] = None,
    orm: Annotated[list[str] | None, typer.Option(help="Name of an ORM's scores; once for each seed.")] = None,
    bt: Annotated[list[str] | None, typer.Option(help="Name of a BT model's scores; once for each seed.")] = None,
    skip_unscored: Annotated[
        bool, typer.Option("--skip-unscored", help="Leave out solutions without a score, such as those too long.")
    ] = False,
    n: Annotated[list[int] | None, typer.Option("--n", help="Sizes (default: 1 2 4 8 16 32).")] = None,
    trials: Annotated[int, typer.Option("--trials", help="Random subsets of each size.")] = 400,
    boot: Annotated[int, typer.Option("--boot", help="Bootstrap samples of the problems.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of subsets and bootstrap.")] = 0,
    json: Json = False,
) -> None:
    """How often each method picks a right solution among N (the protocol of PRM800K's eval.py)."""
    from stepmark.flows.best_of_n import evaluate_best_of_n
    from trainer.evaluate.report import best_of_n_table, write_best_of_n

    sizes = tuple(n or (1, 2, 4, 8, 16, 32))
    if file is not None:
        report = write_best_of_n(file, out, ns=sizes, n_trials=trials, n_boot=boot, seed=seed)
    else:
        names = {kind: given for kind, given in (("prm", prm), ("orm", orm), ("bt", bt)) if given}
        engine = open_db(db)
        report = evaluate_best_of_n(
            engine,
            names,
            source=source,
            out=out,
            skip_unscored=skip_unscored,
            ns=sizes,
            n_trials=trials,
            n_boot=boot,
            seed=seed,
        )
    if json:
        print_json(report)
        return
    from rich.console import Console

    console = Console()
    for table in best_of_n_table(report):
        console.print(table)


@app.command()
def processbench(
    model: ModelsOption,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files of ProcessBench, or folders of them; each file is a subset.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Labelled solutions of the database; each name is a subset.")
    ] = None,
    db: Db = None,
    threshold: Annotated[float, typer.Option(help="P(right) below which a step is called wrong.")] = 0.5,
    choose_on: Annotated[
        str | None, typer.Option(help="Choose the threshold on this subset, which is in no figure then.")
    ] = None,
    out: OutOption = None,
    boot: BootOption = 2000,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    json: Json = False,
) -> None:
    """Whether process reward models find the first wrong step (ProcessBench's F1)."""
    from stepmark.flows.items import process_rows
    from stepmark.flows.models import open_models
    from trainer.evaluate.files import benchmark_files, read_json_rows
    from trainer.evaluate.processbench import evaluate_processbench, parse_rows

    subsets = {
        name: parse_rows(read_json_rows(file), str(file)) for name, file in benchmark_files(files or []).items()
    }
    if source:
        engine = open_db(db)
        subsets |= {name: process_rows(engine, name) for name in source}
    if not subsets:
        raise SettingsError("name files of ProcessBench, or a --source of the database")
    report = evaluate_processbench(
        open_models(model, device=device, threads=threads),
        subsets,
        threshold=threshold,
        choose_on=choose_on,
        n_boot=boot,
        seed=seed,
    )
    _show(report, out, json)


@app.command()
def prmbench(
    model: ModelsOption,
    files: Annotated[list[Path], typer.Argument(help="Files of PRMBench.")],
    threshold: Annotated[float, typer.Option(help="P(right) from which a step is called right.")] = 0.5,
    out: OutOption = None,
    boot: BootOption = 2000,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    json: Json = False,
) -> None:
    """Whether process reward models see nine kinds of errors (PRMBench's PRMScore)."""
    from stepmark.flows.models import open_models
    from trainer.evaluate.files import benchmark_files, read_json_rows
    from trainer.evaluate.prmbench import evaluate_prmbench, parse_rows

    rows = [row for file in benchmark_files(files).values() for row in parse_rows(read_json_rows(file), str(file))]
    models = open_models(model, device=device, threads=threads)
    _show(evaluate_prmbench(models, rows, threshold=threshold, n_boot=boot, seed=seed), out, json)


@app.command()
@with_flags
def rewardbench(
    model: ModelsOption,
    files: Annotated[
        list[Path], typer.Argument(help="JSON rows with prompt, chosen and rejected (texts or lists), subset, id.")
    ],
    critiquing: Critiquing,
    out: OutOption = None,
    boot: BootOption = 2000,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    json: Json = False,
) -> None:
    """Whether reward models put the better answer first (RewardBench, versions 1 and 2)."""
    from stepmark.flows.models import open_models
    from trainer.evaluate.files import benchmark_files, read_json_rows
    from trainer.evaluate.rewardbench import evaluate_rewardbench, parse_rows

    rows = [
        row
        for name, file in benchmark_files(files).items()
        for row in parse_rows(read_json_rows(file), str(file), default_subset=name)
    ]
    models = open_models(
        model, device=device, threads=threads, critic=critiquing.critic, sampled=critiquing.sampled()
    )
    _show(evaluate_rewardbench(models, rows, n_boot=boot, seed=seed), out, json)


@app.command()
@with_flags
def calibration(
    model: ModelsOption,
    critiquing: Critiquing,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="An exported set, or JSON lines of solutions, instead of the database."),
    ] = None,
    fit_split: Annotated[str, typer.Option(help="Split of the set to fit on.")] = "validation",
    split: Annotated[str, typer.Option(help="Split of the set to measure on.")] = "test",
    db: Db = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Solutions of sources named so; * is any text.")
    ] = None,
    fit_share: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Share of the problems to fit on, where there are no splits.")
    ] = 0.5,
    target: Annotated[
        Literal["steps", "solutions", "pairs"] | None,
        typer.Option(help="What is calibrated [default: steps of a PRM, solutions of an ORM, pairs of a BT model]."),
    ] = None,
    how: HowOption = "product",
    save: Annotated[
        Literal["platt", "temperature"] | None, typer.Option(help="Write this fit beside the model's weights.")
    ] = None,
    max_problems: Annotated[int | None, typer.Option(min=2, help="Only so many problems, drawn by --seed.")] = None,
    out: OutOption = None,
    boot: BootOption = 2000,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    json: Json = False,
) -> None:
    """Whether a score of 80 % is right in 80 %, before and after a fit on other problems."""
    from stepmark.flows.calibration import calibrate
    from stepmark.flows.models import model_folders, open_models

    fit_on, test_on = _calibration_rows(data, fit_split, split, db, source, fit_share, max_problems, seed)
    report = calibrate(
        open_models(model, device=device, threads=threads, critic=critiquing.critic, sampled=critiquing.sampled()),
        fit_on=fit_on,
        test_on=test_on,
        target=target,
        how=how,
        save=model_folders(model) if save else None,
        method=save or "platt",
        n_boot=boot,
        seed=seed,
    )
    _show(report, out, json)


def _calibration_rows(
    data: Path | None,
    fit_split: str,
    split: str,
    db: str | None,
    source: str | None,
    fit_share: float,
    max_problems: int | None,
    seed: int,
) -> "tuple[Rows, Rows]":
    from stepmark.flows.calibration import rows_of_items, rows_of_set
    from stepmark.flows.items import collect_items, divide, some_problems
    from trainer.evaluate.items import read_items

    if data is not None and data.is_dir():
        return rows_of_set(data, fit_split), rows_of_set(data, split)
    if data is not None:
        items, name = some_problems(read_items(data)[0], max_problems, seed), data.name
    else:
        engine = open_db(db)
        items, name = collect_items(engine, source=source, max_problems=max_problems, seed=seed), source or "all"
    fitted, tested = divide(items, fit_share, seed)
    return rows_of_items(fitted, f"{fit_share:.0%} of {name}"), rows_of_items(tested, f"the rest of {name}")


@app.command()
def critic(
    db: Db = None,
    source: Annotated[str | None, typer.Option("--source", help="Only on solutions of sources named so.")] = None,
    by: Annotated[str | None, typer.Option("--critic", help="Only by critics named so; * is any text.")] = None,
    each_on_its_own: Annotated[
        bool, typer.Option("--each-on-its-own", help="Measure critics also on solutions that not all of them judged.")
    ] = False,
    out: OutOption = None,
    boot: BootOption = 2000,
    seed: SeedOption = 0,
    json: Json = False,
) -> None:
    """How often critics' verdicts are right, what they catch, how often they cry wolf; after `stepmark verify`."""
    from stepmark.flows.critics import evaluate_stored_critics

    report = evaluate_stored_critics(
        open_db(db),
        source=source,
        critic=by,
        on_common=not each_on_its_own,
        n_boot=boot,
        seed=seed,
    )
    _show(report, out, json)


def _show(report: dict[str, Any], out: Path | None, as_json: bool) -> None:
    from trainer.evaluate.page import rich_tables, write_evaluation

    if out is not None:
        write_evaluation(report, out)
    if as_json:
        print_json(report)
        return
    from rich.console import Console

    console = Console()
    console.print(report["title"])
    for table in rich_tables(report):
        console.print(table)
    for note in report["notes"]:
        print(note)
    if out is not None:
        print(f"Look at {out / report['benchmark']}.html")
