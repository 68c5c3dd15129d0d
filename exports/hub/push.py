"""A folder to the Hub: what differs is sent, in one commit on top of the one that this folder comes from."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from exports.formats.manifest import NAME, parse_manifest
from stepmark.errors import JobError, SettingsError
from stepmark.progress import Progress, silent

from .folders import (
    Contents,
    Kind,
    Known,
    kind_of,
    names_of_annotators,
    read_contents,
    read_state,
    repo_key,
    write_cards,
    write_state,
)
from .remote import Head, ParentMoved, Remote, RemoteFile

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

What = Literal["new", "changed", "unchanged", "removed"]

_OF_THE_HUB = {".gitattributes"}
"""What a new repository holds."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a file there."""

    path: str
    what: What
    bytes: int


@dataclass(slots=True)
class PushPlan:
    """What a push will do; nothing is done yet."""

    folder: str
    kind: Kind
    repo_id: str
    url: str
    branch: str
    user: str
    """Whose token it is."""
    is_new: bool
    """The repository is made."""
    is_new_branch: bool
    is_private: bool
    parent: str | None
    """The commit that this one stands on; None where there is none yet."""
    changes: list[Change]
    configs: dict[str, dict[str, int]]
    """Rows of each split of each config of a set."""
    licences: list[str]
    annotator_names: list[str]
    """Where the set names who labelled; empty: nowhere."""
    notes: list[str] = field(default_factory=list)
    """What else one should know before it is sent."""
    contents: Contents | None = field(default=None, repr=False)

    @property
    def sent(self) -> list[Change]:
        """The files that are sent."""
        return [change for change in self.changes if change.what in ("new", "changed")]

    @property
    def n_bytes(self) -> int:
        """Bytes of the files that are sent; what the Hub holds already by its hash is not sent again."""
        return sum(change.bytes for change in self.sent)

    @property
    def is_empty(self) -> bool:
        """Whether the repository holds all of it already."""
        return all(change.what == "unchanged" for change in self.changes) and not self.is_new


@dataclass(slots=True)
class PushReport:
    """What a push did."""

    url: str
    branch: str
    commit: str
    """The branch's head, which is this folder."""
    n_sent: int
    n_bytes: int
    n_unchanged: int
    n_removed: int


def plan_push(
    folder: Path,
    repo_id: str,
    *,
    kind: Kind | None = None,
    branch: str = "main",
    is_public: bool = False,
    overwrite: bool = False,
    about: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
) -> PushPlan:
    """Looks at folder and repository, and says what a push would do.

    Args:
        folder: A set that was exported or pulled, or a trained model.
        repo_id: `owner/name`; without an owner the token's.
        kind: `dataset` or `model`; None: what the folder is.
        branch: Where the commit goes; one that is not there is made from main.
        is_public: A repository that is made is public; otherwise it is private.
        overwrite: Push over a revision that this folder does not come from.
        about: `language` and `pretty_name` for the card of a set.
        endpoint: Another Hub than the client's own settings say.

    Raises:
        UserError: The folder is not complete, the repository has a revision that the folder does not come from,
            or the Hub refuses the token.
        JobError: The Hub cannot be reached, or failed.
    """
    found = kind_of(folder)
    if kind is not None and kind != found:
        raise SettingsError(f"{folder} is a {found}, not a {kind}; leave --type out, or give another folder")
    remote = Remote(repo_id, found, endpoint=endpoint)
    user = remote.user()
    if "/" not in repo_id:
        remote = Remote(f"{user}/{repo_id}", found, endpoint=endpoint)
    contents = read_contents(folder, found, repo_id=remote.repo_id, about=about)
    state = read_state(folder)
    is_new, is_new_branch, head = _where(remote, branch)
    if head is not None and is_public and head.is_private:
        raise SettingsError(
            f"{remote.url} is there already and private; --public is for one that is made. Change it on its page."
        )
    there = {} if head is None else remote.tree(head.commit)
    known = state.get(repo_key(remote.endpoint, found, remote.repo_id, branch))
    changes = _changes(contents, there, _ours(remote, head, there, contents, known))
    plan = PushPlan(
        folder=str(folder),
        kind=found,
        repo_id=remote.repo_id,
        url=remote.url,
        branch=branch,
        user=user,
        is_new=is_new,
        is_new_branch=is_new_branch,
        is_private=not is_public if head is None else head.is_private,
        parent=None if head is None else head.commit,
        changes=changes,
        configs={} if contents.manifest is None else {
            name: entry.rows_by_split for name, entry in sorted(contents.manifest.configs.items())
        },
        licences=_licences(contents),
        annotator_names=[] if contents.manifest is None else names_of_annotators(contents.manifest),
        notes=_notes(contents),
        contents=contents,
    )  # fmt: skip
    prefix = repo_key(remote.endpoint, found, remote.repo_id, "")
    commits = {one.commit for key, one in state.items() if key.startswith(prefix)}
    if head is not None and not plan.is_empty and not is_new_branch and not set(there) <= _OF_THE_HUB:
        if head.commit not in commits and not overwrite:
            raise SettingsError(_newer(plan, head, known))
        if head.commit not in commits:
            plan.notes.append(f"this folder does not come from what is there ({head.commit[:8]}); it is overwritten")
    return plan


