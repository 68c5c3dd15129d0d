"""Telling annotators that a reviewer sees something otherwise, and whether they were asked to look again."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from ..models import Annotation, Note
from ..notes import LONGEST, add_note


def tell(
    session: Session, task_id: int, lines: Mapping[int, Sequence[str]], *, reviewer_id: int, why: str | None
) -> None:
    """Writes a note to each annotator with at least one line; never to the reviewer.

    Args:
        session: Writes.
        task_id: The task that was decided.
        lines: What each annotator said and what is decided, by annotator.
        reviewer_id: Who decided.
        why: The reviewer's words.
    """
    for annotator_id, said in lines.items():
        if said and annotator_id != reviewer_id:
            text = "\n".join([*said, *([f"Why: {why}"] if why else [])])
            add_note(
                session,
                kind="feedback",
                to_id=annotator_id,
                author_id=reviewer_id,
                text=text[:LONGEST],
                task_id=task_id,
            )


def is_sent_back() -> sa.Exists:
    """Whether whoever gave an annotation was asked to answer its task again, and has not."""
    sent = aliased(Note)
    return sa.exists().where(
        sent.task_id == Annotation.task_id,
        sent.kind == "sent_back",
        sent.annotator_id == Annotation.annotator_id,
        sent.read_at.is_(None),
    )
