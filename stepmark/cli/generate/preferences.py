"""`stepmark generate preferences`."""

from typing import Annotated, Literal

import typer

from stepmark.cli.flags import with_flags
from stepmark.cli.options import Db, Json

from .asking import Asking


@with_flags
def preferences(
    asking: Asking,
    pairs: Annotated[
        Literal["outcome", "near", "random", "compared"],
        typer.Option(
            help="Pairs of one right and one wrong solution, of two with the same outcome, of any two, or of two "
            "that people have compared."
        ),
    ] = "random",
    per_problem: Annotated[int, typer.Option(min=1, help="Pairs of one problem at most.")] = 4,
    votes: Annotated[int, typer.Option(min=1, help="Samples in each of the two orders of a pair.")] = 3,
    prompt: Annotated[
        str,
        typer.Option(
            help="judge_pair, or a file with the places {constitution}, {problem}, {first} and {second}, "
            "which asks for a last line 'Verdict: A', 'Verdict: B' or 'Verdict: tie'."
        ),
    ] = "judge_pair",
    constitution: Annotated[
        str, typer.Option(help="The rules to judge by: constitution, or a file.")
    ] = "constitution",
    source: Annotated[
        str | None, typer.Option(help="Only solutions of this source; * matches anything: 'gsm8k/*'.")
    ] = None,
    generator: Annotated[str | None, typer.Option(help="Only solutions by this model; * matches anything.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pairs.")] = None,
    pair_seed: Annotated[int, typer.Option(help="Another seed draws other pairs.")] = 0,
    db: Db = None,
    json: Json = False,
) -> None:
    """Lets a model judge pairs of solutions, in both orders, under a written constitution.

    Where the two orders disagree, the pair is a tie. A verdict that cannot be read is no vote, and a pair without a
    readable vote in either order is not stored. `stepmark judges` shows what a judge prefers,
    `stepmark judges compare` sets it beside people.
    """
    from db.preferences import PairSelection
    from generator.preferences import PLACES, PreferencesTask
    from stepmark.prompts import read_prompt

    task = PreferencesTask(
        read_prompt(prompt, places=PLACES),
        read_prompt(constitution, places=()),
        asking.sampling(),
        votes,
        PairSelection(pairs, per_problem, source, generator, limit, pair_seed),
    )
    asking.run(task, db=db, json=json)
