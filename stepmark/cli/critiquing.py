"""The flags of commands that score: who criticises, for models that weigh critiques."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stepmark.flows.critiques import Sampled


@dataclass(frozen=True)
class Critiquing:
    """Each field is a flag; models that weigh no critiques pass them by."""

    critic: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the model that writes the critiques for a critique-rm (stage one of CLoud, or a CLoud "
            "model); a CLoud model writes its own."
        ),
    ] = None
    critiques: Annotated[
        int | None,
        typer.Option(min=1, help="Critiques of each solution, whose rewards are averaged [default: 8; stored: all]."),
    ] = None
    temperature: Annotated[float, typer.Option(min=0.0, help="Sampling temperature of critiques.")] = 0.5
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one critique at most.")] = 256
    critique_seed: Annotated[int, typer.Option(help="Another seed gives other critiques.")] = 0

    def sampled(self) -> "Sampled":
        """How critiques are sampled."""
        from stepmark.flows.critiques import Sampled

        n = Sampled().n if self.critiques is None else self.critiques
        return Sampled(n, self.temperature, self.max_tokens, self.critique_seed)
