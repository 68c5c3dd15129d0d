"""Runs the experiments into one folder, and writes their page; what is finished there is not run again."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepmark.errors import SettingsError
from stepmark.flows.demo import Watch, model_hash

from . import active, reward_models, rlaif, rounds, self_verifying
from .findings import Findings, markdown
from .kept import write_whole


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment by name."""

    name: str
    budget_cpu_s: int
    """What it may cost, written down before it was first run."""
    run: Callable[[Path, Watch], Findings]
    """Runs it into a folder of its own, which may hold what an interrupted run left."""


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment("self-verifying", 1200, self_verifying.run),
    Experiment("active", 1100, active.run),
    Experiment("rounds", 700, rounds.run),
    Experiment("reward-models", 950, reward_models.run),
    Experiment("rlaif", 100, rlaif.run),
)


def run_experiments(out: Path, *, only: Sequence[str] = (), watch: Watch) -> dict[str, Findings]:
    """Runs the experiments, or those named, into `out`, and writes the page and JSON of all that is there.

    Raises:
        SettingsError: A name that no experiment has.
        JobError: An experiment could not finish; run again, it goes on there.
    """
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    if unknown := [name for name in only if name not in known]:
        raise SettingsError(f"no experiment is called {', '.join(unknown)}; there are {', '.join(known)}")
    for name in only or known:
        if _read(out, name) is None:
            folder = out / name
            folder.mkdir(parents=True, exist_ok=True)
            findings = known[name].run(folder, watch)
            _write_indented(folder / "findings.json", {"model_sha256": model_hash(), **findings.as_json()})
    found = {name: kept for name in known if (kept := _read(out, name)) is not None}
    _write_indented(out / "results.json", {name: findings.as_json() for name, findings in found.items()})
    write_whole(out / "results.md", results_page(found))
    return found


def results_page(found: dict[str, Findings], *, images: str | None = None) -> str:
    """The page of all findings.

    Args:
        found: By experiment, in order.
        images: One place of all pictures, as the page links to it; None where each stands in its experiment's folder.
    """
    sections = [
        markdown(
            findings,
            command=f"stepmark demo --full --only {name}",
            images=f"{name}/" if images is None else images,
        )
        for name, findings in found.items()
    ]
    return "# Results\n\n" + "\n".join(sections)


def measured_rows(found: dict[str, Findings]) -> list[dict[str, Any]]:
    """The figures kept for comparison, of all experiments."""
    return [dataclasses.asdict(one) for findings in found.values() for one in findings.measured]


def _read(out: Path, name: str) -> Findings | None:
    file = out / name / "findings.json"
    if not file.exists():
        return None
    kept = json.loads(file.read_text(encoding="utf-8"))
    if kept.pop("model_sha256") != model_hash():
        raise SettingsError(
            f"{file} was found with another embedded model; remove {out / name}, or give another --out"
        )
    return Findings.from_json(kept)


def _write_indented(file: Path, content: dict[str, Any]) -> None:
    write_whole(file, json.dumps(content, indent=2) + "\n")
