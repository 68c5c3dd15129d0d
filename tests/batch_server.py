"""A batch service for tests: OpenAI's files and batches over real HTTP on loopback, with faults on demand."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.completion_server import completion

Row = dict[str, Any]
"""A parsed line of an input file."""


@dataclass(frozen=True)
class Outcome:
    """What becomes of a batch."""

    output: Sequence[bytes] = ()
    """Lines of the output file."""
    errors: Sequence[bytes] = ()
    """Lines of the error file."""
    status: str = "completed"
    reasons: Sequence[dict[str, Any]] = ()
    """Why the batch failed."""


def answered(row: Row, n: int | None = None) -> bytes:
    """The line of a row that went well."""
    return line(row, {"status_code": 200, "request_id": "r", "body": completion(row["body"], n)})


def refused(row: Row, status: int, message: str = "injected") -> bytes:
    """The line of a row that the model's endpoint refused."""
    return line(row, {"status_code": status, "request_id": "r", "body": {"error": {"message": message}}})


def unfinished(row: Row, code: str = "batch_expired") -> bytes:
    """The line of a row that was not reached."""
    return line(row, None, {"code": code, "message": "This request could not be executed."})


def line(row: Row, response: Any, error: Any = None) -> bytes:
    """A line of an output or error file."""
    return json.dumps({"id": "x", "custom_id": row["custom_id"], "response": response, "error": error}).encode()


def answer_all(number: int, rows: list[Row]) -> Outcome:
    """Every row goes well."""
    return Outcome([answered(row) for row in rows])


@dataclass
class Fault:
    """What goes wrong with a call; by default nothing."""

    status: int = 200
    """Answered instead of doing anything."""
    message: str = "injected"
    is_dropped_before: bool = False
    """The connection is lost before anything is done."""
    is_dropped_after: bool = False
    """The connection is lost when all is done, before the answer."""
    delay_s: float = 0.0
    """Between doing and answering."""


@dataclass
class StoredBatch:
    """A batch at the service."""

    number: int
    batch_key: str
    rows: list[Row]
    metadata: dict[str, str]
    input_file_id: str
    outcome: Outcome
    n_looks: int = 0
    created_at: int = field(default_factory=lambda: int(time.time()))


