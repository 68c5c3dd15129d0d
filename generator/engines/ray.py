"""The engine `ray`: another engine on the nodes of a Ray cluster, through files that all of them see.

Requests are written to a folder as Parquet, some hundred to a shard; Ray Data hands the shards to workers, each of
which holds an engine `vllm` or `transformers` of its own; answers come back as one Parquet file for each shard, which
is there whole or not at all. An answer that is there is never asked for again, whatever was killed in between.

What is sampled is what the inner engine samples, so that is the identity: a run begun on one machine may go on here.

Ray Data's own vLLM processor is not used: its rows do not say why a sample ended, so that truncated samples would
pass for finished ones.
"""

import hashlib
import json
import math
import os
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stepmark.engine import (
    Completion,
    Engine,
    EngineIdentity,
    Failure,
    Message,
    Request,
    Sample,
    Sampling,
    payload_hash,
)
from stepmark.errors import EngineError, SettingsError

_WAVE = 50_000
"""Requests that are pulled at a time; the next ones wait until these are answered."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The engine that each worker opens."""

    name: str
    model: str
    options: Mapping[str, Any]
    """Further arguments of `generator.engines.open_engine`."""

    def open(self) -> Engine:
        """Opens it; nothing is loaded yet."""
        from generator.engines import open_engine

        return open_engine(self.name, self.model, base_url="", **self.options)


