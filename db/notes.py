"""Words from one person to another about their work: sent-back tasks, feedback, messages.

A task is sent back by a note of kind `sent_back` to whoever answered it. It is theirs to answer again until they do,
which marks the note as read (`db.tasks`); their answer stays and counts until then, and nobody else is given the task
for it.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from .connect import reading, writing
from .models import NOTE_KINDS, Annotation, Annotator, Event, Note
from .schema import utc_now

LONGEST = 5000


@dataclass(frozen=True, slots=True)
class NoteRow:
    """A note as its reader sees it."""

    note_id: int
    kind: str
    author: str
    task_id: int | None
    text: str
    created_at: dt.datetime
    is_unread: bool


def write_note(
    engine: sa.Engine, *, kind: str, to_id: int, author_id: int, text: str, task_id: int | None = None
) -> int:
    """Writes a note; returns its id.

    Raises:
        InputError: The kind is unknown, the text is empty or too long.
    """
    with writing(engine) as session:
        return add_note(session, kind=kind, to_id=to_id, author_id=author_id, text=text, task_id=task_id)


def add_note(session: Session, *, kind: str, to_id: int, author_id: int, text: str, task_id: int | None) -> int:
    """As `write_note`, within a session."""
    if kind not in NOTE_KINDS:
        raise InputError(f"note kind is {kind!r}; use one of {', '.join(NOTE_KINDS)}")
    text = text.strip()
    if not text or len(text) > LONGEST:
        raise InputError(f"the note has {len(text)} characters; write 1 to {LONGEST}")
    note = Note(kind=kind, annotator_id=to_id, author_id=author_id, task_id=task_id, text=text)
    session.add(note)
    session.flush()
    return note.note_id


def send_back(engine: sa.Engine, *, task_id: int, annotator_ids: Sequence[int], author_id: int, text: str) -> int:
    """Asks annotators to look at their answers to a task again; returns how many were asked.

    Their answers stay until they correct them. Whoever has not answered the task is passed over.

    Raises:
        InputError: The text is empty, or nobody of them has answered the task.
    """
    with writing(engine) as session:
        answered = session.scalars(
            sa.select(Annotation.annotator_id).where(
                Annotation.task_id == task_id,
                Annotation.annotator_id.in_(annotator_ids),
                Annotation.superseded_by_id.is_(None),
            )
        ).all()
        if not answered:
            raise InputError(f"none of them has answered task {task_id}, so nothing can be sent back")
        for annotator_id in answered:
            add_note(session, kind="sent_back", to_id=annotator_id, author_id=author_id, text=text, task_id=task_id)
            session.add(Event(kind="sent_back", annotator_id=annotator_id, task_id=task_id, data={"by": author_id}))
        return len(answered)


def list_notes(engine: sa.Engine, annotator_id: int, *, n: int = 100) -> list[NoteRow]:
    """An annotator's notes, unread ones first, then the newest."""
    with reading(engine) as session:
        return [
            NoteRow(note.note_id, note.kind, author, note.task_id, note.text, note.created_at, note.read_at is None)
            for note, author in session.execute(
                sa.select(Note, Annotator.name)
                .join(Annotator, Annotator.annotator_id == Note.author_id)
                .where(Note.annotator_id == annotator_id)
                .order_by(Note.read_at.is_(None).desc(), Note.note_id.desc())
                .limit(n)
            )
        ]


def unread_counts(engine: sa.Engine, annotator_id: int) -> Mapping[str, int]:
    """How many unread notes an annotator has, by kind."""
    with reading(engine) as session:
        return {
            kind: count
            for kind, count in session.execute(
                sa.select(Note.kind, sa.func.count())
                .where(Note.annotator_id == annotator_id, Note.read_at.is_(None))
                .group_by(Note.kind)
            )
        }


def mark_read(engine: sa.Engine, annotator_id: int, note_ids: Sequence[int]) -> int:
    """Marks notes of an annotator as read; returns how many were unread.

    Those that send a task back stay unread until it is answered again.
    """
    with writing(engine) as session:
        changed = session.scalars(
            sa.update(Note)
            .where(
                Note.annotator_id == annotator_id,
                Note.note_id.in_(note_ids),
                Note.kind != "sent_back",
                Note.read_at.is_(None),
            )
            .values(read_at=utc_now())
            .returning(Note.note_id)
            .execution_options(synchronize_session=False)
        ).all()
        return len(changed)
