"""When will the work be done: a forecast from what was done on the days before, with its uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HORIZON_DAYS = 730
"""What lies farther away is said to be never."""
_DRAWS = 1000
_LEAST_DAYS = 3


@dataclass(frozen=True, slots=True)
class Forecast:
    """Days of work that are left."""

    days: int | None
    """Median; None where it is beyond the horizon, or unknown."""
    low: int | None
    """In one of ten futures like these days it is done by then."""
    high: int | None
    """In nine of ten; None: beyond the horizon."""
    because: str | None = None
    """Why there is no forecast."""


def forecast(done_by_day: Sequence[int], left: int, *, seed: int = 0) -> Forecast:
    """Forecasts how many days `left` pieces of work take, if the days to come are like those gone by.

    The days to come are drawn, with replacement, from the days gone by, idle ones among them; so an uneven pace
    makes a wide interval. What it cannot know: people who join or leave, and tasks that are added.

    Args:
        done_by_day: Pieces done on each of the last days, zeros included; the running day is better left out.
        left: Pieces to do.
        seed: Of the draws.

    >>> forecast([10, 10, 10, 10], 35)
    Forecast(days=4, low=4, high=4, because=None)
    >>> forecast([10], 35).because
    'the work of at least 3 days is needed; there is that of 1'
    """
    if left <= 0:
        return Forecast(0, 0, 0)
    if len(done_by_day) < _LEAST_DAYS:
        return Forecast(
            None,
            None,
            None,
            f"the work of at least {_LEAST_DAYS} days is needed; there is that of {len(done_by_day)}",
        )
    if not any(done_by_day):
        return Forecast(None, None, None, f"nothing was done in the last {len(done_by_day)} days")
    rng = np.random.default_rng(seed)
    drawn = rng.choice(np.asarray(done_by_day), size=(_DRAWS, HORIZON_DAYS)).cumsum(axis=1)
    days = np.where(drawn[:, -1] >= left, (drawn >= left).argmax(axis=1) + 1, HORIZON_DAYS + 1)
    low, middle, high = (int(np.ceil(value)) for value in np.percentile(days, [10, 50, 90]))
    return Forecast(
        middle if middle <= HORIZON_DAYS else None,
        low if low <= HORIZON_DAYS else None,
        high if high <= HORIZON_DAYS else None,
        None if middle <= HORIZON_DAYS else "at this pace it takes more than two years",
    )