def push(
    plan: PushPlan, *, message: str | None = None, endpoint: str | None = None, progress: Progress = silent
) -> PushReport:
    """Does what was planned: makes the repository, sends what differs, commits once, and looks whether it is there.

    A push that was cut goes on when it is planned and done again: files that arrived are not sent twice.

    Raises:
        ParentMoved: Somebody committed since it was planned; nothing was changed.
        JobError: The Hub cannot be reached, or failed.
        LimitReached: Too many requests, or the account's storage.
    """
    contents = plan.contents
    assert contents is not None
    folder = Path(plan.folder)
    remote = Remote(plan.repo_id, plan.kind, endpoint=endpoint)
    write_cards(folder, contents)
    head = plan.parent
    if plan.is_new or plan.is_new_branch:
        head = _prepared(remote, plan)
    assert head is not None
    if not plan.is_empty:
        head = _committed(remote, plan, contents, parent=head, message=message, progress=progress)
        _check_arrived(remote, contents, remote.tree(head), head)
    marks = {path: file.mark for path, file in remote.tree(head).items() if path in contents.files}
    key = repo_key(remote.endpoint, plan.kind, plan.repo_id, plan.branch)
    write_state(folder, key, Known(head, marks))
    counts = {what: sum(change.what == what for change in plan.changes) for what in ("unchanged", "removed")}
    return PushReport(
        url=remote.url,
        branch=plan.branch,
        commit=head,
        n_sent=len(plan.sent),
        n_bytes=plan.n_bytes,
        n_unchanged=counts["unchanged"],
        n_removed=counts["removed"],
    )


def _where(remote: Remote, branch: str) -> tuple[bool, bool, Head | None]:
    """Whether the repository, and the branch, are to be made; and what the branch starts from."""
    main = remote.head()
    if main is None:
        return True, branch != "main", None
    if branch == "main":
        return False, False, main
    if branch not in remote.branches():
        return False, True, main
    return False, False, remote.head(branch)


def _ours(
    remote: Remote, head: Head | None, there: Mapping[str, RemoteFile], contents: Contents, known: Known | None
) -> set[str]:
    """Files of the repository that stepmark put there, and nobody changed since: only these may be removed."""
    ours = {
        path for path, mark in (known.files if known else {}).items() if path in there and there[path].mark == mark
    }
    if head is not None and contents.manifest is not None and NAME in there:
        try:
            manifest = parse_manifest(remote.read(NAME, head.commit))
        except ValueError:
            return ours  # somebody else's manifest names nothing of ours
        for entry in manifest.files():
            file = there.get(entry.path)
            if file is not None and file.size == entry.bytes and file.sha256 in (None, entry.sha256):
                ours.add(entry.path)
    return ours


def _changes(contents: Contents, there: Mapping[str, RemoteFile], ours: set[str]) -> list[Change]:
    changes = []
    for path, file in contents.files.items():
        remote = there.get(path)
        what: What = "new" if remote is None else "unchanged" if remote.holds(file) else "changed"
        changes.append(Change(path, what, file.size))
    gone = sorted(ours - set(contents.files))
    return [*changes, *(Change(path, "removed", there[path].size) for path in gone)]


def _licences(contents: Contents) -> list[str]:
    if contents.manifest is None:
        return []
    return sorted({one for entry in contents.manifest.configs.values() for one in entry.licences})


def _notes(contents: Contents) -> list[str]:
    """Paths of this machine in what is sent: they are told to whoever reads it."""
    told: dict[str, Any] = {}
    if contents.manifest is not None:
        for name, entry in sorted(contents.manifest.configs.items()):
            told |= {f"the flags of {name}: {key}": value for key, value in entry.query.items()}
    return [
        f"a path of this machine stands in {where} {value}"
        for where, value in told.items()
        if isinstance(value, str) and value.startswith(("/", "~", "."))
    ]


def _newer(plan: PushPlan, head: Head, known: Known | None) -> str:
    touched = [change.path for change in plan.changes if change.what in ("changed", "removed")]
    shown = ", ".join(touched[:3]) + (", ..." if len(touched) > 3 else "")
    comes = f"it comes from {known.commit[:8]}" if known else "it was neither pushed there nor pulled from there"
    return (
        f"{plan.url} stands at {head.commit[:8]} on {plan.branch}, which this folder does not come from: {comes}. "
        f"{len(touched)} files there would be replaced or removed" + (f" ({shown})" if shown else "") + ". "
        f"Pull it into another folder to look at it (stepmark hub pull {plan.repo_id} FOLDER), push to another "
        f"branch (--branch), or push over it (stepmark hub push {plan.folder} {plan.repo_id} --overwrite)."
    )


