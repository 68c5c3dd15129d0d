"""One repository on the Hub, by `huggingface_hub`; what goes wrong there becomes a message that says what to do.

The client retries what it can repeat on its own: uploads, downloads, listings. What it asks only once (whether a
repository is there, making it, the commit) is asked again here, with longer and longer waits.
"""

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stepmark.errors import InputError, JobError, LimitReached, SettingsError, StepmarkError

from .folders import Kind, LocalFile

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

RETRIES = 5
"""How often a call is repeated that the client itself asks once."""
STALLED_S = 300.0
"""After so long without a byte a connection counts as cut; the client itself would wait for ever."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
_PASSING = (408, 429, 500, 502, 503, 504)
"""Answers that another attempt may change."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of the repository."""

    size: int
    git_oid: str
    sha256: str | None
    """Of a large file."""

    @property
    def mark(self) -> str:
        """What tells two versions of it apart."""
        return self.sha256 or self.git_oid

    def holds(self, local: LocalFile) -> bool:
        """Whether it is the same as a file here."""
        return self.mark == (local.git_oid if self.sha256 is None else local.sha256)


@dataclass(frozen=True, slots=True)
class Head:
    """A state of the repository."""

    commit: str
    is_private: bool


class ParentMoved(JobError):
    """Somebody committed since the repository was looked at."""


