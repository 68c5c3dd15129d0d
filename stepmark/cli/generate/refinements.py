"""`stepmark generate refinements`."""

from typing import Annotated, Literal

import typer

from stepmark.cli.flags import with_flags
from stepmark.cli.options import Db, Json

from .asking import Asking
from .critiques import Solutions


@with_flags
def refinements(
    asking: Asking,
    solutions: Solutions,
    n: Annotated[int, typer.Option(min=1, help="Corrected solutions wanted after each critique.")] = 1,
    of: Annotated[str | None, typer.Option(help="Only after critiques of this kind.")] = None,
    verdict: Annotated[Literal["fail", "all"], typer.Option(help="After critiques that fail a solution, or all.")] = (
        "fail"
    ),
    prompt: Annotated[str | None, typer.Option(help="A file in the place of the prompt.")] = None,
    max_chars: Annotated[int, typer.Option(min=1, help="Drop what is longer.")] = 20_000,
    db: Db = None,
    json: Json = False,
) -> None:
    """Asks a model for corrected solutions after critiques; they are stored as solutions.

    --source, --generator and --outcome select the solutions that were criticised; --limit counts critiques.
    """
    from generator.critiques.refinements import refinements_task

    asking.run(
        refinements_task(
            sampling=asking.sampling(),
            n=n,
            model=asking.one_model(),
            selection=solutions.of_critiques(of, None if verdict == "all" else verdict),
            prompt=prompt,
            max_chars=max_chars,
        ),
        db=db,
        json=json,
    )
