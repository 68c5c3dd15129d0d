"""A reward model behind a vLLM server: scores as `trainer.score.RewardModel` does, over the pooling endpoint.

The folder of the trained model stays the authority on how text becomes tokens: token ids are sent, never text, so a
score is that of the same tokens in process. A PRM is served as a token classifier (`--layout token-classification`,
or `stepmark train convert`), with or without pooling type STEP; an ORM or Bradley-Terry model as the sequence
classifier that it is. vLLM applies softmax, sigmoid or nothing by the model's configuration, so what comes back is a
score already.

    vllm serve MODEL --runner pooling --pooler-config '{"pooling_type": "STEP", "step_tag_id": ID}'
"""

import json
import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2

from stepmark.errors import EngineError, InputError, SettingsError
from stepmark.steps import SEPARATOR

from .batches import ReadSequence
from .models import load_tokenizer
from .render import TOO_LONG, Renderer
from .rows import Kind, OrmRow, PrmRow, Prompt, as_prompt
from .score import Aggregate, Scored, aggregate
from .train import MANIFEST

_WINDOW = 1024
"""Items tokenised and in flight at a time."""

_BATCH = 32
"""Solutions of one request."""

_ATTEMPTS = 5
"""Tries of a request that the server refuses for the moment, or that does not reach it."""


class ServedRewardModel:
    """A trained reward model that a vLLM server computes."""

    def __init__(self, folder: Path, url: str, *, served_name: str | None = None, concurrency: int = 8) -> None:
        """Reads the model's folder and asks the server what it serves.

        Args:
            folder: What `stepmark train` wrote, for its tokenizer and manifest.
            url: Of the server, with or without `/v1`.
            served_name: The model's name there; its only one, if not given.
            concurrency: Requests in flight.

        Raises:
            InputError: The folder is no finished reward model.
            SettingsError: It cannot be served in this layout, or the server serves several models.
            EngineError: The server cannot be reached.
        """
        try:
            self.manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as err:
            raise InputError(
                f"{folder} has no {MANIFEST}: it is no finished reward model of `stepmark train`."
            ) from err
        self.kind: Kind = self.manifest["kind"]
        if self.manifest["layout"] == "causal-lm":
            raise SettingsError(
                f"{folder} is a PRM in the layout causal-lm, which no pooling server computes; convert it with "
                "`stepmark train convert`, or train it with --layout token-classification."
            )
        self.n_forwarded = 0
        """Solutions that went to the server."""
        self._renderer = Renderer(load_tokenizer(str(folder)), self.kind, step_token=self.manifest.get("step_token"))
        self._max_length: int = self.manifest["max_length"]
        self._url = url.rstrip("/").removesuffix("/v1")
        self._concurrency = concurrency
        self._client = httpx2.Client(timeout=300)
        self._name = served_name or self._only_name()

    def close(self) -> None:
        """Gives back the connections."""
        self._client.close()

    def score(
        self, items: Iterable[tuple[Hashable, str | Prompt, Sequence[str]]], *, how: Aggregate = "product"
    ) -> Iterator[Scored]:
        """Scores solutions in the order in which they came; see `trainer.score.RewardModel.score`.

        Raises:
            EngineError: The server failed for good.
        """
        iterator = iter(items)
        with ThreadPoolExecutor(self._concurrency) as pool:
            while window := list(islice(iterator, _WINDOW)):
                rows = [self._row(prompt, segments) for _, prompt, segments in window]
                sequences = [sequence for (sequence,) in self._renderer.sequences(rows)]
                asked = [s for s in sequences if len(s.tokens) <= self._max_length and s.positions]
                batches = [asked[start : start + _BATCH] for start in range(0, len(asked), _BATCH)]
                answers = iter([values for batch in pool.map(self._ask, batches) for values in batch])
                for (key, _, _), sequence in zip(window, sequences, strict=True):
                    if len(sequence.tokens) > self._max_length:
                        yield Scored(key, None, reason=TOO_LONG)
                    elif not sequence.positions:
                        yield Scored(key, None, reason="no segments")
                    else:
                        values = next(answers)
                        if self.kind == "prm":
                            yield Scored(key, aggregate(values, how), tuple(values))
                        else:
                            yield Scored(key, values[0])

    def _row(self, prompt: str | Prompt, segments: Sequence[str]) -> PrmRow | OrmRow:
        messages = as_prompt(prompt) if isinstance(prompt, str) else prompt
        if self.kind == "prm":
            return PrmRow(messages, tuple(segments), (0.0,) * len(segments))
        return OrmRow(messages, SEPARATOR.join(segments), 0.0)

    def _ask(self, batch: list[ReadSequence]) -> list[list[float]]:
        task = "token_classify" if self.kind == "prm" else "classify"
        body = {"model": self._name, "task": task, "input": [list(sequence.tokens) for sequence in batch]}
        answer = self._request("POST", "/pooling", body)
        found = sorted(answer["data"], key=lambda one: one["index"])
        if len(found) != len(batch):
            raise EngineError(f"{self._url} answered {len(found)} of {len(batch)} solutions.")
        self.n_forwarded += len(batch)
        return [self._read(one["data"], sequence) for one, sequence in zip(found, batch, strict=True)]

    def _read(self, data: Any, sequence: ReadSequence) -> list[float]:
        """Scores from one answer: [1], or a row of two (P(right) first) for each step, or for each token."""
        if self.kind != "prm":
            return [float(data[0])]
        if len(data) == len(sequence.positions):
            rows = data
        elif len(data) == len(sequence.tokens):
            rows = [data[position] for position in sequence.positions]
        else:
            raise EngineError(
                f"{self._url} gave {len(data)} scores for {len(sequence.positions)} steps and {len(sequence.tokens)} "
                "tokens; serve it with pooling type STEP and the step token's id, or with ALL."
            )
        if any(len(row) != 2 for row in rows):
            raise EngineError(
                f"{self._url} gave {len(rows[0])} numbers for a step, not two; it serves another model."
            )
        return [float(row[0]) for row in rows]

    def _only_name(self) -> str:
        names = [model["id"] for model in self._request("GET", "/v1/models")["data"]]
        if len(names) != 1:
            raise SettingsError(f"{self._url} serves {', '.join(names) or 'no model'}; say which: --served-name")
        return str(names[0])

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = self._client.request(method, self._url + path, json=body)
            except httpx2.TransportError as err:
                if attempt == _ATTEMPTS or body is None:
                    raise EngineError(f"{self._url} cannot be reached: {err}") from err
            else:
                if answer.status_code == 200:
                    found: dict[str, Any] = answer.json()
                    return found
                if answer.status_code not in (429, 503) or attempt == _ATTEMPTS:
                    raise EngineError(f"{self._url}{path} answered {answer.status_code}: {answer.text[:300]}")
            time.sleep(0.5 * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")