def _prepared(remote: Remote, plan: PushPlan) -> str:
    """Makes what is missing, and returns the commit to stand on."""
    if plan.is_new:
        remote.create(is_private=plan.is_private)
        made = remote.head()
        if made is None or not set(remote.tree(made.commit)) <= _OF_THE_HUB:
            raise ParentMoved(
                f"somebody made {remote.url} meanwhile, and it is not empty; nothing was sent. Run it again to look."
            )
        if plan.is_private and not made.is_private:
            raise JobError(f"{remote.url} was made public by somebody meanwhile; nothing was sent. Look at it there.")
        plan.parent = made.commit
    if plan.is_new_branch:
        remote.create_branch(plan.branch)
    assert plan.parent is not None
    return plan.parent


def _committed(
    remote: Remote, plan: PushPlan, contents: Contents, *, parent: str, message: str | None, progress: Progress
) -> str:
    from huggingface_hub import CommitOperationDelete

    count = _Sent(plan, progress)
    additions = [_addition(plan, change, count) for change in plan.sent]
    with _quiet(), _stoppable(count):
        remote.upload(additions, plan.branch)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *additions,
            *(CommitOperationDelete(change.path) for change in plan.changes if change.what == "removed"),
        ]
        text = message or _message(plan, contents)
        try:
            commit = remote.commit(operations, branch=plan.branch, parent=parent, message=text)
        except ParentMoved:
            # The answer to our own commit may have been lost, and the commit asked for again.
            head = remote.head(plan.branch)
            if head is None or not _is_there(plan, remote.tree(head.commit)):
                raise
            commit = head.commit
    count.finish()
    return commit


def _is_there(plan: PushPlan, there: Mapping[str, RemoteFile]) -> bool:
    assert plan.contents is not None
    is_whole = all(path in there and there[path].holds(file) for path, file in plan.contents.files.items())
    return is_whole and not any(change.path in there for change in plan.changes if change.what == "removed")


def _check_arrived(remote: Remote, contents: Contents, there: Mapping[str, RemoteFile], commit: str) -> None:
    """A `.gitignore` of the repository may keep files out of a commit without a word."""
    missing = [path for path, file in contents.files.items() if path not in there or not there[path].holds(file)]
    if missing:
        raise JobError(
            f"{remote.url} took the commit {commit[:8]}, and {len(missing)} of {len(contents.files)} files are not "
            f"in it as they are here: {', '.join(missing[:3])}. Either its .gitignore keeps them out, or they were "
            "changed here meanwhile; mend that and push again."
        )


def _message(plan: PushPlan, contents: Contents) -> str:
    if contents.manifest is None:
        return f"Reward model ({contents.model['kind']}) of stepmark"
    rows = ", ".join(f"{name} {sum(splits.values())}" for name, splits in plan.configs.items())
    return f"Training sets of stepmark: {rows} rows"


class _Sent:
    """Bytes sent so far, over all files; a file that is sent again counts from its start."""

    def __init__(self, plan: PushPlan, progress: Progress) -> None:
        self.total, self._n_files = plan.n_bytes, len(plan.sent)
        self.is_stopped = False
        """Nobody waits for it any more."""
        self._progress = progress
        self._by_path: dict[str, int] = {}

    def set(self, path: str, n_bytes: int) -> None:
        self._by_path[path] = n_bytes
        self._progress(sum(self._by_path.values()), self.total, f"{len(self._by_path)} of {self._n_files} files")

    def finish(self) -> None:
        self._progress(self.total, self.total, "committed")


def _addition(plan: PushPlan, change: Change, count: _Sent) -> "CommitOperationAdd":
    """A file to send, which tells how far it is."""
    from huggingface_hub import CommitOperationAdd

    assert plan.contents is not None
    content = plan.contents.files[change.path].content
    if content is not None:
        return CommitOperationAdd(change.path, content)

    class Addition(CommitOperationAdd):
        @contextmanager
        def as_file(self, with_tqdm: bool = False) -> Iterator[Any]:
            with super().as_file() as file:
                if with_tqdm:
                    read = file.read

                    def told(size: int = -1) -> bytes:
                        if count.is_stopped:
                            raise JobError(f"{change.path} was stopped")
                        content: bytes = read(size)
                        count.set(change.path, file.tell())
                        return content

                    file.read = told  # type: ignore[method-assign]
                yield file

    return Addition(change.path, str(Path(plan.folder) / change.path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the client's own bars from the screen; Xet has no other, so there they stay."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shows_own_bars() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _stoppable(count: _Sent) -> Iterator[None]:
    """Lets Ctrl-C end uploads that are under way, for whose end the client would wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: FrameType | None) -> None:
        count.is_stopped = True
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def shows_own_bars() -> bool:
    """Whether the client draws bars of its own: with Xet, which reads the files itself."""
    from huggingface_hub.utils._runtime import is_xet_available

    return bool(is_xet_available())
