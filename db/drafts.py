"""Unfinished work, as browsers send it now and then: kept for another browser, gone once the task is answered."""

import datetime as dt
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .connect import writing
from .models import Annotation, Claim, Draft


@dataclass(frozen=True, slots=True)
class SentDraft:
    """Unfinished work on one task."""

    task_id: int
    token: str
    """Of the lease, which may have run out."""
    body: Mapping[str, Any]
    updated_at: dt.datetime
    """By the browser's clock."""


def save_drafts(engine: sa.Engine, annotator_id: int, drafts: Sequence[SentDraft]) -> set[int]:
    """Stores drafts where none that is newer is there; returns the tasks whose stored draft is now the one sent.

    Passed over are drafts of tasks that are not, or were never, leased under this token, and of tasks that this
    annotator has answered: a draft on its way must not outlive the answer.
    """
    saved: set[int] = set()
    with writing(engine) as session:
        for sent in sorted(drafts, key=lambda draft: (draft.task_id, draft.updated_at)):
            # The lock keeps another browser of this person from storing its draft in between.
            token = session.scalar(
                sa.select(Claim.token)
                .where(Claim.task_id == sent.task_id, Claim.annotator_id == annotator_id)
                .with_for_update()
            )
            if token is None or not secrets.compare_digest(token.encode(), sent.token.encode()):
                continue
            answered = sa.exists().where(
                Annotation.task_id == sent.task_id,
                Annotation.annotator_id == annotator_id,
                Annotation.superseded_by_id.is_(None),
            )
            if session.scalar(sa.select(answered)):
                continue
            draft = session.get(Draft, (sent.task_id, annotator_id))
            if draft is None:
                draft = Draft(task_id=sent.task_id, annotator_id=annotator_id)
                session.add(draft)
            elif draft.updated_at > sent.updated_at:
                continue
            draft.body, draft.updated_at = dict(sent.body), sent.updated_at
            session.flush()
            saved.add(sent.task_id)
    return saved
