"""The engine `transformers`: samples on this machine, from any causal language model that Transformers loads.

The text of a sample depends on the conversation, the sampling parameters and the sample's index alone, in float32
to the letter: not on the batch, the number of workers or what was asked before. A job that was killed and resumed
therefore holds the same rows as one that was not.
"""

import multiprocessing
import signal
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import TypeAlias

import torch

from stepmark.engine import Completion, EngineIdentity, Failure, Request, Sample, payload_hash, split_reasoning
from stepmark.errors import LimitReached

from .decoding import Conversations, Drawn, LanguageModel, Row
from .revision import model_revision
from .sampling import noise_key

_WINDOW = 16
"""Batches' worth of requests that are pulled, and sorted by the prompts' lengths, at a time."""


@dataclass(slots=True)
class _Asked:
    """A request, and its samples as far as they are drawn."""

    request: Request
    n_prompt_tokens: int
    drawn: dict[int, Drawn] = field(default_factory=dict)
    """By place among `sample_indices`."""

    def completion(self) -> Completion:
        samples = []
        for _, drawn in sorted(self.drawn.items()):
            reasoning, text = split_reasoning(drawn.text)
            samples.append(Sample(text, "length" if drawn.is_truncated else "stop", drawn.n_tokens, reasoning))
        n_tokens = sum(drawn.n_tokens for drawn in self.drawn.values())
        return Completion(tuple(samples), n_prompt_tokens=self.n_prompt_tokens, n_completion_tokens=n_tokens)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One sample wanted: which request's, its place there, and what the model needs to draw it."""

    asked: _Asked
    place: int
    row: Row


_Batch: TypeAlias = list[_Wanted]


