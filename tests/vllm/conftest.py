"""Fixtures for tests with a real vLLM; `make test-vllm` runs them, in an environment of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from generator.engines.vllm import VLLMEngine
from tests.vllm.runs import COMPACT_JSON, OPTIONS
from tests.vllm.wider_heads import widen_heads

EMBEDDED = Path(__file__).parents[2] / "examples" / "embedded" / "model"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model, in a layout that vLLM's CPU kernels have."""
    folder = tmp_path_factory.mktemp("model") / "wide"
    widen_heads(EMBEDDED, folder)
    return str(folder)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """URL of an empty SQLite database."""
    return f"sqlite:///{tmp_path / 'stepmark.db'}"


@pytest.fixture(scope="session")
def engine(model: str) -> Iterator[VLLMEngine]:
    """The engine vllm in this process, loaded once for all tests."""
    engine = VLLMEngine(model, options=OPTIONS)
    yield engine
    engine.close()


class Server:
    """A `vllm serve` on loopback that can be killed and started again on the same port."""

    def __init__(self, model: str, log: Path, *, words: Sequence[str] | None = None) -> None:
        """Serves a model under the name `tiny`; `words` stand in place of what a generating model needs."""
        self._model = model
        self._words = words
        self._log = log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = f"http://127.0.0.1:{self._port}/v1"

    def get(self, path: str) -> str:
        """The body of a page of the server."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
            body: str = answer.read().decode()
        return body

    def start(self) -> None:
        """Returns when it answers."""
        words = [
            "serve",
            self._model,
            "--served-model-name",
            "tiny",
            "--host",
            "127.0.0.1",
            "--port",
            str(self._port),
        ]
        words += ["--dtype", "float32", "--enforce-eager"]
        if self._words is None:
            words += ["--max-model-len", "512", "--generation-config", "vllm"]
            words += ["--structured-outputs-config", json.dumps(COMPACT_JSON)]
            # Else seeded requests end vLLM on a CPU (`CPU Generator does not use offset`).
            words += ["--no-enable-chunked-prefill"]
        else:
            words += self._words
        with self._log.open("ab") as log:
            # A session of its own: its worker must not outlive it when it is killed.
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "vllm"), *words], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 240
        while True:
            try:
                self.get("/health")
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert self._process.poll() is None, self._log.read_text()[-5000:]
                assert time.monotonic() < deadline, self._log.read_text()[-5000:]
                time.sleep(0.5)

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Ends it with its worker; a second call does nothing."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if signal_number != signal.SIGKILL:
            process.send_signal(signal_number)
            process.wait(timeout=60)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        process.wait(timeout=60)


@pytest.fixture(scope="session")
def server(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server of the model."""
    server = Server(model, tmp_path_factory.mktemp("server") / "log")
    try:
        server.start()
        yield server
    finally:
        server.stop()
