"""The stages of a longer job: what each cost, and what it read, kept and dropped."""

import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a stage took."""

    wall_s: float
    cpu_s: float
    """Of this process and of the processes it waited for."""


@dataclass(frozen=True, slots=True)
class StageCounts:
    """What went through a stage."""

    read: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Dropped rows by reason."""


@dataclass(slots=True)
class Stages:
    """Costs and counts by stage, in the order in which they ran."""

    costs: dict[str, StageCost] = field(default_factory=dict)
    counts: dict[str, StageCounts] = field(default_factory=dict)

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Measures what runs inside the block."""
        wall, cpu = time.perf_counter(), _cpu_s()
        yield
        self.costs[name] = StageCost(round(time.perf_counter() - wall, 2), round(_cpu_s() - cpu, 2))


def _cpu_s() -> float:
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
