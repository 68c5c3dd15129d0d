"""Reading what the browser sends: the edge at which foreign data becomes a `Submission` or a draft."""

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from db.drafts import SentDraft
from db.tasks import CritiqueAnswer, PairAnswer, Submission

_MANY = 10_000
_LONG = 20_000
"""Characters of a text that a person types."""
_LARGEST_DRAFT = 500_000
"""Characters of a draft as JSON."""
_LATEST_MS = 4_102_444_800_000
"""The year 2100: no browser's clock is later."""

_HALF = re.compile("[\ud800-\udfff]")

Label = Literal[-1, 0, 1]
Index = Annotated[int, Field(ge=0, lt=_MANY)]
Key = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]
"""A number as a key of a JSON object."""
Typed = Annotated[str, Field(max_length=_LONG)]
Extra = str | int | bool | None | list[int | None] | list[str]


class _Sent(BaseModel):
    """What the answers to tasks of all kinds share."""

    model_config = ConfigDict(extra="forbid", strict=True)

    submission_id: str = Field(min_length=8, max_length=128)
    task_id: int
    token: str = Field(max_length=32)
    finish_reason: str = Field(max_length=16)
    duration_ms: int = Field(ge=0, lt=2**31)
    comment: str | None = Field(max_length=5_000)
    guideline: str | None = Field(max_length=64)
    corrects: str | None = Field(max_length=128)
    suggestion_shown: bool = False
    extra: dict[str, Extra]


class SentSteps(_Sent):
    """A finished step task, in any mode."""

    labels: list[int | None] = Field(max_length=_MANY)
    unsure: list[Index] = Field(max_length=_MANY)
    step_durations_ms: list[Annotated[int, Field(ge=0, lt=2**31)] | None] = Field(max_length=_MANY)
    repaired: list[Index] = Field(default=[], max_length=_MANY)
    segments: list[str] | None = Field(default=None, min_length=1, max_length=_MANY)
    written: dict[Key, Typed] = {}
    alternatives: dict[Key, Label] = {}
    chosen: int | Literal["own"] | None = None

    def read(self, annotator_id: int) -> Submission:
        """What it says, as the database takes it."""
        fields = self.model_dump()
        return Submission(
            **{
                **fields,
                "unsure": frozenset(self.unsure),
                "repaired": frozenset(self.repaired),
                "written": {int(index): text for index, text in self.written.items()},
                "alternatives": {int(id_): label for id_, label in self.alternatives.items()},
            },
            annotator_id=annotator_id,
        )


class SentPair(_Sent):
    """A finished preference task; `choice` is None where it was skipped or given up."""

    choice: str | None = Field(default=None, max_length=16)
    strength: int | None = None
    reasons: list[Annotated[str, Field(max_length=200)]] = Field(default=[], max_length=100)

    def read(self, annotator_id: int) -> Submission:
        """What it says, as the database takes it."""
        fields = self.model_dump(exclude={"choice", "strength", "reasons"})
        pair = None if self.choice is None else PairAnswer(self.choice, self.strength, tuple(self.reasons))
        return Submission(**fields, annotator_id=annotator_id, pair=pair)


class SentJudgement(_Sent):
    """A finished critique task; `judgement` is None where it was skipped or given up."""

    judgement: str | None = Field(default=None, max_length=16)
    is_helpful: bool | None = None
    is_verdict_right: bool | None = None
    correction: Typed | None = None

    def read(self, annotator_id: int) -> Submission:
        """What it says, as the database takes it."""
        parts = {"judgement", "is_helpful", "is_verdict_right", "correction"}
        critique = None
        if self.judgement is not None:
            critique = CritiqueAnswer(self.judgement, self.is_helpful, self.is_verdict_right, self.correction)
        return Submission(**self.model_dump(exclude=parts), annotator_id=annotator_id, critique=critique)


class _SentDraft(BaseModel):
    """Unfinished work."""

    model_config = ConfigDict(extra="forbid", strict=True)

    task_id: int
    token: str = Field(max_length=32)
    body: dict[str, Any]
    updated_at: int | float = Field(ge=0, le=_LATEST_MS)
    """Milliseconds since 1970."""


