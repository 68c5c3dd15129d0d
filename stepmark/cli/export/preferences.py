"""`stepmark export preference`, and where its pairs come from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stepmark.cli.flags import with_flags

from .flags import Labellers, Rows, Text, Writing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exports.queries.selection import TrainingSet

PreferenceFormat = Literal[
    "trl", "trl-chat", "trl-implicit", "openrlhf", "llamafactory", "axolotl", "rewardbench", "rewardbench2"
]


@dataclass(frozen=True)
class Pairs:
    """Where pairs of solutions come from."""

    origin: Annotated[
        Literal["preferences", "outcomes", "first-errors", "scores", "shared-prefix", "alternatives"],
        typer.Option(
            "--from",
            help="Choices of annotators (people or judges); right over wrong solutions of a problem; those whose "
            "steps are right for longer; higher over lower scores of a reward model; right over wrong steps after "
            "the same right ones, of two solutions, or of the candidates for one.",
        ),
    ] = "preferences"
    by: Annotated[
        Literal["each", "majority", "share"],
        typer.Option(
            "--labellers",
            help="--from preferences: a row for each labeller's choice; or one for each pair, by the majority of its "
            "labellers, or by the share of them, which is the margin.",
        ),
    ] = "each"
    reward_model: Annotated[str | None, typer.Option(metavar="NAME", help="--from scores: whose.")] = None
    tie: Annotated[
        float, typer.Option(min=0, help="--from scores: scores that differ by no more are a tie, which makes no row.")
    ] = 0.0
    max_pairs_per_problem: Annotated[
        int, typer.Option(min=1, help="All but --from preferences: pairs of one problem at most.")
    ] = 16
    seed: Annotated[int, typer.Option(help="All but --from preferences: another seed draws other pairs.")] = 0

    def heeded(self) -> frozenset[str]:
        """Fields of the filter of labels that pairs of this origin heed."""
        from exports.queries import derived_pairs, preference_rows

        return {**derived_pairs.HEEDED, **preference_rows.HEEDED}[self.origin]

    def of(self, rows: Rows, labels: "Mapping[str, Any]", text: Text) -> "TrainingSet":
        """The preference set of these labels (fields of `exports.queries.labels.LabelFilter`)."""
        from exports.queries.derived_pairs import DerivedPairOptions, derived_pair_set
        from exports.queries.preference_rows import PreferenceOptions, preference_set
        from stepmark.errors import SettingsError

        if self.origin not in ("preferences", "outcomes", "first-errors") and self.by != "each":
            raise SettingsError(f"--labellers goes with --from preferences, not with --from {self.origin}")
        if self.origin == "scores" or self.origin == "shared-prefix" or self.origin == "alternatives":
            derived = DerivedPairOptions(
                origin=self.origin,
                text=text,
                reward_model=self.reward_model,
                tie=self.tie,
                max_pairs_per_problem=self.max_pairs_per_problem,
                seed=self.seed,
                **labels,
            )
            return derived_pair_set(rows.selection(), derived)
        if self.reward_model is not None:
            raise SettingsError(f"--reward-model goes with --from scores, not with --from {self.origin}")
        options = PreferenceOptions(
            origin=self.origin,
            labellers=self.by,
            text=text,
            max_pairs_per_problem=self.max_pairs_per_problem,
            seed=self.seed,
            **labels,
        )
        return preference_set(rows.selection(), options)


@with_flags
def preference(
    writing: Writing,
    rows: Rows,
    labellers: Labellers,
    pairs: Pairs,
    format: Annotated[PreferenceFormat, typer.Option(help="For whom: docs/formats.md.")] = "trl",
    text: Text = "steps",
) -> None:
    """Pairs for a preference model: prompt, chosen, rejected, and margin where choices have a strength or a score."""
    writing.write(pairs.of(rows, labellers.filter(), text), format)
