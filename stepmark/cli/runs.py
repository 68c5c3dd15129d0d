"""`stepmark runs`: what the generator was asked to do, what came of it, and what it cost."""

from typing import Annotated

import typer

from stepmark.errors import InputError

from .options import Db, Json, open_db
from .output import fields_of, print_json

app = typer.Typer(help="The generator's runs: state, tokens, cost, failures.", no_args_is_help=True)


@app.command("list")
def list_(db: Db = None, json: Json = False) -> None:
    """Lists all runs, each with all its calls together."""
    from db.runs import list_runs

    runs = list_runs(open_db(db))
    if json:
        print_json([fields_of(run) for run in runs])
        return
    if not runs:
        print("there are no runs yet; start one with `stepmark generate`")
        return
    print(f"{'run':>4} {'kind':<12} {'model':<32} {'status':<8} {'samples':>10} {'tokens':>13} {'USD':>10}  failed")
    for run in runs:
        tokens = run.n_prompt_tokens + run.n_completion_tokens
        cost = "unknown" if run.cost_usd is None else f"{run.cost_usd:,.4f}"
        failed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(run.failures.items()))
        model = run.model if len(run.model) <= 32 else "…" + run.model[-31:]
        print(
            f"{run.run_id:>4} {run.kind:<12} {model:<32} {run.status:<8} {run.n_samples:>10,} {tokens:>13,} "
            f"{cost:>10}  {failed or '-'}"
        )


@app.command()
def licence(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Such as Apache-2.0, as SPDX names it; `unknown` takes it back.")
    ],
    run_ids: Annotated[list[int], typer.Argument(metavar="RUN...", help="As `runs list` prints them.")],
    db: Db = None,
    json: Json = False,
) -> None:
    """Says under which terms stands what runs sampled or have yet to sample; exports name them and filter by them."""
    from db.runs import set_licence
    from exports.queries.selection import UNKNOWN

    named = None if name == UNKNOWN else name
    found = set_licence(open_db(db), run_ids, named)
    if json:
        print_json({"licence": named, "solutions": found})
        return
    for run_id, n_solutions in found.items():
        print(f"run {run_id}: {name}, {n_solutions:,} solutions")


@app.command()
def show(run_id: Annotated[int, typer.Argument(help="As `runs list` prints it.")], db: Db = None) -> None:
    """Prints all that is known of one run, its sampling record too, as JSON."""
    from db.runs import list_runs

    found = list_runs(open_db(db), run_id=run_id)
    if not found:
        raise InputError(f"there is no run {run_id}; `stepmark runs list` names them")
    print_json(fields_of(found[0]))
