"""`stepmark export critique`, `critique-preference` and `cloud`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stepmark.cli.flags import with_flags

from .flags import Labellers, Rows, Text, Writing
from .preferences import Pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exports.queries.critique_rows import CritiqueOptions

CritiqueFormat = Literal["messages", "prompt-completion", "prompt-completion-chat", "llamafactory"]
CritiquePreferenceFormat = Literal["trl", "trl-chat", "trl-implicit", "openrlhf", "llamafactory", "axolotl"]


@dataclass(frozen=True)
class Which:
    """Which critiques, and what makes one stand."""

    kind: Annotated[
        list[str], typer.Option("--kind", metavar="KIND", help="Only critiques of this kind. May be repeated.")
    ] = field(default_factory=list)
    critic: Annotated[
        list[str], typer.Option("--critic", metavar="NAME", help="Only critiques by this one. May be repeated.")
    ] = field(default_factory=list)
    confirmed_by: Annotated[
        Literal["verifier", "people", "either"],
        typer.Option(help="Whose word on a verdict counts; either: people's where they agree, else the verifier's."),
    ] = "verifier"
    prompt: Annotated[
        str | None,
        typer.Option(
            help="Ask all with this prompt, by name or file [default: that of the run, or of the critique's kind]."
        ),
    ] = None

    def options(
        self, labels: "Mapping[str, Any]", standing: Literal["confirmed", "not-refuted", "any"] = "confirmed"
    ) -> "CritiqueOptions":
        """The options as the queries know them, with these fields of the filter of labels."""
        from exports.queries.critique_rows import CritiqueOptions

        return CritiqueOptions(
            kinds=tuple(self.kind),
            critics=tuple(self.critic),
            confirmed_by=self.confirmed_by,
            standing=standing,
            prompt=self.prompt,
            **labels,
        )


Standing = Annotated[
    Literal["confirmed", "not-refuted", "any"],
    typer.Option(help="Only confirmed verdicts, or also unknown ones, or all that can be read."),
]


@with_flags
def critique(
    writing: Writing,
    rows: Rows,
    labellers: Labellers,
    which: Which,
    format: Annotated[CritiqueFormat, typer.Option(help="For whom: docs/formats.md.")] = "messages",
    standing: Standing = "confirmed",
) -> None:
    """Critiques to learn from: what a critic is asked, and a critique whose verdict is right."""
    from exports.queries.critique_rows import critique_set

    writing.write(critique_set(rows.selection(), which.options(labellers.filter(), standing)), format)


@with_flags
def critique_preference(
    writing: Writing,
    rows: Rows,
    labellers: Labellers,
    which: Which,
    format: Annotated[CritiquePreferenceFormat, typer.Option(help="For whom: docs/formats.md.")] = "trl",
    max_pairs_per_subject: Annotated[
        int, typer.Option(min=1, help="Pairs of critiques that were asked the same, at most.")
    ] = 4,
    seed: Annotated[int, typer.Option(help="Another seed draws other pairs.")] = 0,
) -> None:
    """Pairs of critiques for a judge: a right verdict over a wrong one, asked the same."""
    from exports.queries.critique_rows import CritiquePairOptions, critique_preference_set

    pairs = CritiquePairOptions(max_pairs_per_subject, seed)
    writing.write(critique_preference_set(rows.selection(), which.options(labellers.filter()), pairs), format)


@with_flags
def cloud(
    writing: Writing,
    rows: Rows,
    labellers: Labellers,
    pairs: Pairs,
    which: Which,
    text: Text = "steps",
    standing: Standing = "confirmed",
    max_feedback: Annotated[int, typer.Option(min=1, help="Critiques of each solution at most.")] = 1,
) -> None:
    """Pairs of solutions with critiques of both, for reward models that write before they score (CLoud)."""
    from exports.queries.critique_rows import HEEDED, cloud_set
    from exports.queries.labels import LabelFilter, require_heeded

    of_pairs, of_critiques = pairs.heeded(), HEEDED[which.confirmed_by]
    told = f"neither pairs from {pairs.origin} nor critiques confirmed by {which.confirmed_by} heed that"
    require_heeded(LabelFilter(**labellers.filter()), of_pairs | of_critiques, told)
    wanted = pairs.of(rows, labellers.filter(of_pairs), text)
    options = which.options(labellers.filter(of_critiques), standing)
    writing.write(cloud_set(rows.selection(), wanted, options, max_feedback=max_feedback))
