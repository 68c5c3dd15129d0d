"""The flags by which commands of `generate` select solutions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from db.subjects import SolutionSelection


@dataclass(frozen=True)
class Selecting:
    """Which solutions: each field is a flag."""

    source: Annotated[
        str | None, typer.Option(help="Only solutions, or problems, of this source; * matches anything: 'gsm8k/*'.")
    ] = None
    generator: Annotated[str | None, typer.Option(help="Only solutions by this model; * matches anything.")] = None
    outcome: Annotated[
        Literal["right", "wrong"] | None, typer.Option(help="Only solutions of this outcome, as `verify` found it.")
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many solutions.")] = None
    equal_texts: Annotated[
        bool, typer.Option("--equal-texts", help="Also solutions of the same text as an earlier one.")
    ] = False

    def selection(self) -> "SolutionSelection":
        """The selection as the database knows it."""
        from db.subjects import SolutionSelection

        outcome = None if self.outcome is None else self.outcome == "right"
        return SolutionSelection(self.source, self.generator, outcome, self.limit, not self.equal_texts)
