"""`stepmark queue`: what is to be labelled."""

from typing import Annotated

import typer

from .options import Db, Json, open_db
from .output import fields_of, print_counts, print_json

app = typer.Typer(help="Choose what is labelled next, and see what waits.", no_args_is_help=True)


@app.command()
def add(
    db: Db = None,
    source: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only solutions of sources named so; * is any text.")
    ] = "*",
    limit: Annotated[int, typer.Option(min=1, help="At most this many tasks.")] = 100,
    project: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Into this project; kind, mode and n-wanted are its own by default."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="steps, preference (pairs of solutions) or critique [default: steps].")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="Of steps: first_error, all_steps, alternatives or verify [default: first_error]."),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            help="Steps: random, uncertain (newest PRM score nearest to 0.5), 'convincing wrong' (wrong answer, "
            "highest score) or disagreement (labellers differ). Pairs: random or 'moderate gap' (of scores). "
            "Critiques: random or unconfirmed. [default: each rule of the project's mix, else random]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random choice.")] = 0,
    n_wanted: Annotated[
        int | None, typer.Option("--n-wanted", min=1, help="Independent annotators for each [default: 1].")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="RULE", help="Name of this part of the queue [default: the order].")
    ] = None,
    json: Json = False,
) -> None:
    """Puts solutions, pairs or critiques that have no task yet into the labelling queue."""
    from db.queue import queue_tasks

    added = queue_tasks(
        open_db(db),
        project=project,
        kind=kind,
        mode=mode,
        source=source,
        limit=limit,
        order=None if order is None else order.replace("-", " "),
        seed=seed,
        n_wanted=n_wanted,
        reason=name,
    )
    if json:
        print_json(fields_of(added))
    else:
        print_counts("queue", read=added.read, kept=added.kept, dropped=added.dropped)


@app.command()
def show(db: Db = None, json: Json = False) -> None:
    """Lists the queue by project, rule and what it asks for: open, in somebody's hands, done."""
    from db.queue import queue_state

    states = queue_state(open_db(db))
    if json:
        print_json([fields_of(state) for state in states])
    elif not states:
        print("the queue is empty; fill it with `stepmark queue add`")
    else:
        print(f"{'project':<20} {'rule':<20} {'asks for':<12} {'open':>10} {'leased':>8} {'done':>10}")
        for state in states:
            asks = state.mode if state.kind == "steps" else state.kind
            print(
                f"{state.project or '-':<20} {state.reason or '-':<20} {asks:<12} {state.n_open:>10,} "
                f"{state.n_leased:>8,} {state.n_closed:>10,}"
            )


@app.command()
def rank(
    rule: Annotated[
        str,
        typer.Option(
            help="convincing-wrong (wrong answer, highest score), ensemble (several PRMs are unsure before the first "
            "predicted error), disagreement (labellers and PRM name different first errors), jump (largest fall of "
            "the score from step to step), random."
        ),
    ],
    db: Db = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many tasks, the random stream included.")] = 100,
    random_share: Annotated[
        float,
        typer.Option("--random-share", min=0.0, max=1.0, help="Share drawn by chance, under a name of its own."),
    ] = 0.1,
    per_problem: Annotated[int, typer.Option("--per-problem", min=1, help="At most so many of one problem.")] = 1,
    reward_model: Annotated[
        list[str] | None,
        typer.Option(
            "--reward-model", metavar="NAME", help="Whose scores to go by; several are averaged [default: newest]."
        ),
    ] = None,
    source: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only solutions of sources named so; * is any text.")
    ] = "*",
    project: Annotated[str | None, typer.Option(metavar="NAME", help="Into this project.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="first_error, all_steps or verify [default: the project's, else first_error].")
    ] = None,
    n_wanted: Annotated[
        int | None, typer.Option("--n-wanted", min=1, help="Independent annotators for each [default: 1].")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn; keep it from round to round.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be queued; change nothing.")] = False,
    json: Json = False,
) -> None:
    """Queues the solutions whose labels a rule expects to teach most, and a random stream kept apart."""
    from db.queue import rank_queue
    from stepmark.errors import InputError
    from stepmark.selection import RULES

    known = {name: name for name in RULES}
    if rule not in known:
        raise InputError(f"rule {rule!r} is unknown; use one of {', '.join(RULES)}")
    ranked = rank_queue(
        open_db(db),
        known[rule],
        limit=limit,
        random_share=random_share,
        per_problem=per_problem,
        seed=seed,
        source=source,
        project=project,
        mode=mode,
        reward_models=reward_model or (),
        n_wanted=n_wanted,
        is_dry_run=dry_run,
    )
    found = ranked.selection
    if json:
        print_json(
            {
                "rule": ranked.rule,
                "reward_models": ranked.reward_models,
                "chosen": [fields_of(one) for one in found.chosen],
                "read": found.n_read,
                "kept": len(found.chosen),
                "dropped": found.dropped,
                "queued": None if ranked.added is None else ranked.added.kept,
            }
        )
        return
    print(f"{'solution':>9} {'problem':>8} {'priority':>8}  {'rule':<17} why")
    for one in found.chosen:
        print(f"{one.solution_id:>9} {one.problem_id:>8} {one.priority:>8.3f}  {one.reason:<17} {one.why}")
    print_counts("rank", read=found.n_read, kept=len(found.chosen), dropped=found.dropped)
    if ranked.added is None:
        print("nothing was queued (--dry-run)")
    else:
        print_counts("queue", read=ranked.added.read, kept=ranked.added.kept, dropped=ranked.added.dropped)
