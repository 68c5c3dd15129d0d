"""Counting wrong passwords by what the database has no row for: addresses of clients, and names of nobody.

The counts are this process's alone and end with it: several processes of one app allow as many times more. What
protects an account is the count in its own row.
"""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from db.passwords import wait_after

_KEPT = 10_000
"""Keys that are remembered; the one used longest ago is forgotten first."""
_FORGOTTEN_AFTER_S = 3600.0


class Throttle:
    """Failures by key, each with a wait that grows; safe in threads."""

    def __init__(self, n_free: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._n_free = n_free
        self._clock = clock
        self._counts: OrderedDict[str, tuple[int, float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, key: str) -> int:
        """Counts a try as a wrong one before it is looked at; returns seconds to wait, and counts nothing, if any."""
        now = self._clock()
        with self._lock:
            n, until, last = self._counts.pop(key, (0, now, now))
            if now - last > _FORGOTTEN_AFTER_S:
                n = 0
            wait_s = until - now
            if wait_s <= 0:
                n, until, last = n + 1, now + wait_after(n + 1, n_free=self._n_free), now
            self._counts[key] = (n, until, last)
            while len(self._counts) > _KEPT:
                self._counts.popitem(last=False)
        return 0 if wait_s <= 0 else int(wait_s) + 1

    def take_back(self, key: str) -> None:
        """Takes a try back that was right after all; earlier wrong ones still count."""
        with self._lock:
            n, _until, last = self._counts.pop(key, (1, 0.0, 0.0))
            if n > 1:
                self._counts[key] = (n - 1, self._clock(), last)


def network_of(address: str | None) -> str:
    """What is counted as one client: an IPv4 address, or the 64 bits that a provider hands to one customer.

    >>> network_of("192.0.2.7"), network_of("2001:db8::1:2"), network_of(None)
    ('192.0.2.7', '2001:db8::/64', 'unknown')
    """
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)
