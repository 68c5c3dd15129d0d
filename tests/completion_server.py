"""A chat completion server for tests: real HTTP on loopback, answers that can be foretold, faults on demand."""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a call; by default nothing."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_dropped: bool = False
    """The connection is closed without an answer."""
    is_cut_short: bool = False
    """The connection is closed after half of the body."""
    is_stalled: bool = False
    """After half of the body nothing more comes."""
    n: int | None = None
    """Choices in the answer, instead of as many as were asked for."""


NO_FAULT = Fault()


def foretold_text(question: str, seed: int, index: int) -> str:
    """The text that the server answers: it names the question, so that a wrong join shows."""
    digest = hashlib.sha256(f"{question}/{seed}/{index}".encode()).hexdigest()
    return f"Step 1: {question}\n\nStep 2: {digest[:8]}\n\n# Answer\n\n{int(digest[:4], 16)}"


class CompletionServer:
    """Runs as a context, and may die and come back within it; `asked` holds the body of every call, as they came."""

    def __init__(
        self, *, latency_s: float = 0.0, fault: Callable[[int, dict[str, Any]], Fault] = lambda number, body: NO_FAULT
    ) -> None:
        self.latency_s = latency_s
        self.fault = fault
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.most_in_flight = 0
        self.metrics: str | None = None
        """What it tells under /metrics; None: there is no such page."""
        self._in_flight = 0
        self._connections: set[socket.socket] = set()
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server._connections.add(self.connection)

            def finish(self) -> None:
                server._connections.discard(self.connection)
                with suppress(OSError):
                    super().finish()

            def do_GET(self) -> None:
                is_told = self.path == "/metrics" and server.metrics is not None
                content = (server.metrics or "").encode() if is_told else b""
                self.send_response(200 if is_told else 404)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with server._lock:
                    number = len(server.asked)
                    server.asked.append(body)
                    server.keys.add(self.headers["authorization"])
                    server._in_flight += 1
                    server.most_in_flight = max(server.most_in_flight, server._in_flight)
                time.sleep(server.latency_s)
                # Counted out before the answer goes: the client may send its next call before this thread runs on.
                with server._lock:
                    server._in_flight -= 1
                try:
                    self._answer(server.fault(number, body), body)
                except OSError:
                    self.close_connection = True  # the client, or we, were killed

            def _answer(self, fault: Fault, body: dict[str, Any]) -> None:
                if fault.is_dropped:
                    self.close_connection = True
                    return
                content = fault.body
                if content is None and fault.status == 200:
                    content = json.dumps(completion(body, fault.n)).encode()
                content = content if content is not None else b'{"error": {"message": "injected"}}'
                self.send_response(fault.status)
                for name, value in {"content-type": "application/json", **fault.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                if fault.is_cut_short or fault.is_stalled:
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    self.close_connection = True
                    if fault.is_stalled:
                        server._is_over.wait()
                    return
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients are killed in these tests

        self._make = lambda port: Server(("127.0.0.1", port), Handler)
        self._server = self._make(0)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "CompletionServer":
        self._run()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.die()

    def die(self) -> None:
        """Closes the port and all connections."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        """Listens at the same port again."""
        self._server = self._make(self._server.server_port)
        self._run()

    def _run(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()


def completion(body: dict[str, Any], n: int | None = None) -> dict[str, Any]:
    """The body of a right answer; its choices stand in reverse, since their `index` says which is which."""
    question = body["messages"][-1]["content"]
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": foretold_text(question, body["seed"], index)},
            "finish_reason": "stop",
        }
        for index in range(body["n"] if n is None else n)
    ]
    usage = {"prompt_tokens": len(question.split()), "completion_tokens": 7 * len(choices)}
    return {"object": "chat.completion", "choices": choices[::-1], "usage": usage}