class BatchServer:
    """Answers between `start` and `stop`, on the same port and with all it knows when it is started again."""

    def __init__(
        self,
        plan: Callable[[int, list[Row]], Outcome] = answer_all,
        *,
        fault: Callable[[str, str, int], Fault | None] = lambda method, path, number: None,
        n_looks: int = 2,
    ) -> None:
        """Plans what becomes of batches.

        Args:
            plan: From a batch's number and rows to its outcome.
            fault: From a call's method, path and number to what goes wrong with it.
            n_looks: A batch ends when it was looked at so often.
        """
        self.plan, self.fault, self.n_looks = plan, fault, n_looks
        self.is_held = False
        """While set, no batch ends."""
        self.batches: list[StoredBatch] = []
        self.paid: Counter[tuple[str, int]] = Counter()
        """How often each sample was paid for: by question and sample index."""
        self.calls: list[str] = []
        self.keys: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.lock = threading.RLock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._handle()

            def do_POST(self) -> None:
                self._handle()

            def _handle(self) -> None:
                try:
                    body = self.rfile.read(int(self.headers.get("content-length") or 0))
                    path = urlsplit(self.path).path.removeprefix("/v1")
                    if service._server is not self.server:
                        self.close_connection = True  # a connection that was kept from before the stop
                        return
                    with service.lock:
                        number = len(service.calls)
                        service.calls.append(f"{self.command} {path}")
                        service.keys.add(self.headers["authorization"])
                    fault = service.fault(self.command, path, number) or Fault()
                    if fault.is_dropped_before:
                        self.close_connection = True
                        return
                    if fault.status != 200:
                        self._send(fault.status, json.dumps({"error": {"message": fault.message}}).encode())
                        return
                    with service.lock:
                        status, content = service.handle(self.command, self.path, body, self.headers)
                    time.sleep(fault.delay_s)
                    if fault.is_dropped_after:
                        self.close_connection = True
                        return
                    self._send(status, content)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client was killed

            def _send(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients are killed in these tests

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = None

    def __enter__(self) -> "BatchServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ------------------------------------------------------------ what the calls do

    def handle(self, method: str, target: str, body: bytes, headers: Any) -> tuple[int, bytes]:
        parts = urlsplit(target)
        words = parts.path.removeprefix("/v1").strip("/").split("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match (method, *words):
            case ("POST", "files"):
                return self._json(self._upload(body, headers["content-type"]))
            case ("GET", "files", file_id, "content") if file_id in self.files:
                return 200, self.files[file_id]
            case ("POST", "batches"):
                return self._json(self._create(json.loads(body)))
            case ("GET", "batches"):
                return self._json(self._list(int(query.get("limit", 20)), query.get("after")))
            case ("GET", "batches", batch_key) if batch := self._find(batch_key):
                batch.n_looks += 1
                return self._json(self._show(batch))
            case ("POST", "batches", batch_key, "cancel") if batch := self._find(batch_key):
                batch.outcome = Outcome(status="cancelled")
                return self._json(self._show(batch))
        return 404, b'{"error": {"message": "no such thing"}}'

    def _json(self, data: Any) -> tuple[int, bytes]:
        return 200, json.dumps(data).encode()

    def _upload(self, body: bytes, content_type: str) -> dict[str, Any]:
        boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
        fields = {}
        for part in body.split(boundary)[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            name = head.partition(b'name="')[2].partition(b'"')[0].decode()
            fields[name] = content.removesuffix(b"\r\n")
        assert fields["purpose"] == b"batch"
        file_id = f"file-in-{len(self.files)}"
        self.files[file_id] = fields["file"]
        return {"id": file_id, "object": "file", "bytes": len(fields["file"]), "purpose": "batch"}

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert (asked["endpoint"], asked["completion_window"]) == ("/v1/chat/completions", "24h")
        rows = [json.loads(text) for text in self.files[asked["input_file_id"]].splitlines()]
        assert all((row["method"], row["url"]) == ("POST", asked["endpoint"]) for row in rows)
        assert len({row["custom_id"] for row in rows}) == len(rows), "a name stands twice"
        assert all(len(row["custom_id"]) <= 64 for row in rows)
        number = len(self.batches)
        outcome = self.plan(number, rows)
        batch = StoredBatch(
            number, f"batch_{number}", rows, asked.get("metadata") or {}, asked["input_file_id"], outcome
        )
        self.batches.append(batch)
        done = {json.loads(text)["custom_id"] for text in outcome.output if _is_json(text)}
        for row in rows:
            if row["custom_id"] in done:
                _, first, n = row["custom_id"].split("-")
                question = row["body"]["messages"][-1]["content"]
                self.paid.update((question, index) for index in range(int(first), int(first) + int(n)))
        for kind, lines in (("out", outcome.output), ("errors", outcome.errors)):
            if lines:
                self.files[f"file-{kind}-{number}"] = b"\n".join(lines) + (b"" if lines[-1] == b"" else b"\n")
        return self._show(batch)

    def _find(self, batch_key: str) -> StoredBatch | None:
        return next((batch for batch in self.batches if batch.batch_key == batch_key), None)

    def _list(self, limit: int, after: str | None) -> dict[str, Any]:
        newest = self.batches[::-1]
        start = 0 if after is None else [batch.batch_key for batch in newest].index(after) + 1
        page = newest[start : start + limit]
        return {
            "object": "list",
            "data": [self._show(batch) for batch in page],
            "first_id": page[0].batch_key if page else None,
            "last_id": page[-1].batch_key if page else None,
            "has_more": start + limit < len(newest),
        }

    def _show(self, batch: StoredBatch) -> dict[str, Any]:
        is_over = batch.n_looks >= self.n_looks and not self.is_held
        outcome = batch.outcome
        status = outcome.status if is_over else "in_progress" if batch.n_looks else "validating"
        return {
            "id": batch.batch_key,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "created_at": batch.created_at,
            "input_file_id": batch.input_file_id,
            "metadata": batch.metadata,
            "status": status,
            "output_file_id": f"file-out-{batch.number}" if is_over and outcome.output else None,
            "error_file_id": f"file-errors-{batch.number}" if is_over and outcome.errors else None,
            "errors": {"object": "list", "data": list(outcome.reasons)} if is_over and outcome.reasons else None,
            "request_counts": {
                "completed": len(outcome.output) if is_over else 0,
                "failed": len(outcome.errors) if is_over else 0,
                "total": len(batch.rows),
            },
        }


def _is_json(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
