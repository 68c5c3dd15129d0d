"""The stages of a longer job: what each cost, and what it read, kept and dropped."""

import json
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path


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
        """Measures what runs inside the block, also when it is interrupted."""
        wall, cpu = time.perf_counter(), _cpu_s()
        try:
            yield
        finally:
            self.costs[name] = StageCost(round(time.perf_counter() - wall, 2), round(_cpu_s() - cpu, 2))

    def joined_with(self, note: Path) -> "Stages":
        """Joins these stages with those of earlier runs of the same job, kept in `note`, and keeps the sum there.

        Costs add up; of the counts those of the run that kept the most stand, since a run that only finds everything
        done reads nothing.
        """
        joined = Stages(dict(self.costs), dict(self.counts))
        if note.exists():
            before = json.loads(note.read_text(encoding="utf-8"))
            for name, cost in before["costs"].items():
                now = self.costs.get(name, StageCost(0.0, 0.0))
                joined.costs[name] = StageCost(
                    round(cost["wall_s"] + now.wall_s, 2), round(cost["cpu_s"] + now.cpu_s, 2)
                )
            for name, counts in before["counts"].items():
                if name not in joined.counts or counts["kept"] > joined.counts[name].kept:
                    joined.counts[name] = StageCounts(**counts)
        kept = {
            "costs": {name: asdict(cost) for name, cost in joined.costs.items()},
            "counts": {
                name: {"read": c.read, "kept": c.kept, "dropped": dict(c.dropped)}
                for name, c in joined.counts.items()
            },
        }
        note.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        return joined


def _cpu_s() -> float:
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
