"""`stepmark loop`: rounds of the whole loop, and what they came to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stepmark.errors import InputError, SettingsError

from .options import Db, Json, database_url, open_db
from .output import fields_of, print_json
from .progress import stages_of

if TYPE_CHECKING:
    from db.rounds import RoundState
    from stepmark.flows.loop import LoopPlan, LoopReport

app = typer.Typer(help="Run rounds of the whole loop, and see what they came to.")


@app.callback(invoke_without_command=True)
def loop(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in all, those done before included.")] = 3,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the sets and models.")] = Path("loop"),
    name: Annotated[str | None, typer.Option(help="Name of the loop [default: the folder's].")] = None,
    model: Annotated[
        str | None, typer.Option(help="Language model to begin with [default: the embedded one].")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Problems to learn from [default: drawn, embedded domain].")
    ] = None,
    evaluate_on: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Problems to measure each round's models on.")
    ] = None,
    fixed_set: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Labelled solutions on which each round's reward model is measured."),
    ] = None,
    labels: Annotated[
        Literal["people", "checker", "rollouts"],
        typer.Option(help="Who labels: people in the app, the embedded domain's checker, or the values of steps."),
    ] = "people",
    simulate_annotator: Annotated[
        bool,
        typer.Option("--simulate-annotator", help="A program labels in a person's place, 1 in 20 wrongly."),
    ] = False,
    n_labels: Annotated[int, typer.Option(min=1, help="Solutions labelled in a round.")] = 200,
    n_samples: Annotated[int, typer.Option(min=2, help="Solutions of each problem to learn from.")] = 8,
    n_eval_samples: Annotated[int, typer.Option(min=2, help="Of each problem to measure on; the k of pass@k.")] = 16,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one solution at most.")] = 128,
    prompt: Annotated[
        str, typer.Option(help="plain (the problem alone), steps, or a file with {problem}.")
    ] = "plain",
    seed: Annotated[int, typer.Option(help="Of sampling, the choice of solutions, and training.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that sample or train at a time.")] = 1,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Run all rounds, whatever the guards say; they are read all the same.")
    ] = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Runs rounds: generate, verify, select, label, export, train, evaluate; a guard that trips stops the loop.

    Run again, it goes on where it was: after Ctrl-C, or when people have answered the tasks that a round waits for.
    Without --model and --source it works on the embedded model and domain, in a database of its own in --out.
    """
    if context.invoked_subcommand is not None:
        return
    if (source is None) != (model is None) or (source is None) != (evaluate_on is None):
        raise SettingsError(
            "give --model, --source and --evaluate-on together, or none of them (the embedded domain)"
        )
    from stepmark.flows.demo import MODEL
    from stepmark.flows.embedded_loop import FIXED, LEARN, MEASURE, EmbeddedProblems, prepare_embedded
    from stepmark.flows.loop import LoopPlan, run_loop

    plan = LoopPlan(
        loop=name or out.resolve().name,
        model=model or str(MODEL),
        source=source or LEARN,
        eval_source=evaluate_on or MEASURE,
        fixed_source=fixed_set or (FIXED if source is None else None),
        labels="simulated" if simulate_annotator else labels,
        n_samples=n_samples,
        n_eval_samples=n_eval_samples,
        n_labels=n_labels,
        prompt=prompt,
        max_tokens=max_tokens,
        seed=seed,
    )
    url = database_url(db)
    if source is None:
        out.mkdir(parents=True, exist_ok=True)
        url = db or f"sqlite:///{out / 'stepmark.db'}"
    database = open_db(url, create=source is None)
    watch = stages_of("loop")
    if source is None:
        with watch("embedded problems"):
            prepare_embedded(database, EmbeddedProblems())
    report = run_loop(database, plan, out=out, n_rounds=rounds, workers=workers, does_stop=not go_on, watch=watch)
    if json:
        print_json(fields_of(report))
    else:
        _print(report, plan, url)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="LOOP", help="Name of the loop, as `loop list` prints it.")],
    db: Db = None,
    json: Json = False,
) -> None:
    """Prints the rounds of a loop: what they measured, what the guards read, and what was selected and why."""
    from db.rounds import list_rounds

    found = list_rounds(open_db(db), name)
    if not found:
        raise InputError(f"there is no loop {name!r}; `stepmark loop list` names them")
    if json:
        print_json([fields_of(one) for one in found])
        return
    for one in found:
        _print_round(one)


@app.command("list")
def list_(db: Db = None, json: Json = False) -> None:
    """Lists the loops of a database, the one begun last first."""
    from db.rounds import list_loops

    found = list_loops(open_db(db))
    if json:
        print_json([fields_of(one) for one in found])
        return
    if not found:
        print("there are no loops yet; start one with `stepmark loop`")
    for one in found:
        state = one.stop_reason or ("under way" if one.finished_at is None else "went on to its last round")
        print(f"{one.loop:<24} {one.n_finished} of {one.n_rounds} rounds done   {state}")


def _print(report: "LoopReport", plan: "LoopPlan", url: str) -> None:
    for one in report.rounds:
        _print_round(one)
    if report.n_waiting:
        print(
            f"{report.loop} waits for people: {report.n_waiting} solutions are in the queue. Label them with "
            f"`stepmark annotate --db {url}`, then run the same command again."
        )
    elif report.stop_reason is not None:
        print(f"{report.loop} was stopped by a guard: {report.stop_reason}")
    else:
        print(f"{report.loop}: {len(report.rounds)} rounds done; `stepmark loop show {plan.loop} --db {url}`")


def _print_round(one: "RoundState") -> None:
    state = "under way" if one.finished_at is None else "done"
    print(f"{one.loop}, round {one.number}: {state}")
    if one.metrics:
        print("  " + ", ".join(f"{metric} {value:.3g}" for metric, value in one.metrics.items()))
    for guard in one.guards:
        value = "not measured" if guard["value"] is None else f"{guard['value']:.3f}"
        side = "at least" if guard["direction"] == "min" else "at most"
        bound = "" if guard["bound"] is None else f" ({side} {guard['bound']:.3f})"
        print(f"  {'TRIPPED' if guard['tripped'] else 'ok':<8} {guard['name']}: {value}{bound}")
    for chosen in one.selected:
        print(f"  selected to label, {chosen['reason']}: {chosen['n']}")
    for stage, counts in one.counts.items():
        dropped = ", ".join(f"{n} {why}" for why, n in counts["dropped"].items())
        print(f"  {stage}: read {counts['read']}, kept {counts['kept']}" + (f" ({dropped})" if dropped else ""))
    if one.stop_reason:
        print(f"  stop: {one.stop_reason}")
