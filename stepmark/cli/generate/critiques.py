"""`stepmark generate critiques`, and the flags that select solutions for it and its neighbours."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stepmark.cli.flags import with_flags
from stepmark.cli.options import Db, Json

from .asking import Asking

if TYPE_CHECKING:
    from db.critiques import CritiqueSelection
    from db.subjects import SolutionSelection


@dataclass(frozen=True)
class Solutions:
    """The flags that select solutions."""

    source: Annotated[
        str | None, typer.Option(help="Only problems of this source; * matches anything: 'gsm8k/*'.")
    ] = None
    generator: Annotated[str | None, typer.Option(help="Only solutions by this model; * matches anything.")] = None
    outcome: Annotated[
        Literal["right", "wrong"] | None, typer.Option(help="Only solutions whose answer is right, or wrong.")
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None

    def selection(self) -> "SolutionSelection":
        """Solutions, each text of a problem once."""
        from db.subjects import SolutionSelection

        return SolutionSelection(self.source, self.generator, self._is_right, self.limit)

    def of_critiques(self, kind: str | None, verdict: str | None) -> "CritiqueSelection":
        """Critiques of these solutions; the limit counts critiques."""
        from db.critiques import CritiqueSelection
        from db.subjects import SolutionSelection

        solutions = SolutionSelection(self.source, self.generator, self._is_right, unique_texts=False)
        return CritiqueSelection(solutions, kind, verdict, self.limit)

    @property
    def _is_right(self) -> bool | None:
        return None if self.outcome is None else self.outcome == "right"


@with_flags
def critiques(
    asking: Asking,
    solutions: Solutions,
    kind: Annotated[
        Literal["judge", "variant", "concrete", "self", "reference", "meta"],
        typer.Option(
            help="judge reads and names the first wrong step; variant carries the chain over to variants of the "
            "problem (and steps through its own input where there are none); concrete steps through the problem's "
            "own input; self asks the model that wrote it; reference shows the reference; meta judges critiques."
        ),
    ],
    n: Annotated[int, typer.Option(min=1, help="Critiques wanted of each solution (or critique, or variant).")] = 1,
    variants: Annotated[int, typer.Option(min=1, help="Variants of each problem at most (variant).")] = 3,
    of: Annotated[str | None, typer.Option(help="Only critiques of this kind (meta).")] = None,
    prompt: Annotated[str | None, typer.Option(help="A file in the place of the kind's own prompt.")] = None,
    max_chars: Annotated[int, typer.Option(min=1, help="Drop what is longer.")] = 20_000,
    db: Db = None,
    json: Json = False,
) -> None:
    """Asks a model for critiques of solutions, each ending in a verdict, pass or fail.

    A verdict that cannot be read is stored as unreadable, with the reason. `stepmark verify` then tells which
    verdicts are right.
    """
    from generator.critiques.critiques import meta_task
    from generator.critiques.solutions import critiques_task

    if kind == "meta":
        asking.run(
            meta_task(
                sampling=asking.sampling(),
                n=n,
                model=asking.one_model(),
                selection=solutions.of_critiques(of, None),
                prompt=prompt,
                max_chars=max_chars,
            ),
            db=db,
            json=json,
        )
        return
    asking.run(
        critiques_task(
            kind,
            sampling=asking.sampling(),
            n=n,
            model=asking.one_model(),
            selection=solutions.selection(),
            prompt=prompt,
            n_variants=variants,
            max_chars=max_chars,
        ),
        db=db,
        json=json,
    )
