"""The engine `vllm`: samples in this process, on the GPUs of this machine.

Requests enter vLLM one by one and answers leave it as they finish (`LLMEngine.add_request` and `step`, the loop that
`LLM.generate` is made of), so that its batch is always full and follow-up questions wait for nobody else's answer.

Every sample is a request of its own, with its own seed. vLLM splits a request for n samples into just that, and the
samples of a prompt share its keys and values either way; but only so can a resumed run ask for the samples that it
misses, and draw several at temperature 0.
"""

import gc
import hashlib
import importlib.util
import os
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepmark.engine import Completion, EngineIdentity, Failure, Request, Sample, payload_hash, split_reasoning
from stepmark.errors import SettingsError

from .decoding import Conversations
from .revision import model_revision

_SPEED_ONLY = frozenset(
    {
        *("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "distributed_executor_backend"),
        *("gpu_memory_utilization", "kv_cache_memory_bytes", "cpu_offload_gb", "block_size", "enable_prefix_caching"),
        *("max_num_seqs", "max_num_batched_tokens", "enforce_eager", "compilation_config", "async_scheduling"),
        *("enable_chunked_prefill", "download_dir", "load_format", "disable_log_stats", "disable_custom_all_reduce"),
    }
)
"""Options that change how fast a model samples, and not what: they are no part of its identity."""


@dataclass(slots=True)
class _Asked:
    """A request, and its samples as far as they are drawn."""

    request: Request
    n_prompt_tokens: int
    drawn: dict[int, Sample | Failure] = field(default_factory=dict)
    """By sample index."""

    def completion(self) -> Completion:
        samples = tuple(self.drawn[index] for index in self.request.sample_indices)
        n_tokens = sum(sample.n_tokens or 0 for sample in samples if isinstance(sample, Sample))
        return Completion(samples, n_prompt_tokens=self.n_prompt_tokens, n_completion_tokens=n_tokens)


class VLLMEngine:
    """Samples from a model that vLLM holds."""

    def __init__(self, model: str, *, options: Mapping[str, Any] | None = None) -> None:
        """Names the model; vLLM is imported, and the model loaded, when the first answer is wanted.

        Args:
            model: Folder, or name on the Hub.
            options: Of `vllm.LLM`: `tensor_parallel_size`, `gpu_memory_utilization`, `max_model_len`, `dtype`, ...

        Raises:
            SettingsError: vLLM is not installed.
        """
        if importlib.util.find_spec("vllm") is None:
            raise SettingsError(
                "the engine vllm needs vLLM, which is not installed; run: pip install 'stepmark[vllm]', "
                "or start `vllm serve` elsewhere and use the engine openai"
            )
        self._options = dict(options or {})
        deciding = {name: value for name, value in self._options.items() if name not in _SPEED_ONLY}
        self.identity = EngineIdentity("vllm", model, model_revision(model), extra=deciding)
        self._engine: Any = None
        self._conversations: Conversations | None = None
        self._in_flight: dict[str, tuple[_Asked, int]] = {}
        """Request and sample index, by vLLM's id."""

    def answer(self, requests: Iterable[Request | None]) -> Generator[tuple[Request, Completion] | None, None, None]:
        """Keeps as many samples in flight as vLLM samples at once; yields a request when its last sample is there.

        Raises:
            SettingsError: vLLM cannot load the model with these options.
        """
        if self._in_flight:  # left over by a caller that stopped early
            self._engine.abort_request(list(self._in_flight))
            self._in_flight.clear()
        coming = iter(requests)
        is_held = False
        """Whether the next request depends on an answer, or there is none."""
        shown_at = time.monotonic()
        while True:
            while not is_held and len(self._in_flight) < self._room():
                request = next(coming, None)
                if request is None:
                    is_held = True
                elif failure := self._add(request):
                    yield request, Completion.failed(request, failure)
            if not self._in_flight:
                return
            finished, failure = self._step()
            if failure is not None:
                yield finished[0].request, Completion.failed(finished[0].request, failure)
                return
            for asked in finished:
                is_held = False
                yield asked.request, asked.completion()
            if not finished and time.monotonic() - shown_at > 0.5:
                shown_at = time.monotonic()
                yield None

    def close(self) -> None:
        """Ends vLLM's process, where it has one, and gives the model's memory back."""
        if self._engine is not None:
            self._engine.engine_core.shutdown()
        self._engine = self._conversations = None
        self._in_flight.clear()
        gc.collect()

    def _room(self) -> int:
        """Samples in flight at most; before vLLM is loaded, for the first request, one."""
        if self._engine is None:
            return 1
        most: int = self._engine.vllm_config.scheduler_config.max_num_seqs
        return most

    def _load(self) -> None:
        # vLLM's log goes to stdout, which is for answers, unless this is set before the import.
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        import vllm
        from vllm.platforms import current_platform

        if current_platform.is_cpu():
            # A prompt read in several parts takes a seeded random generator back, which torch cannot do on a CPU.
            self._options.setdefault("enable_chunked_prefill", False)
        model = self.identity.model
        self._conversations = Conversations(model)
        try:
            self._engine = vllm.LLM(model, **self._options).llm_engine
        except (OSError, ValueError, TypeError, RuntimeError) as err:
            raise SettingsError(f"vLLM cannot load the model {model!r} with {self._options}: {err}") from err

    def _add(self, request: Request) -> Failure | None:
        """Hands a request to vLLM, sample by sample; returns why it cannot be sampled."""
        if self._engine is None:
            self._load()
        from vllm import SamplingParams, TokensPrompt
        from vllm.exceptions import VLLMClientError
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        assert self._conversations is not None
        prompt = self._conversations.encode(request.messages)
        context: int = self._engine.model_config.max_model_len
        if len(prompt) >= context:
            return Failure("too_long", f"the prompt has {len(prompt)} tokens, the model holds {context}")
        sampling = request.sampling
        payload = payload_hash(self.identity, request.messages, sampling)
        asked = _Asked(request, len(prompt))
        (rendered,) = self._engine.renderer.render_cmpl([TokensPrompt(prompt_token_ids=list(prompt))])
        for index in request.sample_indices:
            sample_id = f"{request.key}/{index}"
            try:
                params = SamplingParams(
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    max_tokens=min(sampling.max_tokens, context - len(prompt)),
                    stop=list(sampling.stop),
                    seed=_seed(payload, index),
                    structured_outputs=(
                        None if sampling.json_schema is None else StructuredOutputsParams(json=sampling.json_schema)
                    ),
                    output_kind=RequestOutputKind.FINAL_ONLY,
                )
                self._engine.add_request(sample_id, rendered, params)
            except (ValueError, VLLMClientError) as err:
                return Failure("bad_request", str(err))
            self._in_flight[sample_id] = asked, index
        return None

    def _step(self) -> tuple[list[_Asked], Failure | None]:
        """Lets vLLM sample one token for all that it holds; returns the requests that this completed.

        Where vLLM has died, they are one that was in flight, and the failure.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            outputs = self._engine.step()
        except EngineDeadError as err:
            asked, _ = next(iter(self._in_flight.values()))
            return [asked], Failure("worker", f"vLLM's process died; its log says why ({err})", is_fatal=True)
        finished = []
        for output in outputs:
            asked, index = self._in_flight.pop(output.request_id)
            asked.drawn[index] = _read(output.outputs[0])
            if len(asked.drawn) == len(asked.request.sample_indices):
                finished.append(asked)
        return finished, None


def _read(output: Any) -> Sample | Failure:
    if output.finish_reason not in ("stop", "length"):
        return Failure("server_error", f"vLLM ended the sample by {output.finish_reason!r}")
    reasoning, text = split_reasoning(output.text)
    return Sample(text, output.finish_reason, len(output.token_ids), reasoning)


def _seed(payload: str, sample_index: int) -> int:
    """A seed of its own for each sample, or the missing samples of a resumed run would repeat the others."""
    digest = hashlib.blake2b(f"{payload}/{sample_index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
