"""How long work reports its progress, without knowing who shows it."""

from typing import Protocol


class Progress(Protocol):
    """Receives how far a piece of work is; a command draws a bar from it, a test records it."""

    def __call__(self, done: int, total: int | None, note: str = "") -> None:
        """Called now and then.

        Args:
            done: Items finished so far.
            total: Items in all; None where unknown.
            note: A few words on the state: rate, errors.
        """


def silent(done: int, total: int | None, note: str = "") -> None:
    """A progress that nobody watches."""
