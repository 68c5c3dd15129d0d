"""`stepmark audit`: what reward models have learnt to like."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stepmark.errors import SettingsError

from .critiquing import Critiquing
from .flags import with_flags
from .options import Db, Json, open_db
from .output import print_json


@with_flags
def audit(
    critiquing: Critiquing,
    model: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=]FOLDER...", help="Reward models; several stand on one page."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="An exported set, or JSON lines of solutions with their outcome.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the set.")] = "test",
    source: Annotated[
        str | None, typer.Option("--source", help="Solutions of the database's sources named so, instead of --data.")
    ] = None,
    judges: Annotated[
        bool,
        typer.Option(
            "--judges",
            help="Beside the models, or alone: those who judged pairs of the database in both orders "
            "(stepmark generate preferences), with the swap test.",
        ),
    ] = False,
    db: Db = None,
    max_problems: Annotated[
        int | None,
        typer.Option(min=2, help="Only so many problems, drawn by --seed; each costs ten times its scores."),
    ] = None,
    concept: Annotated[
        list[str] | None, typer.Option("--concept", help="A word to set before steps [default: clearly, verified].")
    ] = None,
    how: Annotated[
        Literal["product", "min", "mean", "last"], typer.Option(help="How a PRM's steps make a solution's score.")
    ] = "product",
    out: Annotated[
        Path | None, typer.Option("--out", file_okay=False, help="Folder for audit.html, audit.json and pictures.")
    ] = None,
    boot: Annotated[int, typer.Option("--boot", min=1, help="Bootstrap samples of the problems.")] = 5000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap and of draws.")] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option("--threads", help="CPU threads; small models are fastest with one.")] = 1,
    json: Json = False,
) -> None:
    """Says what reward models and judges of pairs weigh that nobody asked for: length, looks, flattery, place."""
    from stepmark.flows.items import collect_items, some_problems
    from stepmark.flows.judges import audit_judges
    from stepmark.flows.models import model_folders, open_models
    from trainer.audit.audit import audit_models
    from trainer.audit.report import write_audit
    from trainer.audit.scored import AuditSettings
    from trainer.evaluate.items import read_items

    if model or not judges:
        model_folders(model or ())
        if (data is None) == (source is None):
            raise SettingsError("say what to audit on: --data SET, or --source NAME of the database")
    engine = open_db(db) if judges or source is not None else None
    settings = AuditSettings(n_boot=boot, seed=seed, how=how)
    if concept:
        settings = AuditSettings(n_boot=boot, seed=seed, how=how, concepts=tuple(concept))
    report: dict[str, Any] = {"audit": {}}
    if model:
        if data is not None:
            items = some_problems(read_items(data, split)[0], max_problems, seed)
        else:
            assert engine is not None
            items = collect_items(engine, source=source, max_problems=max_problems, seed=seed)
        models = open_models(
            model, device=device, threads=threads, critic=critiquing.critic, sampled=critiquing.sampled()
        )
        report = audit_models(models, items, settings)
    if judges:
        assert engine is not None
        found = audit_judges(engine, settings)
        if both := report["audit"].keys() & found.keys():
            raise SettingsError(f"a judge is named {', '.join(both)} too; give the model another name: NAME=FOLDER")
        report["audit"] |= found
    if out is not None:
        write_audit(report, out)
    if json:
        print_json(report)
        return
    for name, one in report["audit"].items():
        counts = one["counts"]
        print(f"{name}: {counts['kept']} {one['unit']} of {one['n_problems']} problems")
        for sentence in one["said"] or ["Nothing can be said against it: every interval holds zero."]:
            print(f"  {sentence}")
        for skipped in one["skipped"]:
            print(f"  Not checked, {skipped['check']}: {skipped['reason']}.")
    if out is not None:
        print(f"Look at {out / 'audit.html'}")
