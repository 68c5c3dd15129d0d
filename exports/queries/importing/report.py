"""What an import says in the end: rows read, kept and dropped, by reason."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from stepmark.errors import InputError

from ..sources import BadRow

_SHOWN = 10


@dataclass(slots=True)
class ImportReport:
    """What became of the rows of one file."""

    path: str
    source: str
    n_read: int = 0
    n_kept: int = 0
    """Rows that brought something new: a problem, a finding of one, a solution, an outcome, a label, ..."""
    n_already_there: int = 0
    """Rows of which every part was in the database."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows left out, by reason."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Parts of rows that no table takes, by reason; what they say stands in an extra."""
    stored: Counter[str] = field(default_factory=Counter)
    """Rows added, by table; and `outcomes` learnt, `references_filled`, `references_differ`, `families_joined`,
    `annotations_superseded`."""
    first_bad: list[str] = field(default_factory=list)
    """Messages of the first rows left out."""

    def drop(self, bad: BadRow, *, skip_bad: bool) -> None:
        """Counts a row that cannot be taken.

        Raises:
            InputError: Such rows are not to be skipped.
        """
        message = f"{self.path}, line {bad.line}: {bad.message}"
        if not skip_bad:
            raise InputError(
                f"{message}. Nothing of the file was imported: correct it, or leave such rows out with --skip-bad."
            )
        self.dropped[bad.reason] += 1
        if len(self.first_bad) < _SHOWN:
            self.first_bad.append(message)

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "path": self.path,
            "source": self.source,
            "n_read": self.n_read,
            "n_kept": self.n_kept,
            "n_already_there": self.n_already_there,
            "dropped": dict(self.dropped),
            "left_out": dict(self.left_out),
            "stored": dict(self.stored),
            "first_bad": self.first_bad,
        }
