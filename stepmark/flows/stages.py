"""The stages of a longer job: what each cost, what it read, kept and dropped, and how it goes on in its folder."""

import json
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from generator.asking import Report
from stepmark.errors import JobError, SettingsError


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
        """Measures what runs inside the block, also when it is interrupted; blocks of one name add up."""
        wall, cpu = time.perf_counter(), _cpu_s()
        try:
            yield
        finally:
            before = self.costs.get(name, StageCost(0.0, 0.0))
            wall, cpu = time.perf_counter() - wall, _cpu_s() - cpu
            self.costs[name] = StageCost(round(before.wall_s + wall, 2), round(before.cpu_s + cpu, 2))

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


def claim_folder(note: Path, this: Mapping[str, Any], *, job: str) -> None:
    """Notes what the job in the note's folder is, or makes sure that it is this one.

    Args:
        note: The file; written where it is not there yet.
        this: What tells the job from others, as JSON takes it.
        job: What the job is called, with its article.

    Raises:
        SettingsError: The folder holds another one.
    """
    if not note.exists():
        note.write_text(json.dumps(this, indent=2) + "\n", encoding="utf-8")
    elif json.loads(note.read_text(encoding="utf-8")) != json.loads(json.dumps(this)):
        raise SettingsError(f"{note.parent} holds {job} of another plan or model; remove it, or give another --out")


def require_done(report: Report, doing: str, *, then: str) -> None:
    """Makes sure that a run of the generator got to its end.

    Args:
        report: What it did.
        doing: What it was to do, such as `sampling the fixed set`.
        then: What to do where it did not.

    Raises:
        KeyboardInterrupt: It was stopped by Ctrl-C.
        JobError: It ended before.
    """
    if report.status == "stopped":
        raise KeyboardInterrupt
    if report.status != "done":
        raise JobError(f"{doing} {report.status}: {report.message}. {then}")


def _cpu_s() -> float:
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
