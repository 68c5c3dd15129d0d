"""`stepmark generate replays`."""

from typing import Annotated

import typer

from stepmark.cli.flags import with_flags
from stepmark.cli.options import Db, Json, open_db
from stepmark.cli.output import fields_of, print_counts, print_json
from stepmark.cli.progress import progress_bar

from .critiques import Solutions


@with_flags
def replays(
    solutions: Solutions,
    variants: Annotated[int, typer.Option(min=1, help="Variants of each problem at most.")] = 3,
    db: Db = None,
    json: Json = False,
) -> None:
    """Carries chains of equations over to variants by program, without a model, and stores a critique for each.

    A chain whose rule does not generalise reaches another answer than the variant's own. Where a number may come from
    two places, nothing is guessed: the critique is unreadable, with the reason.
    """
    from generator.critiques.replays import replay_solutions

    database = open_db(db)
    with progress_bar("replays") as show:
        report = replay_solutions(database, solutions.selection(), n_variants=variants, progress=show)
    if json:
        print_json(fields_of(report))
        return
    print_counts("solutions", read=report.n_read, kept=report.n_replayed, dropped=report.dropped)
    if report.counts:
        print("stored: " + ", ".join(f"{count:,} {what}" for what, count in report.counts.items()))
