"""What all commands of `generate` share: the flags of engine, sampling and budget, and running a task with them."""

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from stepmark.cli.options import open_db
from stepmark.cli.progress import progress_bar
from stepmark.errors import SettingsError

from .reports import print_parts, progress_words

if TYPE_CHECKING:
    from db.batches import BatchLedger
    from db.runs import ProblemSelection
    from generator.asking import Task
    from generator.mixing import Part
    from stepmark.engine import Engine, Sampling

Value = TypeVar("Value")


@dataclass(frozen=True)
class Asking:
    """The flags of everything that asks a model: each field is one."""

    model: Annotated[
        list[str],
        typer.Option(metavar="MODEL", help="A name that the server knows, a folder, or a name on the Hub."),
    ]
    engine: Annotated[
        str,
        typer.Option(
            help="openai (any compatible server), openai-batch (within a day, at half the price); on this machine: "
            "transformers, vllm; on many: ray."
        ),
    ] = "openai"
    base_url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="Server of the engines openai and openai-batch [default: $STEPMARK_BASE_URL]."
        ),
    ] = None
    temperature: Annotated[
        list[float],
        typer.Option(metavar="NUMBER", min=0.0, help="Sampling temperature; 0 takes the likeliest token."),
    ] = field(default_factory=lambda: [0.7])
    top_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Sample from the likeliest tokens of this total probability.")
    ] = 1.0
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one sample at most.")] = 1024
    redo_truncated: Annotated[
        int | None, typer.Option(min=1, help="Ask samples that reach --max-tokens again, with this larger limit.")
    ] = None
    seed: Annotated[int, typer.Option(help="Another seed gives other samples.")] = 0
    budget_usd: Annotated[
        float | None, typer.Option(min=0.0, help="Stop before the run costs more, all its calls together.")
    ] = None
    budget_tokens: Annotated[
        int | None, typer.Option(min=0, help="Stop before the run uses more tokens, all its calls together.")
    ] = None
    price_in: Annotated[
        list[float] | None,
        typer.Option(
            metavar="USD",
            min=0.0,
            help="USD per million prompt tokens, for openai-batch its own; unknown where not given.",
        ),
    ] = None
    price_out: Annotated[
        list[float] | None, typer.Option(metavar="USD", min=0.0, help="USD per million sampled tokens.")
    ] = None
    concurrency: Annotated[
        int, typer.Option(min=1, help="Requests in flight at most; fewer while the server cannot keep up (openai).")
    ] = 50
    rpm: Annotated[int | None, typer.Option(min=1, help="Requests per minute at most (openai).")] = None
    tpm: Annotated[int | None, typer.Option(min=1, help="Tokens per minute at most, about (openai).")] = None
    batch_requests: Annotated[int, typer.Option(min=1, help="Requests of one batch at most (openai-batch).")] = 50_000
    poll_s: Annotated[
        float, typer.Option(min=0.1, help="Longest wait between two looks at a batch (openai-batch).")
    ] = 60.0
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one batch (transformers).")] = 32768
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each worker (transformers) [default: 1 for small models].")
    ] = None
    workers: Annotated[int, typer.Option(min=1, help="Processes that sample (transformers, ray).")] = 1
    engine_option: Annotated[
        list[str] | None,
        typer.Option(help="Option of vLLM as NAME=VALUE, such as tensor_parallel_size=2; may be repeated (vllm)."),
    ] = None
    ray_dir: Annotated[
        Path | None, typer.Option(help="Folder for requests and answers that every node sees (ray).")
    ] = None
    ray_engine: Annotated[str, typer.Option(help="What each worker samples with: vllm or transformers (ray).")] = (
        "vllm"
    )
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be asked, and what it may cost.")
    ] = False

    def one_model(self) -> str:
        """The model, for commands that ask one at a time."""
        return _only("--model", self.model)

    def sampling(self) -> "Sampling":
        """The sampling parameters, for commands that ask at one temperature at a time."""
        return self._sampling(_only("--temperature", self.temperature))

    def run(self, task: "Task[Any, Any]", *, db: str | None, json: bool) -> None:
        """Runs a task, shows its progress, prints its report, and exits as it ended."""
        _only("--model", self.model)
        _only("--temperature", self.temperature)
        self.run_mixed(lambda model, sampling: task, db=db, json=json)

    def run_mixed(self, task_of: "Callable[[str, Sampling], Task[Any, Any]]", *, db: str | None, json: bool) -> None:
        """Runs the task of each model at each temperature, one after another; else as `run`."""
        from db.batches import BatchLedger
        from generator.budget import Limits
        from generator.mixing import MixedModel, run_mix

        _check_distinct("--model", self.model)
        _check_distinct("--temperature", self.temperature)
        prices = zip(
            self._of_models("--price-in", self.price_in), self._of_models("--price-out", self.price_out), strict=True
        )
        limits = [Limits(price_in, price_out, self.budget_usd, self.budget_tokens) for price_in, price_out in prices]
        base_urls = self._of_models("--base-url", self.base_url)
        database = open_db(db)
        ledger = BatchLedger(database)
        models = [
            MixedModel(
                self._open_engine(model, base_url, ledger),
                limit,
                {temperature: task_of(model, self._sampling(temperature)) for temperature in self.temperature},
            )
            for model, base_url, limit in zip(self.model, base_urls, limits, strict=True)
        ]
        kind = models[0].tasks[self.temperature[0]].kind
        with _terminating_as_interrupting(), progress_bar(kind) as show:
            parts = run_mix(
                database,
                models,
                redo_truncated=self.redo_truncated,
                on_progress=lambda part: show(
                    part.report.n_items_over, part.report.n_items, self._note(part, ledger)
                ),
                is_dry_run=self.dry_run,
            )
        for batch_key, state in ledger.under_way.items():
            print(
                f"stepmark: batch {batch_key} goes on at the service ({state}); "
                "the same command picks its answers up, and hands nothing over twice",
                file=sys.stderr,
            )
        print_parts(parts, json=json)

    def _sampling(self, temperature: float) -> "Sampling":
        from stepmark.engine import Sampling

        return Sampling(temperature=temperature, top_p=self.top_p, max_tokens=self.max_tokens, seed=self.seed)

    def _open_engine(self, model: str, base_url: str | None, ledger: "BatchLedger") -> "Engine":
        """Opens the engine on a model; nothing is loaded or sent yet."""
        from generator.engines import open_engine
        from stepmark.settings import Settings

        settings = Settings()
        return open_engine(
            self.engine,
            model,
            base_url=base_url or settings.base_url,
            api_key=settings.api_key,
            concurrency=self.concurrency,
            requests_per_minute=self.rpm,
            tokens_per_minute=self.tpm,
            ledger=ledger,
            batch_requests=self.batch_requests,
            poll_s=self.poll_s,
            batch_tokens=self.batch_tokens,
            threads=self.threads,
            workers=self.workers,
            options=dict(_option(text) for text in self.engine_option or ()),
            ray_dir=self.ray_dir,
            ray_engine=self.ray_engine,
        )

    def _of_models(self, flag: str, values: Sequence[Value] | None) -> Sequence[Value | None]:
        """A value for each model: its own, or the only one; None where the flag is not given."""
        if not values:
            return [None] * len(self.model)
        if len(values) not in (1, len(self.model)):
            raise SettingsError(
                f"{flag} has {len(values)} values and --model {len(self.model)}; "
                "give one for all models, or one for each in their order"
            )
        return values if len(values) == len(self.model) else list(values) * len(self.model)

    def _note(self, part: "Part", ledger: "BatchLedger") -> str:
        is_mixed = len(self.model) * len(self.temperature) > 1
        words = [part.name] if is_mixed else []
        return "  ".join([*words, *progress_words(part.report), *ledger.under_way.values()])