class TransformersEngine:
    """Samples from a model on this machine."""

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        batch_tokens: int = 32768,
        workers: int = 1,
    ) -> None:
        """Names the model; it is loaded when the first answer is wanted.

        Args:
            model: Folder, or name on the Hub.
            device: `auto` takes a GPU where there is one.
            dtype: `auto` takes float32 on a CPU, and the checkpoint's own type on a GPU.
            threads: Of each worker; None takes one for small models on a CPU, else what torch chooses.
            batch_tokens: Tokens of a batch at most, prompts and longest possible samples counted; bounds memory.
            workers: Processes that sample, each with its own copy of the model; 1 samples in this process.
        """
        self.identity = EngineIdentity("transformers", model, model_revision(model), extra={"dtype": dtype})
        self._options = (model, device, dtype, threads)
        self._batch_tokens = batch_tokens
        self._workers = workers
        self._conversations: Conversations | None = None
        self._model: LanguageModel | None = None
        self._pool: ProcessPoolExecutor | None = None

    def answer(self, requests: Iterable[Request | None]) -> Generator[tuple[Request, Completion] | None, None, None]:
        """Draws batch after batch; yields a request when its last sample is there.

        Raises:
            SettingsError: The model cannot be loaded.
            LimitReached: A batch does not fit into the GPU's memory.
        """
        failed: list[tuple[Request, Completion]] = []
        batches = self._batches(requests, failed)
        for batch, drawn in self._in_process(batches) if self._workers == 1 else self._in_workers(batches):
            while failed:
                yield failed.pop()
            if drawn is None:
                yield None
                continue
            for wanted, sample in zip(batch, drawn, strict=True):
                asked = wanted.asked
                if isinstance(sample, Failure):
                    # Every further request would meet the same, so this one is given up whole.
                    yield asked.request, Completion.failed(asked.request, sample)
                    return
                asked.drawn[wanted.place] = sample
                if len(asked.drawn) == len(asked.request.sample_indices):
                    yield asked.request, asked.completion()
        while failed:
            yield failed.pop()

    def close(self) -> None:
        """Ends the workers and gives the model's memory back."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._model = self._conversations = None

    def _in_process(self, batches: Iterable[_Batch]) -> Iterator[tuple[_Batch, list[Drawn | Failure] | None]]:
        for batch in batches:
            if not batch:
                yield [], None
                continue
            if self._model is None:
                self._model = _load(*self._options)
            yield batch, list(_draw(self._model, [wanted.row for wanted in batch]))

    def _in_workers(self, batches: Iterable[_Batch]) -> Iterator[tuple[_Batch, list[Drawn | Failure] | None]]:
        if self._pool is None:
            # Spawned, not forked: torch's threads and the caller's connections do not survive a fork.
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=self._options
            )
        running: dict[Future[list[Drawn]], _Batch] = {}
        coming = iter(batches)
        batch: _Batch | None = []
        try:
            while True:
                while len(running) <= self._workers and (batch := next(coming, None)) is not None:
                    if not batch:
                        if running:
                            break
                        continue
                    running[self._pool.submit(_draw_in_worker, [wanted.row for wanted in batch])] = batch
                if not running:
                    return
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                if not done:
                    yield [], None
                for future in done:
                    batch = running.pop(future)
                    yield batch, list(future.result())
        except BrokenProcessPool as err:
            failure = Failure("worker", f"a worker process died ({err}); is there enough memory?", is_fatal=True)
            yield batch or [], [failure for _ in batch or []]

    def _batches(
        self, requests: Iterable[Request | None], failed: list[tuple[Request, Completion]]
    ) -> Iterator[_Batch]:
        """Pulls a window of requests at a time and cuts it into batches of prompts of like length.

        An empty batch says that the requests to come wait for answers to those before.
        """
        window: _Batch = []
        tokens = 0
        for request in requests:
            if request is None:
                yield from _cut(window, self._batch_tokens)
                window, tokens = [], 0
                yield []
                continue
            found = self._rows(request)
            if isinstance(found, Failure):
                failed.append((request, Completion.failed(request, found)))
                continue
            window += found
            tokens += sum(_size(wanted.row) for wanted in found)
            if tokens >= _WINDOW * self._batch_tokens:
                yield from _cut(window, self._batch_tokens)
                window, tokens = [], 0
        yield from _cut(window, self._batch_tokens)

    def _rows(self, request: Request) -> _Batch | Failure:
        if self._conversations is None:
            self._conversations = Conversations(self.identity.model)
        prompt = self._conversations.encode(request.messages)
        sampling = request.sampling
        max_tokens = sampling.max_tokens
        if self._conversations.context is not None:
            max_tokens = min(max_tokens, self._conversations.context - len(prompt))
            if max_tokens < 1:
                message = f"the prompt has {len(prompt)} tokens, the model holds {self._conversations.context}"
                return Failure("too_long", message)
        payload = payload_hash(self.identity, request.messages, sampling)
        asked = _Asked(request, len(prompt))
        return [
            _Wanted(
                asked,
                place,
                Row(
                    prompt,
                    noise_key(payload, sample_index),
                    max_tokens=max_tokens,
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    stop=sampling.stop,
                ),
            )
            for place, sample_index in enumerate(request.sample_indices)
        ]


def _size(row: Row) -> int:
    return len(row.prompt) + row.max_tokens


def _cut(window: _Batch, batch_tokens: int) -> Iterator[_Batch]:
    """Cuts a window into batches: the longest prompts first, so that memory runs out early or never."""
    batch: _Batch = []
    widest = 0
    for wanted in sorted(window, key=lambda wanted: len(wanted.row.prompt), reverse=True):
        widest = max(widest, _size(wanted.row))
        if batch and widest * (len(batch) + 1) > batch_tokens:
            yield batch
            batch, widest = [], _size(wanted.row)
        batch.append(wanted)
    if batch:
        yield batch


def _load(model: str, device: str, dtype: str, threads: int | None) -> LanguageModel:
    return LanguageModel(model, device=device, dtype=dtype, threads=threads)


def _draw(model: LanguageModel, rows: list[Row]) -> list[Drawn]:
    try:
        return model.draw(rows)
    except torch.OutOfMemoryError as err:
        raise LimitReached(f"a batch of {len(rows)} samples does not fit into memory; lower --batch-tokens") from err


_worker_model: LanguageModel | None = None


def _start_worker(model: str, device: str, dtype: str, threads: int | None) -> None:
    global _worker_model
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; the parent ends us
    _worker_model = _load(model, device, dtype, threads)


def _draw_in_worker(rows: list[Row]) -> list[Drawn]:
    assert _worker_model is not None
    return _draw(_worker_model, rows)
