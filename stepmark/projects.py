"""What a labelling project asks of its annotators beside the tasks themselves: one settings record, with defaults.

The database keeps it as JSON beside the project; whoever writes one goes through `ProjectSettings`, which refuses
what it does not know.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import InputError

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class ProjectSettings(BaseModel):
    """The settings of a project; tasks outside any project have the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_scheme: Literal["good_neutral_bad", "good_bad"] = "good_neutral_bad"
    """Labels offered for a step."""
    repaired_steps: Literal["error", "self_corrected"] = "error"
    """What a wrong step is that a later one mends: an error like any other, or a label of its own."""
    math_mode: Literal["auto", "tex", "plain"] = "auto"
    """How model text is drawn: TeX by its delimiters, all of it as TeX, or as it is."""
    shows_evidence: bool = True
    """Evidence beside the steps, once a task is answered."""
    suggestion_share: Share = 0.0
    """Share of the tasks on which evidence is shown before the answer, drawn for each annotator and task; labels with
    and without it are compared."""
    gold_share: Share = 0.05
    """Share of the tasks handed out that have a known answer, without saying so."""
    repeat_share: Share = 0.0
    """Share of the tasks handed out that the same person has answered before."""
    n_entry_tasks: int = Field(default=0, ge=0)
    """Tasks with a known answer that a member answers before any other."""
    entry_pass_share: Share = 0.8
    """Share of them to get right."""
    pause_below: Share | None = None
    """Share of gold tasks right below which an annotator is paused, from the tenth on; None: nobody is."""
    shows_own_quality: bool = False
    """Whether annotators see on their Progress page how many tasks with a known answer they got right. Off, because
    gold is silent."""
    min_ms_per_step: int = Field(default=700, ge=0)
    """An answer that took less per step is marked as too fast."""
    pair_reasons: tuple[str, ...] = ("correct", "complete", "clear", "concise", "follows the question")
    """Attributes offered as reasons for a preference."""
    asks_strength: bool = True
    """Whether a preference says how much better."""
    mix: dict[str, Share] = {}
    """Share of new tasks by the rule that chooses them; empty: by priority alone."""
    usd_per_hour: float | None = Field(default=None, ge=0.0)
    """What an hour of labelling costs; None: unknown."""


def read_settings(stored: object) -> ProjectSettings:
    """Reads settings as stored or as typed in.

    Raises:
        InputError: Names the first setting that is wrong, and its value.

    >>> read_settings({"gold_share": 0.1}).gold_share
    0.1
    >>> read_settings({"gold_share": 2})
    Traceback (most recent call last):
    stepmark.errors.InputError: setting gold_share is 2: Input should be less than or equal to 1
    """
    try:
        return ProjectSettings.model_validate(stored)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        raise InputError(f"setting {where} is {first['input']!r}: {first['msg']}") from err
