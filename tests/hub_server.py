"""The Hub for tests: its protocol over real HTTP on loopback, for the real clients, with faults on demand.

It keeps repositories as commits of whole trees, large files by their SHA-256 as the Hub does, and counts the bytes
of every upload. What it does not speak: Xet, pull requests, spaces, and pages of a listing.
"""

import base64
import hashlib
import json
import re
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_of_owner"
"""The token of `owner`, who may write to `owner/...` and `team/...` and read every public repository."""

LFS_ENDINGS = (".parquet", ".safetensors", ".bin", ".pt")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a call."""

    status: int = 0
    """The answer in place of the right one; 0: the connection is cut without one."""
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    after_bytes: int | None = None
    """Read so much of what is sent before; None: all of it."""
    is_done: bool = False
    """The call has its effect all the same: only its answer is lost."""
    hold: threading.Event | None = None
    """Wait for it first."""


@dataclass(frozen=True)
class Blob:
    """A file as it stands in a tree; content of a large one is kept by its SHA-256."""

    size: int
    oid: str
    sha256: str | None = None
    content: bytes | None = None


@dataclass
class Repo:
    """A repository: every commit is a whole tree."""

    is_private: bool
    trees: dict[str, dict[str, Blob]] = field(default_factory=dict)
    parents: dict[str, str | None] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, Blob], message: str) -> str:
        """Puts a tree on a branch."""
        sha = uuid.uuid4().hex + "0" * 8
        self.trees[sha], self.messages[sha] = tree, message
        self.parents[sha] = self.branches.get(branch)
        self.branches[branch] = sha
        return sha


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str | None = None, **more: str) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.more = status, message, code, more


class HubServer:
    """Runs as a context; `calls` counts the requests by method and kind, `put_bytes` what uploads brought."""

    def __init__(self, *, regular_up_to: int = 10_000_000) -> None:
        self.regular_up_to = regular_up_to
        """Larger files are large files, whatever their ending."""
        self.part_size: int | None = None
        """Uploads are asked for in parts of so many bytes; None: whole."""
        self.fault: Callable[[str, str], Fault | None] = lambda method, path: None
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.calls: Counter[str] = Counter()
        self.put_bytes: Counter[str] = Counter()
        """Bytes of each upload that reached the server, by SHA-256, those of uploads that were cut included."""
        self.unknown: list[str] = []
        """Requests that nothing here answers."""
        self.cards: list[str] = []
        """Cards that were given for validation."""
        self._lock = threading.RLock()
        self._idle = threading.Condition()
        self._in_flight = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self) -> None:
                hub.answer(self)

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_POST(self) -> None:
                hub.answer(self)

            def do_PUT(self) -> None:
                hub.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up is none of the server's errors."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def repo(self, repo_id: str, type_: str = "dataset") -> Repo:
        """A repository that is there."""
        return self.repos[type_, repo_id]

    def files(self, repo_id: str, type_: str = "dataset", branch: str = "main") -> dict[str, bytes]:
        """Every file at the head of a branch."""
        repo = self.repos[type_, repo_id]
        return {path: self.content(blob) for path, blob in repo.trees[repo.branches[branch]].items()}

    def put(self, repo_id: str, files: dict[str, bytes], type_: str = "dataset", branch: str = "main") -> str:
        """Commits files as another person would."""
        repo = self.repos[type_, repo_id]
        tree = {**repo.trees[repo.branches[branch]], **{path: self._blob(path, told) for path, told in files.items()}}
        return repo.commit(branch, tree, "another person")

    def create(self, repo_id: str, type_: str = "dataset", *, is_private: bool = True) -> Repo:
        """Makes a repository with the one file that the Hub puts there."""
        repo = self.repos[type_, repo_id] = Repo(is_private)
        attributes = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LFS_ENDINGS)
        repo.commit("main", {".gitattributes": self._blob(".gitattributes", attributes.encode())}, "initial commit")
        return repo

    def content(self, blob: Blob) -> bytes:
        """The bytes of a file."""
        return self.large[blob.sha256] if blob.sha256 is not None else blob.content or b""

    def wait_idle(self) -> None:
        """Waits until nobody is being answered."""
        with self._idle:
            assert self._idle.wait_for(lambda: self._in_flight == 0, timeout=30)

    def answer(self, call: BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        with self._idle:
            self._in_flight += 1
        try:
            self._answer(call)
        finally:
            with self._idle:
                self._in_flight -= 1
                self._idle.notify_all()

    def _answer(self, call: BaseHTTPRequestHandler) -> None:
        url = urlsplit(call.path)
        path = unquote(url.path)
        length = int(call.headers.get("content-length") or 0)
        is_chunked = call.headers.get("transfer-encoding") == "chunked"
        with self._lock:
            fault = self.fault(call.command, path)
        if fault is not None and fault.hold is not None:
            fault.hold.wait(60)
        upload = re.match(r"/lfs/([0-9a-f]{64})", path) if call.command == "PUT" else None
        limit = fault.after_bytes if fault is not None else None
        body = _read(call, length, is_chunked=is_chunked, limit=limit)
        if upload:
            with self._lock:
                self.put_bytes[upload[1]] += len(body)
        if fault is not None and not fault.is_done:
            return _cut(call) if fault.status == 0 else _send(call, fault.status, fault.body, fault.headers)
        try:
            with self._lock:
                status, told, headers = self._route(call, path, parse_qs(url.query), body)
        except Refusal as refusal:
            headers = {"x-error-message": refusal.message} | ({"x-error-code": refusal.code} if refusal.code else {})
            return _send(call, refusal.status, {"error": refusal.message, **refusal.more}, headers)
        if fault is not None:
            return _cut(call)
        _send(call, status, told, headers)

    def _route(
        self, call: BaseHTTPRequestHandler, path: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        method = "GET" if call.command == "HEAD" else call.command
        token = (call.headers.get("authorization") or "").removeprefix("Bearer ")
        if token and token != TOKEN:
            raise Refusal(401, "Invalid credentials in Authorization header")
        for wanted, pattern, name in _ROUTES:
            match = pattern.fullmatch(path)
            if wanted == method and match:
                self.calls[name] += 1
                told = _Call(body, query, bool(token), call.headers.get("range"), match.groupdict())
                answer: tuple[int, Any, dict[str, str]] = getattr(self, f"_{name}")(told)
                return answer
        self.unknown.append(f"{method} {path}")
        raise Refusal(404, f"there is no {method} {path}")

    def _whoami(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        if not call.is_owner:
            raise Refusal(401, "Invalid username or password.")
        return 200, {"type": "user", "name": "owner", "orgs": [{"name": "team"}]}, {}

    def _create(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        asked = call.json()
        owner = asked.get("organization") or "owner"
        type_, repo_id = asked.get("type", "model"), f"{owner}/{asked['name']}"
        if not call.is_owner:
            raise Refusal(401, "Invalid username or password.")
        if owner not in ("owner", "team"):
            raise Refusal(403, f"You don't have the rights to create a {type_} under the namespace {owner!r}")
        url = f"{self.url}/{'' if type_ == 'model' else type_ + 's/'}{repo_id}"
        if (type_, repo_id) in self.repos:
            raise Refusal(409, f"You already created this {type_} repo", url=url)
        self.create(repo_id, type_, is_private=asked.get("visibility") == "private" or bool(asked.get("private")))
        return 200, {"url": url, "name": repo_id, "id": "1"}, {}

    def _info(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        repo, sha, tree = self._find(call)
        told = {
            "_id": "1",
            "id": call.repo_id,
            "author": call.repo_id.partition("/")[0],
            "sha": sha,
            "private": repo.is_private,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "siblings": [{"rfilename": path} for path in sorted(tree)],
        }
        return 200, told, {}

    def _refs(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        repo, _, _ = self._find(call)
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in repo.branches.items()
        ]
        return 200, {"branches": branches, "tags": [], "converts": []}, {}

    def _branch(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        repo, _, _ = self._find(call, is_write=True)
        name = call.parts["branch"]
        if name in repo.branches:
            raise Refusal(409, f"Reference {name} already exists")
        start = call.json().get("startingPoint") or "main"
        repo.branches[name] = repo.branches.get(start) or start
        return 200, {}, {}

    def _tree(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        _, _, tree = self._find(call)
        folder = (call.parts.get("path") or "").strip("/")
        below = {path: blob for path, blob in tree.items() if not folder or path.startswith(folder + "/")}
        if folder and not below:
            raise Refusal(404, f"{folder} does not exist on this revision", "EntryNotFound")
        told: list[dict[str, Any]] = []
        is_recursive = call.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        start = folder.count("/") + 1 if folder else 0
        folders = {"/".join(path.split("/")[:n]) for path in below for n in range(start + 1, path.count("/") + 1)}
        for name in sorted(folders):
            if is_recursive or name.count("/") == start:
                told.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": name})
        told += [
            _entry(path, blob) for path, blob in sorted(below.items()) if is_recursive or path.count("/") == start
        ]
        return 200, told, {}

    def _paths(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        _, _, tree = self._find(call)
        told: list[dict[str, Any]] = []
        for name in call.form().get("paths", []):
            if name in tree:
                told.append(_entry(name, tree[name]))
            elif any(path.startswith(name.rstrip("/") + "/") for path in tree) or name == "":
                told.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": name})
        return 200, told, {}

    def _preupload(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        _, _, tree = self._find(call, is_write=True)
        told = []
        for file in call.json()["files"]:
            blob = tree.get(file["path"])
            is_large = self._is_large(file["path"], file["size"])
            oid = None if blob is None else (blob.sha256 if is_large else blob.oid)
            mode = "lfs" if is_large else "regular"
            ignored = any(
                line and file["path"].endswith(line.lstrip("*"))
                for line in self.content(tree.get(".gitignore", Blob(0, ""))).decode().splitlines()
            )
            told.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": ignored, "oid": oid})
        return 200, {"files": told}, {}

    def _lfs(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        self._find(call, is_write=True)
        told: list[dict[str, Any]] = []
        for wanted in call.json()["objects"]:
            oid, size = wanted["oid"], wanted["size"]
            if oid in self.large:
                told.append({"oid": oid, "size": size})
                continue
            upload: dict[str, Any] = {"href": f"{self.url}/lfs/{oid}"}
            if self.part_size is not None and size > self.part_size:
                n = -(-size // self.part_size)
                numbered = {str(part): f"{self.url}/lfs/{oid}/{part}" for part in range(1, n + 1)}
                upload["header"] = {"chunk_size": str(self.part_size), **numbered}
            verify = {"href": f"{self.url}/lfs/verify"}
            told.append({"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}})
        return 200, {"transfer": "basic", "objects": told}, {}

    def _upload(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        self._store(call.parts["oid"], call.body)
        return 200, {}, {}

    def _upload_part(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        self.parts[call.parts["oid"], int(call.parts["part"])] = call.body
        return 200, {}, {"etag": f'"{hashlib.md5(call.body).hexdigest()}"'}

    def _complete(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        oid = call.parts["oid"]
        self._store(oid, b"".join(self.parts[oid, part["partNumber"]] for part in call.json()["parts"]))
        return 200, {}, {}

    def _verify(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        asked = call.json()
        if len(self.large.get(asked["oid"], b"")) != asked["size"]:
            raise Refusal(404, f"object {asked['oid']} is not there")
        return 200, {}, {}

    def _store(self, oid: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() != oid:
            raise Refusal(400, f"the SHA-256 of {len(content)} bytes is not {oid}")
        self.large[oid] = content

    def _commit(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        repo, head, tree = self._find(call, is_write=True)
        branch = call.parts["rev"]
        if branch not in repo.branches:
            raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        lines = [json.loads(line) for line in call.body.splitlines() if line]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, head):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        tree = dict(tree)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = self._blob(value["path"], base64.b64decode(value["content"]), is_large=False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.large:
                    raise Refusal(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
                tree[value["path"]] = self._blob(value["path"], self.large[value["oid"]], is_large=True)
            elif line["key"] == "deletedFile":
                if value["path"] not in tree:
                    raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
                del tree[value["path"]]
            else:
                raise Refusal(400, f"{line['key']} is no operation")
        sha = repo.commit(branch, tree, header["summary"])
        url = f"{self.url}/{'datasets/' if call.type == 'dataset' else ''}{call.repo_id}/commit/{sha}"
        return 200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""}, {}

    def _yaml(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        content = call.json()["content"]
        self.cards.append(content)
        match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        try:
            found = yaml.safe_load(match[1]) if match else None
        except yaml.YAMLError as err:
            return 400, {"errors": [{"message": str(err)}], "warnings": []}, {}
        if not isinstance(found, dict):
            return 200, {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}, {}
        return 200, {"errors": [], "warnings": []}, {}

    def _resolve(self, call: "_Call") -> tuple[int, Any, dict[str, str]]:
        _, sha, tree = self._find(call)
        blob = tree.get(call.parts["path"])
        if blob is None:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        content = self.content(blob)
        headers = {"etag": f'"{blob.sha256 or blob.oid}"', "x-repo-commit": sha, "accept-ranges": "bytes"}
        if blob.sha256 is not None:
            headers |= {"x-linked-etag": f'"{blob.sha256}"', "x-linked-size": str(blob.size)}
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", call.range or "")
        if not found:
            return 200, content, headers
        first, last = int(found[1]), min(int(found[2] or blob.size - 1), blob.size - 1)
        if first >= blob.size:
            raise Refusal(416, "Range Not Satisfiable")
        return 206, content[first : last + 1], headers | {"content-range": f"bytes {first}-{last}/{blob.size}"}

    def _find(self, call: "_Call", *, is_write: bool = False) -> tuple[Repo, str, dict[str, Blob]]:
        repo = self.repos.get((call.type, call.repo_id))
        if repo is None or (repo.is_private and not call.is_owner):
            raise Refusal(404 if call.is_owner else 401, "Repository not found", "RepoNotFound")
        if is_write and not call.is_owner:
            raise Refusal(401, "Invalid username or password.")
        if is_write and call.repo_id.partition("/")[0] not in ("owner", "team"):
            raise Refusal(403, "You have read access but not the required permissions for this operation")
        rev = call.parts.get("rev") or "main"
        sha = repo.branches.get(rev, rev)
        if sha not in repo.trees:
            raise Refusal(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        return repo, sha, repo.trees[sha]

    def _is_large(self, path: str, size: int) -> bool:
        return size > 0 and (path.endswith(LFS_ENDINGS) or size > self.regular_up_to)

    def _blob(self, path: str, content: bytes, *, is_large: bool | None = None) -> Blob:
        if not (self._is_large(path, len(content)) if is_large is None else is_large):
            return Blob(len(content), _git_oid(content), content=content)
        digest = hashlib.sha256(content).hexdigest()
        self.large[digest] = content
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
        return Blob(len(content), _git_oid(pointer.encode()), sha256=digest)


@dataclass(frozen=True)
class _Call:
    body: bytes
    query: dict[str, list[str]]
    is_owner: bool
    range: str | None
    parts: dict[str, str]

    @property
    def type(self) -> str:
        return (self.parts.get("types") or "models").rstrip("/").removesuffix("s")

    @property
    def repo_id(self) -> str:
        return self.parts["id"]

    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode(), keep_blank_values=True)


_API = r"/api/(?P<types>models|datasets)/(?P<id>[^/]+/[^/]+)"
_ROUTES = [
    (method, re.compile(pattern), name)
    for method, pattern, name in (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "yaml"),
        ("GET", _API + r"(/revision/(?P<rev>.+))?", "info"),
        ("GET", _API + r"/refs", "refs"),
        ("POST", _API + r"/branch/(?P<branch>.+)", "branch"),
        ("GET", _API + r"/tree/(?P<rev>[^/]+)(?P<path>/.*)?", "tree"),
        ("POST", _API + r"/paths-info/(?P<rev>.+)", "paths"),
        ("POST", _API + r"/preupload/(?P<rev>.+)", "preupload"),
        ("POST", _API + r"/commit/(?P<rev>.+)", "commit"),
        ("POST", r"/(?P<types>datasets/|)(?P<id>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs"),
        ("POST", r"/lfs/verify", "verify"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "upload"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})/(?P<part>\d+)", "upload_part"),
        ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})", "complete"),
        ("GET", r"/(?P<types>datasets/|)(?P<id>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "resolve"),
    )
]


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "file", "oid": blob.oid, "size": blob.size, "path": path}
    if blob.sha256 is not None:
        told["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": 130}
    return told


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _read(call: BaseHTTPRequestHandler, length: int, *, is_chunked: bool, limit: int | None) -> bytes:
    """Reads what is sent, or its first `limit` bytes."""
    if not is_chunked:
        return call.rfile.read(length if limit is None else min(length, limit))
    found = b""
    while limit is None or len(found) < limit:
        size = int(call.rfile.readline().strip() or b"0", 16)
        found += call.rfile.read(size)
        call.rfile.readline()
        if size == 0:
            break
    return found if limit is None else found[:limit]


def _send(call: BaseHTTPRequestHandler, status: int, told: Any, headers: dict[str, str]) -> None:
    content = told if isinstance(told, bytes) else json.dumps(told).encode()
    with suppress(OSError):
        call.send_response(status)
        for name, value in headers.items():
            call.send_header(name, value)
        call.send_header(
            "content-type", "application/octet-stream" if isinstance(told, bytes) else "application/json"
        )
        call.send_header("content-length", str(len(content)))
        call.end_headers()
        if call.command != "HEAD":
            call.wfile.write(content)


def _cut(call: BaseHTTPRequestHandler) -> None:
    """Closes the connection at once."""
    call.close_connection = True
    with suppress(OSError):
        call.connection.shutdown(socket.SHUT_RDWR)
