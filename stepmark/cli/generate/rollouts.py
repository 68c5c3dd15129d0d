"""`stepmark generate rollouts`."""

from typing import Annotated, Literal

import typer

from stepmark.cli.flags import with_flags
from stepmark.cli.options import Db, Json

from .asking import Asking
from .selecting import Selecting


@with_flags
def rollouts(
    asking: Asking,
    selecting: Selecting,
    k: Annotated[int, typer.Option(min=1, help="Rollouts from each prefix.")] = 8,
    mode: Annotated[
        Literal["full", "binary"],
        typer.Option(help="full: every prefix; binary: a binary search for the first error of wrong solutions."),
    ] = "full",
    by_difficulty: Annotated[
        bool,
        typer.Option("--by-difficulty", help="4 or 2 times --k where the problem is solved rarely, or at times."),
    ] = False,
    prompt: Annotated[
        str, typer.Option(help="steps, plain (the problem alone), or a file with the place {problem}.")
    ] = "steps",
    db: Db = None,
    json: Json = False,
) -> None:
    """Estimates the value of each step: how often the model gets from there to the right answer.

    Asks for completions of the steps up to it, each by itself, and holds their answers against the reference. Use
    the prompt of the solutions. Nothing is asked twice, beginnings that solutions share included. `stepmark label
    rollouts` makes step labels of the values.
    """
    from generator.rollouts import RolloutsTask
    from stepmark.answers import AnswerVerifier
    from stepmark.prompts import read_prompt

    with AnswerVerifier() as verifier:
        task = RolloutsTask(
            read_prompt(prompt),
            asking.sampling(),
            k,
            verifier,
            mode=mode,
            by_difficulty=by_difficulty,
            selection=selecting.selection(),
        )
        asking.run(task, db=db, json=json)
