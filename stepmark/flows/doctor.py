"""Health of an installation: whose modules answer to our names, what is installed, what the database says."""

import importlib.metadata
import importlib.util
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from stepmark.errors import SandboxUnavailable, StepmarkError
from stepmark.sandbox import check_sandbox

PACKAGES = ("stepmark", "db", "generator", "annotator", "exports", "trainer")
"""Our top-level import names."""

EXTRAS = {
    "vllm": ("vllm",),
    "ray": ("ray",),
    "hub": ("datasets", "huggingface-hub"),
    "peft": ("peft", "accelerate"),
}
"""Optional extras and the distributions each brings."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    name: str
    is_ok: bool
    detail: str
    """What was found; where it is not well, what to do."""
    is_required: bool = True
    """Whether stepmark works without it."""


def examine(database_url: str, *, root: Path | None = None) -> list[Finding]:
    """Checks names, versions, extras, tools and the database; it changes nothing.

    Args:
        database_url: The database to look at.
        root: The folder that should hold our packages; where this file stands, if not given.
    """
    root = root or Path(__file__).resolve().parents[2]
    findings = [_name_is_ours(name, root) for name in PACKAGES]
    findings.append(Finding("python", sys.version_info >= (3, 11), platform.python_version()))
    findings += [_distribution(name) for name in ("torch", "transformers", "streamlit", "sqlalchemy", "math-verify")]
    for extra, names in EXTRAS.items():
        missing = [name for name in names if not _distribution(name).is_ok]
        detail = f"missing {', '.join(missing)}: pip install 'stepmark[{extra}]'" if missing else "installed"
        findings.append(Finding(f"extra {extra}", not missing, detail, is_required=False))
    findings.append(_gpu())
    findings.append(_sandbox())
    findings.append(_database(database_url))
    return findings


def _name_is_ours(name: str, root: Path) -> Finding:
    found = importlib.util.find_spec(name)
    places = list(found.submodule_search_locations or []) if found else []
    rivals = [place for place in places if Path(place).resolve() != root / name]
    if found is None:
        return Finding(f"package {name}", False, f"not found; {root} is not on Python's path")
    if rivals:
        return Finding(
            f"package {name}", False, f"{rivals[0]} answers to this name; uninstall it, or put {root} first"
        )
    return Finding(f"package {name}", True, str(root / name))


def _distribution(name: str) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "not installed")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("gpu", True, torch.cuda.get_device_name(0), is_required=False)
    return Finding("gpu", False, "none; training and scoring use the CPU", is_required=False)


def _sandbox() -> Finding:
    try:
        check_sandbox()
    except SandboxUnavailable as err:
        return Finding("sandbox", False, str(err), is_required=False)
    return Finding("sandbox", True, "a program ran in bubblewrap", is_required=False)


def _database(url: str) -> Finding:
    from db.connect import open_database

    try:
        engine = open_database(url)
    except StepmarkError as err:
        return Finding("database", False, str(err), is_required=False)
    shown = engine.url.render_as_string()
    engine.dispose()
    return Finding("database", True, shown, is_required=False)
