"""A set or a model from the Hub: fetched beside what is there, checked, and put in place when all of it came."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exports.formats.files import disk_errors
from exports.formats.manifest import NAME, Manifest, parse_manifest, read_manifest
from stepmark.errors import InputError, JobError, SettingsError
from stepmark.progress import Progress, silent

from .folders import (
    MODEL,
    README,
    STAGING,
    Kind,
    Known,
    LocalFile,
    hashed,
    model_file,
    read_state,
    repo_key,
    write_state,
)
from .remote import Remote, RemoteFile

_PART = re.compile(r"[^\\/:\0]+")


@dataclass(slots=True)
class PullPlan:
    """What a pull will do; nothing is done yet."""

    folder: str
    kind: Kind
    repo_id: str
    url: str
    revision: str
    commit: str
    fetched: dict[str, int]
    """Files to fetch, with their bytes."""
    unchanged: list[str]
    removed: list[str]
    """Files here that an earlier revision brought and this one has not."""
    configs: dict[str, dict[str, int]] = field(default_factory=dict)
    """Rows of each split of each config of a set."""
    sha256: dict[str, str] = field(default_factory=dict, repr=False)
    """By the manifest of a set."""
    there: dict[str, RemoteFile] = field(default_factory=dict, repr=False)

    @property
    def n_bytes(self) -> int:
        """Bytes of the files to fetch."""
        return sum(self.fetched.values())


@dataclass(slots=True)
class PullReport:
    """What a pull did."""

    folder: str
    url: str
    commit: str
    n_fetched: int
    n_bytes: int
    n_unchanged: int
    n_removed: int


def plan_pull(
    repo_id: str,
    folder: Path,
    *,
    kind: Kind = "dataset",
    revision: str = "main",
    overwrite: bool = False,
    endpoint: str | None = None,
) -> PullPlan:
    """Looks at repository and folder, and says what a pull would do.

    Args:
        repo_id: `owner/name`.
        folder: Where it goes; an earlier revision there becomes this one.
        kind: `dataset` or `model`.
        revision: A branch, a tag or a commit.
        overwrite: Replace files here that did not come from there, or were changed since.
        endpoint: Another Hub than the client's own settings say.

    Raises:
        UserError: There is no such repository, it holds no set of stepmark's, or files here would be lost.
        JobError: The Hub cannot be reached, or failed.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is a file; give a folder")
    remote = Remote(repo_id, kind, endpoint=endpoint).of_user()
    head = remote.head(revision)
    if head is None:
        raise SettingsError(
            f"there is no {kind} {remote.repo_id} on {remote.endpoint}, or it is private and this token may not see "
            "it; check its name, --type and HF_TOKEN"
        )
    there = remote.tree(head.commit)
    wanted, manifest = _wanted(remote, head.commit, there)
    known = (
        read_state(folder).get(repo_key(remote.endpoint, kind, remote.repo_id, revision)) if folder.exists() else None
    )
    local = {path: hashed(folder / path) for path in wanted if (folder / path).is_file()}
    if MODEL in local and kind == "model":
        local[MODEL] = model_file(folder)  # as it was sent
    fetched = {path: there[path].size for path in wanted if path not in local or not there[path].holds(local[path])}
    removed = _removed(folder, wanted, known)
    plan = PullPlan(
        folder=str(folder),
        kind=kind,
        repo_id=remote.repo_id,
        url=remote.url,
        revision=revision,
        commit=head.commit,
        fetched=fetched,
        unchanged=[path for path in wanted if path not in fetched],
        removed=removed,
        there={path: there[path] for path in wanted},
    )
    if manifest is not None:
        plan.configs = {name: entry.rows_by_split for name, entry in sorted(manifest.configs.items())}
        plan.sha256 = {entry.path: entry.sha256 for entry in manifest.files()}
    lost = [path for path in (*fetched, *removed) if _is_lost(folder / path, local.get(path), known, path)]
    if lost and not overwrite:
        raise SettingsError(
            f"{folder} holds {len(lost)} files that did not come from {remote.url}, or were changed since: "
            f"{', '.join(sorted(lost)[:3])}. Pull into another folder, or replace them with --overwrite."
        )
    return plan