def _only(flag: str, values: Sequence[Value]) -> Value:
    if len(values) != 1:
        raise SettingsError(
            f"{flag} is given {len(values)} times ({', '.join(map(str, values))}); this command takes one, "
            "so run it once for each"
        )
    return values[0]


def _check_distinct(flag: str, values: Sequence[Any]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise SettingsError(f"{flag} {value} is given {count} times; give each once")


@contextmanager
def _terminating_as_interrupting() -> Iterator[None]:
    """Lets SIGTERM, by which a cluster ends a job, stop the run as Ctrl-C does, with everything stored."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _option(text: str) -> tuple[str, Any]:
    """Reads NAME=VALUE; the value is JSON where it can be read so, else text.

    >>> _option("max-model-len=4096"), _option("dtype=float16"), _option("enforce_eager=true")
    (('max_model_len', 4096), ('dtype', 'float16'), ('enforce_eager', True))
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise SettingsError(f"--engine-option is {text!r}; write it as NAME=VALUE, such as dtype=float16")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value


def say_flagged(selection: "ProblemSelection", db: str | None) -> None:
    """Says on stderr how many problems of a selection are left out because a filter flagged them."""
    from db.flags import count_flagged

    n_flagged = 0 if selection.with_flagged else count_flagged(open_db(db), selection.source)
    if n_flagged:
        print(f"left out: {n_flagged:,} problems that repeat others (see `stepmark filter`)", file=sys.stderr)
