"""How a folder and the repositories that it knows stand to each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from stepmark.errors import InputError

from .folders import STATE, Kind, hashed, kind_of, read_contents, read_state
from .remote import Remote

Relation = Literal["same", "changed here", "changed there", "changed on both sides", "gone"]


@dataclass(frozen=True, slots=True)
class RepoStatus:
    """One repository of the folder."""

    url: str
    branch: str
    commit: str
    """The one that this folder was pushed as or pulled from."""
    head: str | None
    """Where the branch stands now; None: the repository is gone, or not to be seen."""
    relation: Relation
    changed_here: list[str]
    """Files here that differ from that commit."""


def status(folder: Path) -> list[RepoStatus]:
    """Compares a folder with each repository that it was pushed to or pulled from.

    Raises:
        InputError: The folder knows of none.
        JobError: The Hub cannot be reached.
    """
    state = read_state(folder)
    if not state:
        raise InputError(f"{folder} was neither pushed nor pulled (it has no {STATE}); `stepmark hub push` does")
    found = []
    for key, known in state.items():
        place, _, branch = key.rpartition("@")
        endpoint, kinds, owner, name = place.rsplit("/", 3)
        kind = cast(Kind, kinds.removesuffix("s"))
        remote = Remote(f"{owner}/{name}", kind, endpoint=endpoint)
        head = remote.head(branch)
        here = _changed_here(folder, kind, remote.repo_id, known.files)
        moved = head is not None and head.commit != known.commit
        relation: Relation = "gone" if head is None else "same"
        if here and moved:
            relation = "changed on both sides"
        elif moved:
            relation = "changed there"
        elif here and head is not None:
            relation = "changed here"
        found.append(
            RepoStatus(remote.url, branch, known.commit, None if head is None else head.commit, relation, here)
        )
    return found


def _changed_here(folder: Path, kind: Kind, repo_id: str, marks: dict[str, str]) -> list[str]:
    try:
        files = read_contents(folder, kind_of(folder), repo_id=repo_id).files
    except InputError:
        # Not complete, or changed by hand: each file by itself then.
        files = {path: hashed(folder / path) for path in marks if (folder / path).is_file()}
    differing = {path for path, file in files.items() if marks.get(path) not in (file.sha256, file.git_oid)}
    return sorted(differing | (set(marks) - set(files)))
