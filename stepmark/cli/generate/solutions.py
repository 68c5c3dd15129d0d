"""`stepmark generate solutions`."""

from typing import TYPE_CHECKING, Annotated

import typer

from stepmark.cli.flags import with_flags
from stepmark.cli.options import Db, Json

from .asking import Asking, say_flagged

if TYPE_CHECKING:
    from generator.solutions import SolutionsTask
    from stepmark.engine import Sampling


@with_flags
def solutions(
    asking: Asking,
    n: Annotated[
        int, typer.Option(min=1, help="Solutions wanted of each problem, from each model at each temperature.")
    ] = 8,
    prompt: Annotated[
        str, typer.Option(help="steps, plain (the problem alone), or a file with the place {problem}.")
    ] = "steps",
    source: Annotated[
        str | None, typer.Option(help="Only problems of this source; * matches anything: 'gsm8k/*'.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many problems.")] = None,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace", help="Steps from the model's reasoning, where it gives one; the answer from its text."
        ),
    ] = False,
    min_pass: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Only problems of whose solutions this share is right.")
    ] = None,
    max_pass: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Only problems of whose solutions no more is right.")
    ] = None,
    with_flagged: Annotated[
        bool, typer.Option("--with-flagged", help="Also problems that `stepmark filter` found to be repeats.")
    ] = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Samples step-by-step solutions of the problems in the database.

    --model and --temperature may be repeated, each value once: every model is asked at every temperature, --n times
    each, one after another. A budget holds for all of them together. --base-url, --price-in and --price-out are given
    once for all models, or once for each in their order.

    Nothing is asked twice: the same command resumes a run that was stopped, and a larger --n asks only for more.
    Failures are kept apart by kind and asked again by the next run. A sample becomes one solution: --trace changes
    nothing of those that are stored.
    """
    from db.runs import ProblemSelection
    from generator.solutions import SolutionsTask
    from stepmark.prompts import read_prompt

    selection = ProblemSelection(source, limit, min_pass, max_pass, with_flagged)
    say_flagged(selection, db)
    text = read_prompt(prompt)

    def task_of(model: str, sampling: "Sampling") -> "SolutionsTask":
        return SolutionsTask(text, sampling, n, model, selection, trace)

    asking.run_mixed(task_of, db=db, json=json)