def pull(plan: PullPlan, *, endpoint: str | None = None, progress: Progress = silent) -> PullReport:
    """Does what was planned. Until everything has come and is as it should be, the folder stays as it was.

    A pull that was cut goes on when it is planned and done again.

    Raises:
        InputError: A file there is not what the manifest says.
        JobError: The Hub cannot be reached, or failed; or the disk cannot be written.
        LimitReached: The disk is full.
    """
    folder = Path(plan.folder)
    staging = folder / STAGING
    remote = Remote(plan.repo_id, plan.kind, endpoint=endpoint)
    bar = _bar(plan.n_bytes, progress)
    with disk_errors(folder):
        staging.mkdir(parents=True, exist_ok=True)
    for path in plan.fetched:
        with disk_errors(folder):
            _fetch(remote, plan, path, staging, bar)
    with disk_errors(folder):
        _put_in_place(folder, staging, plan)
    marks = {path: file.mark for path, file in plan.there.items()}
    write_state(folder, repo_key(remote.endpoint, plan.kind, plan.repo_id, plan.revision), Known(plan.commit, marks))
    return PullReport(
        folder=plan.folder,
        url=plan.url,
        commit=plan.commit,
        n_fetched=len(plan.fetched),
        n_bytes=plan.n_bytes,
        n_unchanged=len(plan.unchanged),
        n_removed=len(plan.removed),
    )


def _wanted(remote: Remote, commit: str, there: Mapping[str, RemoteFile]) -> tuple[list[str], Manifest | None]:
    """The files to have, the one that makes the folder complete last."""
    if remote.kind == "model":
        if MODEL not in there:
            raise InputError(
                f"{remote.url} holds no {MODEL}: it is no reward model of stepmark's; load it by its name"
            )
        for path in there:
            if not all(_PART.fullmatch(part) and part not in (".", "..") for part in path.split("/")):
                raise InputError(f"{remote.url} holds a file named {path!r}, which is no path to write to")
        names = [path for path in there if not any(part.startswith(".") for part in path.split("/"))]
        return sorted(names, key=lambda path: (path == MODEL, path)), None
    if NAME not in there:
        raise InputError(
            f"{remote.url} holds no {NAME}: it is no set of stepmark's. Load it with `datasets`, or import it."
        )
    try:
        manifest = parse_manifest(remote.read(NAME, commit))
    except ValueError as err:
        raise InputError(f"{remote.url}: its {NAME} is no manifest of an exported set ({err})") from err
    entries = manifest.files()
    for entry in entries:
        if entry.path not in there:
            raise InputError(f"{remote.url} lacks {entry.path}, which its {NAME} names; it was not pushed whole")
        if there[entry.path].size != entry.bytes or there[entry.path].sha256 not in (None, entry.sha256):
            raise InputError(_not_as_told(remote.url, entry.path))
    return [*(entry.path for entry in entries), *([README] if README in there else []), NAME], manifest


def _not_as_told(url: str, path: str) -> str:
    return (
        f"{url}: {path} is not what {NAME} says (size or SHA-256 differs): somebody changed it there. Pull an "
        "earlier revision, or have the set pushed again."
    )


def _removed(folder: Path, wanted: list[str], known: Known | None) -> list[str]:
    """Files here that an earlier revision named, and this one does not."""
    before = set(known.files) if known else set()
    if (folder / NAME).is_file():
        manifest = read_manifest(folder)
        before |= {entry.path for entry in manifest.files()} if manifest else set()
    return sorted(path for path in before - set(wanted) if (folder / path).is_file())


def _is_lost(path: Path, local: LocalFile | None, known: Known | None, name: str) -> bool:
    """Whether replacing or removing it would lose what is nowhere else."""
    if not path.is_file():
        return False
    file = local or hashed(path)
    return known is None or known.files.get(name) not in (file.sha256, file.git_oid)


def _fetch(remote: Remote, plan: PullPlan, path: str, staging: Path, bar: type[Any]) -> None:
    """Fetches a file; one that came damaged is fetched once more."""
    for is_second in (False, True):
        found = hashed(remote.download(path, plan.commit, staging, bar=bar, is_forced=is_second))
        if plan.there[path].holds(found):
            if plan.sha256.get(path) not in (None, found.sha256):
                raise InputError(_not_as_told(plan.url, path))
            return
    raise JobError(f"{path} came twice from {plan.url} with another hash than the Hub tells; try again later")


def _put_in_place(folder: Path, staging: Path, plan: PullPlan) -> None:
    """Moves what came; without its manifest the folder is no set, should this be cut short."""
    last = NAME if plan.kind == "dataset" else MODEL
    if last in plan.fetched:
        (folder / last).unlink(missing_ok=True)
    for path in plan.removed:
        (folder / path).unlink()
    for path in sorted(plan.fetched, key=lambda path: path == last):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / path).replace(target)
    shutil.rmtree(staging)
    for path in plan.removed:
        parent = (folder / path).parent
        if parent != folder and parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def _bar(total: int, progress: Progress) -> type[Any]:
    """A class that the client takes for a bar, and that tells the bytes of all files together."""
    from tqdm import tqdm

    done = n_files = 0

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            nonlocal done, n_files
            n_files += 1
            done += int(options.get("initial") or 0)
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal done
            done += int(n or 0)
            progress(done, total, f"file {n_files}")
            return None

    return Bar