class RayEngine:
    """Samples on many machines, or on this one where no cluster is named (RAY_ADDRESS)."""

    def __init__(self, inside: Inside, folder: Path, *, workers: int = 1, shard_requests: int = 256) -> None:
        """Names model and folder; Ray is started, or its cluster joined, when the first answer is wanted.

        Args:
            inside: What each worker samples with.
            folder: For requests and answers; every node must see it under this path. It may be deleted once the run
                is done.
            workers: How many; each takes as many GPUs as its engine needs, where the cluster has any.
            shard_requests: Requests in a shard at most, fewer where there is little to share out: what a worker has
                in hand at a time, and what is lost when it is killed.

        Raises:
            SettingsError: Ray, or the inner engine, is not installed.
        """
        try:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read on import; Ray reports home without it
            import ray.data  # noqa: F401
        except ImportError as err:
            raise SettingsError(f"the engine ray needs Ray ({err}); run: pip install 'stepmark[ray]'") from err
        self.identity: EngineIdentity = inside.open().identity
        self._inside = inside
        self._folder = folder.absolute()
        self._workers = workers
        self._shard_requests = shard_requests
        self._is_ours = False
        """Whether Ray was started, or joined, here."""

    def answer(self, requests: Iterable[Request | None]) -> Generator[tuple[Request, Completion] | None, None, None]:
        """Works through wave after wave; yields the answers of a shard when it is done."""
        for name in ("requests", "answers"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        known = self._known()
        coming = iter(requests)
        while wave := _wave(coming):
            waiting: dict[str, list[Request]] = {}
            for request in wave:
                waiting.setdefault(self._request_id(request), []).append(request)
            there = {request_id: known[request_id] for request_id in waiting if request_id in known}
            for name in sorted(set(there.values())):
                yield from self._read(name, waiting)
            new = [(request_id, same[0]) for request_id, same in waiting.items()]
            size = min(self._shard_requests, math.ceil(len(new) / (2 * self._workers)))
            names = [self._write(new[at : at + size]) for at in range(0, len(new), size or 1)]
            for finished in self._work(names) if names else ():
                if isinstance(finished, str):
                    yield from self._read(finished, waiting)
                elif finished is None:
                    yield None
                else:
                    request = next(iter(waiting.values()))[0]
                    yield request, Completion.failed(request, finished)
                    return

    def close(self) -> None:
        """Ends the workers; a cluster that was joined stays up."""
        if self._is_ours:
            import ray

            ray.shutdown()
            self._is_ours = False

    def _request_id(self, request: Request) -> str:
        indices = ",".join(map(str, request.sample_indices))
        return f"{payload_hash(self.identity, request.messages, request.sampling)}/{indices}"

    def _known(self) -> dict[str, str]:
        """The shards of the answers that are there, by request id; a failure is asked again."""
        known = {}
        for path in sorted((self._folder / "answers").glob("*.parquet")):
            table = pq.read_table(path, columns=["request_id", "is_whole"])
            known.update(dict.fromkeys(table.filter(pc.field("is_whole"))["request_id"].to_pylist(), path.stem))
        return known

    def _read(self, name: str, waiting: dict[str, list[Request]]) -> Iterator[tuple[Request, Completion]]:
        """Yields the answers of a shard to requests that wait for them."""
        table = pq.read_table(self._folder / "answers" / f"{name}.parquet", columns=["request_id", "completion"])
        for row in table.to_pylist():
            for request in waiting.pop(row["request_id"], ()):
                yield request, _completion(row["completion"])

    def _write(self, asked: list[tuple[str, Request]]) -> str:
        """Writes a shard of requests; returns its name, which is new each time: an old one may hold failures."""
        digest = hashlib.sha256("\n".join(request_id for request_id, _ in asked).encode()).hexdigest()[:16]
        name = f"{digest}-{os.urandom(4).hex()}"
        rows = [{"request_id": request_id, "request": json.dumps(asdict(request))} for request_id, request in asked]
        _write_whole(self._folder / "requests" / f"{name}.parquet", rows)
        return name

    def _work(self, names: list[str]) -> Iterator[str | Failure | None]:
        """Has the shards answered; yields each one's name when it is, None while waiting, a failure for good."""
        import ray

        if not ray.is_initialized():
            ray.init(logging_level="ERROR", log_to_driver=False)
            self._is_ours = True
        done: queue.SimpleQueue[str | Failure | None] = queue.SimpleQueue()
        threading.Thread(target=self._run_job, args=(names, done), name="ray-engine", daemon=True).start()
        n_left = len(names)
        while n_left:
            try:
                found = done.get(timeout=0.5)
            except queue.Empty:
                yield None
                continue
            n_left -= 1
            yield found

    def _run_job(self, names: list[str], done: "queue.SimpleQueue[str | Failure | None]") -> None:
        import ray

        try:
            has_gpus = ray.cluster_resources().get("GPU", 0) > 0
            ray.data.DataContext.get_current().enable_progress_bars = False
            shards = ray.data.from_items([{"name": name} for name in names], override_num_blocks=len(names))
            answered = shards.map_batches(
                _Worker,
                fn_constructor_args=(self._inside, self.identity, self._folder),
                batch_size=1,
                concurrency=self._workers,
                num_gpus=_n_gpus(self._inside) if has_gpus else None,
            )
            for row in answered.iter_rows():
                done.put(row["name"])
        except Exception as err:  # of any library that the workers use; on this thread nobody else sees it
            done.put(Failure("worker", f"the Ray job failed: {err}", is_fatal=True))


class _Worker:
    """What Ray Data keeps on the nodes: one open engine that answers shard after shard."""

    def __init__(self, inside: Inside, identity: EngineIdentity, folder: Path) -> None:
        self._engine = inside.open()
        self._folder = folder
        if self._engine.identity != identity:
            raise SettingsError(f"this node holds another model: {self._engine.identity}, where {identity} was asked")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answers a shard."""
        (name,) = batch["name"]
        asked = pq.read_table(self._folder / "requests" / f"{name}.parquet").to_pylist()
        requests = {row["request_id"]: _request(row["request"]) for row in asked}
        ids = {request.key: request_id for request_id, request in requests.items()}
        rows = []
        for answer in self._engine.answer(requests.values()):
            if answer is None:
                continue
            request, completion = answer
            failures = [sample for sample in completion.samples if isinstance(sample, Failure)]
            if fatal := next((failure for failure in failures if failure.is_fatal), None):
                raise EngineError(f"{fatal.kind}: {fatal.message}")
            rows.append(
                {
                    "request_id": ids[request.key],
                    "is_whole": not failures,
                    "completion": json.dumps(asdict(completion)),
                }
            )
        _write_whole(self._folder / "answers" / f"{name}.parquet", rows)
        return batch


def _wave(coming: Iterator[Request | None]) -> list[Request]:
    """The next requests, up to one that depends on an answer."""
    wave: list[Request] = []
    while len(wave) < _WAVE and (request := next(coming, None)) is not None:
        wave.append(request)
    return wave


def _n_gpus(inside: Inside) -> int:
    options: Mapping[str, Any] = inside.options.get("options") or {}
    return int(options.get("tensor_parallel_size", 1)) * int(options.get("pipeline_parallel_size", 1))


def _write_whole(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes a Parquet file that is there whole or not at all, also where a second process writes the same."""
    partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    pq.write_table(pa.Table.from_pylist(rows), partial)
    partial.replace(path)


def _request(text: str) -> Request:
    found = json.loads(text)
    sampling = found["sampling"] | {"stop": tuple(found["sampling"]["stop"])}
    messages = tuple(Message(**message) for message in found["messages"])
    return Request(found["key"], messages, Sampling(**sampling), tuple(found["sample_indices"]))


def _completion(text: str) -> Completion:
    found = json.loads(text)
    samples = (Failure(**sample) if "kind" in sample else Sample(**sample) for sample in found.pop("samples"))
    return Completion(tuple(samples), **found)
