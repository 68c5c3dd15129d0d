"""Reads a page of the database while the rows of the page before are made, for sets that are read alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.orm import Session

Item = TypeVar("Item")


def read_ahead(session: Session, items: Iterator[Item]) -> Iterator[Item]:
    """Yields what an iterator reads with a session, none of it None, and lets it find the next item meanwhile.

    The iterator runs in a thread, so the session must be nobody else's. SQLite reads in this process, and would
    gain nothing by a thread: its items come one after the other.
    """
    if session.get_bind().dialect.name == "sqlite":
        yield from items
        return
    with ThreadPoolExecutor(max_workers=1) as beside:
        coming = beside.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = beside.submit(next, items, None)
            yield item
