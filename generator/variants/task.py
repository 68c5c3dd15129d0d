"""The task `variants`: works through the problems that lack some, in whatever way they are made.

Ways that ask a model run through `generator.asking.run_task`, the others through `make_variants` here: the same
task, the same counts, no engine.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.connect import writing
from db.runs import ProblemSelection
from db.variants import NewVariant, Parent, add_variants, count_parents, iterate_parents

from ..asking import Answer, Dropped, Report, Script


@dataclass(slots=True)
class Made:
    """What came of one problem."""

    variants: list[NewVariant] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """Wanted variants that there are none of, by reason."""


def asked_as(answer: Answer) -> dict[str, Any]:
    """What a variant's source row says of a sample that it was made from: the key of the row of `requests`."""
    return {"payload_hash": answer.payload_hash, "sample_index": answer.sample_index}


class Way(Protocol):
    """How the variants of a problem are made."""

    @property
    def kind(self) -> str:
        """What `Problem.kind` says of them."""
        ...

    def record(self) -> dict[str, Any]:
        """All that is needed to make the same again, beside engine and selection."""
        ...

    def work(self, parent: Parent, indices: Sequence[int]) -> Script[Made]:
        """Makes the variants of these numbers of one problem; the same problem and number give the same variant."""
        ...


@dataclass(frozen=True, slots=True)
class VariantsTask:
    """`n` variants of each original problem that has a reference answer."""

    way: Way
    n: int
    selection: ProblemSelection

    kind = "variants"
    unit = "problems"
    product = None

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it."""
        return {"kind": self.way.kind, **self.way.record(), "selection": asdict(self.selection), "n": self.n}

    def count(self, database: sa.Engine, run_id: int | None) -> int:
        """Problems that have fewer than `n`."""
        return count_parents(database, self.selection, kind=self.way.kind, n=self.n)

    def items(self, database: sa.Engine, run_id: int | None) -> Iterator[Sequence[Parent]]:
        """Problems that have fewer than `n`, in the order of their ids."""
        return iterate_parents(database, self.selection, kind=self.way.kind, n=self.n)

    def work(self, item: Parent) -> Script[Made]:
        """Makes what a problem lacks."""
        return self.way.work(item, [index for index in range(self.n) if index not in item.indices])

    def store(self, session: Session, run_id: int, results: Sequence[Made]) -> Mapping[str, int]:
        """Stores the variants; counts them, and those refused by reason."""
        variants = [variant for made in results for variant in made.variants]
        counts = add_variants(session, self.way.kind, variants)
        for made in results:
            counts.update({f"refused: {reason}": count for reason, count in made.refused.items()})
        return counts


def make_variants(
    database: sa.Engine, task: VariantsTask, *, on_progress: Callable[[Report], None] = lambda report: None
) -> Report:
    """Makes variants in a way that asks nothing: no engine, no run; each chunk of problems is stored at once.

    Returns:
        The counts. Ctrl-C is reported and not raised; the same call again makes what is missing.
    """
    report = Report(task.kind, task.unit, n_items=task.count(database, None))
    started_at = time.monotonic()
    try:
        for parents in task.items(database, None):
            results = []
            for parent in parents:
                made = _finish(task.work(parent))
                if isinstance(made, Dropped):
                    report.dropped[made.reason] += 1
                else:
                    results.append(made)
            with writing(database) as session:
                counts = task.store(session, 0, results)
            report.counts.update(counts)
            report.n_items_done += len(results)
            report.elapsed_s = time.monotonic() - started_at
            on_progress(report)
        report.status = "done"
    except KeyboardInterrupt:
        report.status = "stopped"
    return report


def _finish(script: Script[Made]) -> Made | Dropped:
    try:
        next(script)
    except StopIteration as end:
        made: Made | Dropped = end.value
        return made
    raise AssertionError("this way of making variants asks a model; give run_task an engine")