class _SentSettings(BaseModel):
    """What a person set for themselves; bounded, because it is kept for as long as the account."""

    model_config = ConfigDict(extra="forbid", strict=True)

    keys: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[a-z][A-Za-z0-9]{0,31}$")],
            Annotated[list[Annotated[str, Field(min_length=1, max_length=16)]], Field(min_length=1, max_length=4)],
        ],
        Field(max_length=100),
    ]
    """The names of keys as browsers give them, by action."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A submission that cannot be read."""

    submission_id: str
    message: str


def storable(value: object) -> object:
    r"""The message without what no database takes in a text: NULs go, halves of a character become U+FFFD.

    Both come from the clipboard, and a field's limit of length can cut a character in two.

    >>> ascii(storable({"comment": "a\x00b", "labels": [1, "\ud83d!"]}))
    "{'comment': 'ab', 'labels': [1, '\\ufffd!']}"
    """
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value.replace("\0", ""))
    if isinstance(value, Mapping):
        return {storable(name): storable(one) for name, one in value.items()}
    return [storable(one) for one in value] if isinstance(value, list) else value


def read_outbox(message: object, annotator_id: int) -> list[Submission | Unreadable]:
    """Reads the submissions of a message, in the order in which they were made.

    What cannot be read comes back as `Unreadable`, so that the browser is told and stops repeating it; an entry
    without a submission id cannot even be named and is left out.
    """
    found: list[Submission | Unreadable] = []
    for entry in _list(message, "outbox"):
        try:
            found.append(_model_of(entry).model_validate(entry).read(annotator_id))
        except ValidationError as err:
            submission_id = entry.get("submission_id") if isinstance(entry, Mapping) else None
            if isinstance(submission_id, str):
                first = err.errors()[0]
                where = ".".join(map(str, first["loc"]))
                found.append(Unreadable(submission_id, f"it cannot be read ({where}: {first['msg']})"))
    return found


def _model_of(entry: object) -> type[SentSteps] | type[SentPair] | type[SentJudgement]:
    """The kind of a submission shows in the fields that only it has; a skipped pair may have none of them."""
    if not isinstance(entry, Mapping) or "labels" in entry:
        return SentSteps
    return SentJudgement if "judgement" in entry else SentPair


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


def read_drafts(message: object) -> list[SentDraft]:
    """Reads the unfinished work of a message; what cannot be read, or is too large, the browser keeps for itself."""
    found: list[SentDraft] = []
    for entry in _list(message, "drafts"):
        try:
            sent = _SentDraft.model_validate(entry)
        except ValidationError:
            continue
        if len(json.dumps(sent.body)) <= _LARGEST_DRAFT:
            updated_at = dt.datetime.fromtimestamp(sent.updated_at / 1000, dt.UTC)
            found.append(SentDraft(sent.task_id, sent.token, sent.body, updated_at))
    return found


def read_practice(message: object) -> bool:
    """Whether the annotator is practising."""
    return isinstance(message, Mapping) and message.get("practice") is True


def read_project(message: object) -> tuple[bool, int | None]:
    """Whether the message chooses where to work, and the project chosen; None for all."""
    if not isinstance(message, Mapping) or "project_id" not in message:
        return False, None
    project_id = message["project_id"]
    is_id = isinstance(project_id, int) and not isinstance(project_id, bool)
    return (is_id or project_id is None), project_id if is_id else None


def read_keys(message: object) -> dict[str, list[str]] | None:
    """Reads the keys that a person set for themselves, by action; None where there are none to keep.

    What cannot be read the browser keeps for itself.
    """
    settings = message.get("settings") if isinstance(message, Mapping) else None
    try:
        return None if settings is None else _SentSettings.model_validate(settings).keys
    except ValidationError:
        return None


def _list(message: object, name: str) -> list[Any]:
    entries = message.get(name) if isinstance(message, Mapping) else None
    return entries if isinstance(entries, list) else []
