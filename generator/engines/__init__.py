"""The engines, by name; each module imports its heavy library only when its engine is opened."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepmark.engine import Engine
from stepmark.errors import SettingsError

if TYPE_CHECKING:
    from .openai_batch import Ledger

ENGINES = ("openai", "openai-batch", "transformers", "vllm", "ray")
INSIDE_RAY = ("vllm", "transformers")
"""What the workers of the engine `ray` can sample with."""


def open_engine(
    name: str,
    model: str,
    *,
    base_url: str,
    api_key: str | None = None,
    concurrency: int = 50,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    ledger: "Ledger | None" = None,
    batch_requests: int = 50_000,
    poll_s: float = 60.0,
    batch_tokens: int = 32768,
    threads: int | None = None,
    workers: int = 1,
    device: str = "auto",
    dtype: str = "auto",
    options: Mapping[str, Any] | None = None,
    ray_dir: Path | None = None,
    ray_engine: str = "vllm",
) -> Engine:
    """Opens the engine `name` on a model; each engine takes the options that it has and leaves the others.

    Raises:
        SettingsError: There is no such engine, or an option cannot be used.
    """
    if name == "openai":
        from .openai import OpenAIEngine

        return OpenAIEngine(
            model,
            base_url=base_url,
            api_key=api_key,
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )
    if name == "openai-batch":
        from .openai_batch import OpenAIBatchEngine

        return OpenAIBatchEngine(
            model, base_url=base_url, api_key=api_key, ledger=ledger, n_rows=batch_requests, longest_wait_s=poll_s
        )
    if name == "transformers":
        from .transformers import TransformersEngine

        return TransformersEngine(
            model, device=device, dtype=dtype, threads=threads, batch_tokens=batch_tokens, workers=workers
        )
    if name == "vllm":
        from .vllm import VLLMEngine

        return VLLMEngine(model, options=options)
    if name == "ray":
        from .ray import Inside, RayEngine

        if ray_engine not in INSIDE_RAY or ray_dir is None:
            raise SettingsError(f"the engine ray needs --ray-dir, and --ray-engine {' or '.join(INSIDE_RAY)}")
        own: dict[str, dict[str, Any]] = {
            "vllm": {"options": options},
            "transformers": {"device": device, "dtype": dtype, "threads": threads, "batch_tokens": batch_tokens},
        }
        return RayEngine(Inside(ray_engine, model, own[ray_engine]), ray_dir, workers=workers)
    raise SettingsError(f"there is no engine {name!r}; use one of: {', '.join(ENGINES)}")
