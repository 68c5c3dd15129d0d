"""What every page needs to know: the database, and who labels. One for the process, set before the app starts."""

import hashlib
from dataclasses import dataclass

import sqlalchemy as sa

LEASE_S = 1800
HELD_TASKS = 2
"""The task on screen, and the next one, so that it appears at once."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """One annotator at one database."""

    engine: sa.Engine
    annotator_id: int
    annotator: str
    reason: str | None
    """Only the part of the queue that this rule made; None for all."""

    @property
    def scope(self) -> str:
        """Names this database and annotator in the browser's storage."""
        return hashlib.sha256(f"{self.engine.url}/{self.annotator_id}".encode()).hexdigest()[:16]

    @property
    def fill_command(self) -> str:
        """The command that puts solutions into this queue."""
        url = self.engine.url.render_as_string(hide_password=True)
        return f"stepmark queue add --db '{url}' --source '*' --limit 100 --mode first_error"


_open: list[Workplace] = []


def open_workplace(workplace: Workplace) -> None:
    """Sets the workplace that the pages of this process use."""
    _open[:] = [workplace]


def current() -> Workplace:
    """The workplace of this process."""
    return _open[0]
