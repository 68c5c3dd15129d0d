"""`stepmark generate alternatives`."""

from typing import Annotated, cast

import typer

from stepmark.cli.flags import with_flags
from stepmark.cli.options import Db, Json

from .asking import Asking
from .selecting import Selecting


@with_flags
def alternatives(
    asking: Asking,
    selecting: Selecting,
    n: Annotated[int, typer.Option(min=1, help="Next steps sampled at each place; equal ones are stored once.")] = 4,
    at: Annotated[
        str,
        typer.Option(help="first-error (as step labels name it), before-error, all, or a step's index from 0."),
    ] = "first-error",
    annotator: Annotated[
        str | None, typer.Option(help="Only first errors that this labeller sees; * matches anything.")
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="steps, plain (the problem alone), or a file with the place {problem}.")
    ] = "steps",
    db: Db = None,
    json: Json = False,
) -> None:
    """Samples other next steps from the beginnings of solutions, to be labelled or to mend the first error.

    Use the prompt of the solutions. Steps that differ from the solution's own in more than blanks are stored.
    """
    from generator.alternatives import AlternativesTask, Place
    from stepmark.errors import SettingsError
    from stepmark.prompts import read_prompt

    place: Place
    if at in ("all", "first-error", "before-error"):
        place = cast(Place, at)
    elif at.isdecimal():
        place = int(at)
    else:
        raise SettingsError(f"--at is {at!r}; give first-error, before-error, all, or a step's index from 0")
    task = AlternativesTask(read_prompt(prompt), asking.sampling(), n, place, annotator, selecting.selection())
    asking.run(task, db=db, json=json)
