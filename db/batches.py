"""The ledger of batches: what was handed to a batch service, so that it is neither forgotten nor asked again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .connect import reading, writing
from .models import Batch, Request
from .schema import utc_now

SUBMITTING = "submitting"
"""Status of a batch that the service was about to be asked for; its key is then our own marker."""
ENDED = ("completed", "failed", "expired", "cancelled")
"""Statuses after which no answer is added."""
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class KnownBatch:
    """A batch of which answers may still be wanted."""

    batch_key: str
    """The service's name of it; our marker while it is `SUBMITTING`."""
    status: str
    asked: dict[str, list[int]]
    """Sample indices by payload hash: those wanted of it; once it was read, those that it has answers for."""
    age_s: float
    """Since it was written down."""


class BatchLedger:
    """The table `batches`, for one endpoint at a time."""

    def __init__(self, database: sa.Engine) -> None:
        self._database = database
        self.under_way: dict[str, str] = {}
        """What the service last said of the batches that this process waits for, in words."""

    def open_batches(self, endpoint: str) -> list[KnownBatch]:
        """The batches that may hold answers not stored yet, in the order they were made."""
        self.close_stored(endpoint)
        query = sa.select(Batch.batch_key, Batch.status, Batch.asked, Batch.created_at, utc_now())
        query = query.where(Batch.endpoint == endpoint, Batch.is_open).order_by(Batch.batch_id)
        with reading(self._database) as session:
            rows = session.execute(query).all()
        return [
            KnownBatch(batch_key, status, asked, (now - created_at).total_seconds())
            for batch_key, status, asked, created_at, now in rows
        ]

    def add(self, endpoint: str, marker: str, asked: Mapping[str, Sequence[int]]) -> None:
        """Writes down a batch that the service is about to be asked for."""
        rows = {payload: list(indices) for payload, indices in asked.items()}
        with writing(self._database) as session:
            session.add(Batch(endpoint=endpoint, batch_key=marker, status=SUBMITTING, asked=rows))
        self.under_way[marker] = "being handed over"

    def name(self, endpoint: str, marker: str, batch_key: str) -> None:
        """Puts the service's name of a batch in the place of our marker."""
        self._update(endpoint, marker, batch_key=batch_key, status="validating")
        self.under_way.pop(marker, None)
        self.under_way[batch_key] = "validating"

    def saw(self, endpoint: str, batch_key: str, status: str, progress: str) -> None:
        """Takes note of what the service says of a batch."""
        if self.under_way.get(batch_key, "").partition(" ")[0] != status:
            self._update(endpoint, batch_key, status=status)
        self.under_way[batch_key] = f"{status} {progress}".rstrip()

    def end(self, endpoint: str, batch_key: str, status: str, answered: Mapping[str, Sequence[int]]) -> None:
        """Takes note that a batch brings nothing more, and of what it has answers for.

        It stays open until those are stored: a process that dies before finds them again at the service.
        """
        values: dict[str, Any] = {"asked": {payload: list(indices) for payload, indices in answered.items()}}
        if not answered:
            values["is_open"] = False
        self._update(endpoint, batch_key, status=status, finished_at=utc_now(), **values)
        self.under_way.pop(batch_key, None)

    def close_stored(self, endpoint: str) -> None:
        """Closes the batches that have ended and of which every answer is stored."""
        query = sa.select(Batch.batch_id, Batch.asked)
        query = query.where(Batch.endpoint == endpoint, Batch.is_open, Batch.finished_at.is_not(None))
        with reading(self._database) as session:
            stored = [batch_id for batch_id, asked in session.execute(query).all() if _is_stored(session, asked)]
        if stored:
            with writing(self._database) as session:
                session.execute(sa.update(Batch).where(Batch.batch_id.in_(stored)).values(is_open=False))

    def _update(self, endpoint: str, old_key: str, **values: Any) -> None:
        with writing(self._database) as session:
            session.execute(
                sa.update(Batch).where(Batch.endpoint == endpoint, Batch.batch_key == old_key).values(**values)
            )


def _is_stored(session: Session, asked: Mapping[str, Sequence[int]]) -> bool:
    query = sa.select(Request.payload_hash, Request.sample_index).where(Request.status == "done")
    payloads = list(asked)
    for start in range(0, len(payloads), _CHUNK):
        chunk = payloads[start : start + _CHUNK]
        found = {tuple(row) for row in session.execute(query.where(Request.payload_hash.in_(chunk)))}
        if any((payload, index) not in found for payload in chunk for index in asked[payload]):
            return False
    return True