class Remote:
    """A repository of datasets or models."""

    def __init__(self, repo_id: str, kind: Kind, *, endpoint: str | None = None) -> None:
        """Takes `owner/name`; the client's own settings (`HF_ENDPOINT`, `HF_TOKEN`, a login) say where and as whom.

        Raises:
            SettingsError: `huggingface_hub` is not installed, or the name cannot be.
        """
        try:
            from huggingface_hub import HfApi
            from huggingface_hub.errors import HFValidationError
            from huggingface_hub.utils._validators import validate_repo_id
        except ImportError as err:
            raise SettingsError("the Hub needs the package huggingface-hub: pip install 'stepmark[hub]'") from err
        try:
            validate_repo_id(repo_id)
        except HFValidationError as err:
            raise SettingsError(f"{repo_id!r} is no name of a repository: {err}. Write owner/name.") from err
        _do_not_wait_for_ever()
        self.repo_id = repo_id
        self.kind: Kind = kind
        self._api = HfApi(endpoint=endpoint, library_name="stepmark")
        self.endpoint: str = self._api.endpoint

    @property
    def url(self) -> str:
        """Where people see it."""
        return f"{self.endpoint}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo_id}"

    def user(self) -> str:
        """Whose token it is.

        Raises:
            SettingsError: There is no token, or the Hub does not know it.
        """
        with self._told():
            return str(self._again(lambda: self._api.whoami()["name"]))

    def of_user(self) -> "Remote":
        """The repository with its owner, who is the token's where none was named."""
        if "/" in self.repo_id:
            return self
        return Remote(f"{self.user()}/{self.repo_id}", self.kind, endpoint=self.endpoint)

    def head(self, revision: str | None = None) -> Head | None:
        """The state of a branch, tag or commit; None where the repository is not there, or not for this account.

        Raises:
            SettingsError: The repository has no such revision.
        """
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        with self._told():
            try:
                info = self._again(lambda: self._api.repo_info(self.repo_id, repo_type=self.kind, revision=revision))
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                return None
        return Head(str(info.sha), bool(info.private))

    def branches(self) -> list[str]:
        """The names of its branches."""
        with self._told():
            refs = self._again(lambda: self._api.list_repo_refs(self.repo_id, repo_type=self.kind))
        return [ref.name for ref in refs.branches]

    def tree(self, commit: str) -> dict[str, RemoteFile]:
        """Every file of a commit."""
        from huggingface_hub import RepoFile

        with self._told():
            entries = list(
                self._api.list_repo_tree(self.repo_id, recursive=True, revision=commit, repo_type=self.kind)
            )
        return {
            entry.path: RemoteFile(entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
            for entry in entries
            if isinstance(entry, RepoFile)
        }

    def create(self, *, is_private: bool) -> None:
        """Makes the repository, if nobody has."""
        with self._told():
            self._again(
                lambda: self._api.create_repo(self.repo_id, repo_type=self.kind, private=is_private, exist_ok=True)
            )

    def create_branch(self, branch: str) -> None:
        """Makes a branch of main."""
        with self._told():
            self._again(
                lambda: self._api.create_branch(self.repo_id, branch=branch, repo_type=self.kind, exist_ok=True)
            )

    def upload(self, additions: "list[CommitOperationAdd]", branch: str) -> None:
        """Sends the large ones among the files; one that the Hub has already is not sent."""
        with self._told():
            self._api.preupload_lfs_files(
                self.repo_id, additions, repo_type=self.kind, revision=branch, free_memory=False
            )

    def commit(
        self,
        operations: "list[CommitOperationAdd | CommitOperationDelete]",
        *,
        branch: str,
        parent: str,
        message: str,
    ) -> str:
        """Commits on top of `parent`, and returns the commit.

        Raises:
            ParentMoved: The branch stands elsewhere by now; after a lost answer that may be this very commit.
        """
        with self._told():
            return self._again(
                lambda: self._api.create_commit(
                    self.repo_id,
                    operations,
                    commit_message=message,
                    repo_type=self.kind,
                    revision=branch,
                    parent_commit=parent,
                )
            ).oid

    def read(self, path: str, commit: str) -> bytes:
        """A small file's content."""
        with tempfile.TemporaryDirectory() as folder:
            return self.download(path, commit, Path(folder)).read_bytes()

    def download(
        self, path: str, commit: str, folder: Path, *, bar: type[Any] | None = None, is_forced: bool = False
    ) -> Path:
        """Fetches a file under its path below a folder; one that was cut goes on where it stopped."""
        with self._told():
            return Path(
                self._again(
                    lambda: self._api.hf_hub_download(
                        self.repo_id,
                        path,
                        repo_type=self.kind,
                        revision=commit,
                        local_dir=folder,
                        force_download=is_forced,
                        tqdm_class=bar,
                    )
                )
            )

    def _again(self, call: Callable[[], T]) -> T:
        wait_s = _FIRST_WAIT_S
        for left in range(RETRIES, 0, -1):
            try:
                return call()
            except Exception as err:
                if not _passes(err) or left == 1:
                    raise
                time.sleep(_told_wait_s(err) or wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        raise AssertionError("unreachable")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns what the client raises into errors of ours."""
        try:
            yield
        except StepmarkError:
            raise
        except Exception as err:
            cause = err.__cause__ if isinstance(err, RuntimeError) and err.__cause__ is not None else err
            ours = self._error(cause)
            if ours is None:
                raise
            raise ours from err

    def _error(self, err: BaseException) -> StepmarkError | None:
        import httpx2
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            LocalTokenNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        where = f"{self.kind} {self.repo_id} on {self.endpoint}"
        again = "Run the same command again: what has arrived is not sent twice."
        if isinstance(err, LocalTokenNotFoundError):
            return SettingsError("there is no token for the Hub; set HF_TOKEN, or log in with `hf auth login`")
        if isinstance(err, OfflineModeIsEnabled):
            return SettingsError("HF_HUB_OFFLINE is set, so nothing is asked of the Hub; unset it")
        if isinstance(err, GatedRepoError):
            return SettingsError(f"{where} asks for its conditions to be accepted; do that at {self.url}")
        if isinstance(err, RevisionNotFoundError):
            return SettingsError(f"{where} has no such branch, tag or commit; see {self.url}/tree/main")
        if isinstance(err, RepositoryNotFoundError):
            return SettingsError(
                f"there is no {where}, or it is private and this token may not see it; check its name, --type and "
                "HF_TOKEN"
            )
        if isinstance(err, LocalEntryNotFoundError):
            return JobError(f"{where} cannot be reached ({_first_line(err.__cause__ or err)}). {again}")
        if isinstance(err, HfHubHTTPError):
            told = " ".join((err.server_message or _first_line(err)).split())
            return self._http_error(err.response.status_code, told, where, again)
        if isinstance(err, httpx2.TransportError):
            told = _first_line(err) or type(err).__name__
            return JobError(f"{where} cannot be reached ({told}). {again}")
        if isinstance(err, ValueError) and "metadata in README.md" in str(err):
            told = " ".join(str(err).split())
            return InputError(f"the Hub does not take the head of README.md: {told}. Mend it, and push again.")
        return None

    def _http_error(self, status: int, told: str, where: str, again: str) -> StepmarkError:
        if status == 401:
            return SettingsError(f"the Hub does not know this token (401: {told}); set HF_TOKEN, or `hf auth login`")
        if status == 402:
            return LimitReached(f"{where}: the account's limit is reached (402: {told})")
        if status == 403:
            return SettingsError(
                f"this token may not do that to {where} (403: {told}); it needs the right to write there"
            )
        if status == 412:
            return ParentMoved(
                f"somebody committed to {where} meanwhile; nothing was changed there. Look at it "
                "(`stepmark hub status`), then pull it, or push over it with `stepmark hub push --overwrite`."
            )
        if status == 429:
            return LimitReached(f"{where}: the Hub has had too many requests (429: {told}). Wait a little. {again}")
        if status >= 500:
            return JobError(f"{where}: the Hub failed ({status}: {told}). {again}")
        return JobError(f"{where}: the Hub refuses ({status}: {told})")


def _do_not_wait_for_ever() -> None:
    """Gives the client's connections a time limit, unless somebody has made connections of their own."""
    import httpx2
    from huggingface_hub.utils import _http

    def limited() -> httpx2.Client:
        client = _http.default_client_factory()
        client.timeout = httpx2.Timeout(STALLED_S, connect=30, pool=None)
        return client

    if _http._GLOBAL_CLIENT_FACTORY is _http.default_client_factory:
        _http.set_client_factory(limited)


def _passes(err: Exception) -> bool:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(err, HfHubHTTPError):
        return err.response.status_code in _PASSING
    return isinstance(err, httpx2.TransportError)


def _told_wait_s(err: Exception) -> float | None:
    """What the Hub asked to wait, in `Retry-After` or in its own header."""
    response = getattr(err, "response", None)
    if response is None:
        return None
    found = re.search(r";\s*t\s*=\s*(\d+)", response.headers.get("ratelimit", ""))
    told = response.headers.get("retry-after", "")
    if told.isdigit():
        return float(told)
    return float(found[1]) + 1 if found and response.status_code == 429 else None


def _first_line(err: BaseException) -> str:
    return next((line.strip() for line in str(err).splitlines() if line.strip()), "")
