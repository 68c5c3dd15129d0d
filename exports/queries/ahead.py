"""Finds the next item while its caller works on the one before."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

_USUAL_SWITCH_S = sys.getswitchinterval()
_SWITCH_S = _USUAL_SWITCH_S / 10


def read_ahead(items: Iterator[Item], *, is_beside: bool) -> Iterator[Item]:
    """Yields what an iterator finds, none of it None, and lets it find the next item meanwhile.

    Args:
        items: Finds them.
        is_beside: Let it run in a thread, which pays where one of both waits without Python's lock; it must then use
            nothing of the caller's. Else items come one after the other.
    """
    if not is_beside:
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
