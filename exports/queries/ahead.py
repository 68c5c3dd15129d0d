"""Reads a page of the database while the rows of the page before are made."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.orm import Session

from db.snapshots import ALONE

Item = TypeVar("Item")

_USUAL_SWITCH_S = sys.getswitchinterval()
_SWITCH_S = _USUAL_SWITCH_S / 10


def read_ahead(session: Session, items: Iterator[Item]) -> Iterator[Item]:
    """Yields what an iterator reads with a session, none of it None, and lets it find the next item meanwhile.

    The iterator runs in a thread, if the session is `ALONE`; else its items come one after the other.
    """
    if ALONE not in session.info:
        yield from items
        return
    with _soon_switching(), ThreadPoolExecutor(max_workers=1) as beside:
        coming = beside.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = beside.submit(next, items, None)
            yield item


@contextmanager
def _soon_switching() -> Iterator[None]:
    """Lets a thread that has little to do have Python's lock soon: reading a page takes it a dozen times."""
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(_USUAL_SWITCH_S)
