"""Reading what the browser sends: the edge at which foreign data becomes a `Submission`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from db.tasks import Submission


class SentSubmission(BaseModel):
    """One finished task as the surface sends it; anything else is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    submission_id: str = Field(min_length=8, max_length=128)
    task_id: int
    token: str = Field(max_length=32)
    finish_reason: str = Field(max_length=16)
    labels: list[int | None] = Field(max_length=10_000)
    unsure: list[int] = Field(max_length=10_000)
    step_durations_ms: list[int] = Field(max_length=10_000)
    duration_ms: int = Field(ge=0)
    comment: str | None = Field(max_length=5_000)
    guideline: str | None = Field(max_length=64)
    corrects: str | None = Field(max_length=128)
    extra: dict[str, str | list[int]]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A submission that cannot be read."""

    submission_id: str
    message: str


def read_outbox(message: object, annotator_id: int) -> list[Submission | Unreadable]:
    """Reads the submissions of a message, in the order in which they were made.

    What cannot be read comes back as `Unreadable`, so that the browser is told and stops repeating it; an entry
    without a submission id cannot even be named and is left out.
    """
    entries = message.get("outbox") if isinstance(message, Mapping) else None
    found: list[Submission | Unreadable] = []
    for entry in entries if isinstance(entries, list) else []:
        try:
            sent = SentSubmission.model_validate(entry)
        except ValidationError as err:
            submission_id = entry.get("submission_id") if isinstance(entry, Mapping) else None
            if isinstance(submission_id, str):
                first = err.errors()[0]
                where = ".".join(map(str, first["loc"]))
                found.append(Unreadable(submission_id, f"it cannot be read ({where}: {first['msg']})"))
            continue
        fields: dict[str, Any] = sent.model_dump()
        fields["unsure"] = frozenset(sent.unsure)
        found.append(Submission(annotator_id=annotator_id, suggestion_shown=False, **fields))
    return found


def read_held(message: object) -> dict[int, str]:
    """Reads which leases the browser holds: task id to token."""
    held = message.get("held") if isinstance(message, Mapping) else None
    if not isinstance(held, Mapping):
        return {}
    return {
        int(task_id): token
        for task_id, token in held.items()
        if isinstance(task_id, str) and task_id.isdecimal() and isinstance(token, str)
    }
