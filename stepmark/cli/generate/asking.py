"""What all commands of `generate` share: the flags of engine, sampling and budget, running a task, its report."""

import inspect
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from stepmark.cli.options import database_url
from stepmark.cli.output import fields_of, print_counts, print_json
from stepmark.cli.progress import progress_bar
from stepmark.errors import EngineError, LimitReached, SettingsError

if TYPE_CHECKING:
    from db.batches import BatchLedger
    from db.runs import ProblemSelection
    from generator.asking import Report, Task
    from stepmark.engine import Engine, Sampling


@dataclass(frozen=True)
class Asking:
    """The flags of everything that asks a model: each field is one."""

    model: Annotated[str, typer.Option(help="Model: a name that the server knows, a folder, or a name on the Hub.")]
    engine: Annotated[
        str,
        typer.Option(
            help="openai (any compatible server), openai-batch (within a day, at half the price); on this machine: "
            "transformers, vllm; on many: ray."
        ),
    ] = "openai"
    base_url: Annotated[
        str | None, typer.Option(help="Server of the engines openai and openai-batch [default: $STEPMARK_BASE_URL].")
    ] = None
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Sampling temperature; 0 takes the likeliest token.")
    ] = 0.7
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
        float | None,
        typer.Option(
            min=0.0, help="USD per million prompt tokens, for openai-batch its own; unknown where not given."
        ),
    ] = None
    price_out: Annotated[float | None, typer.Option(min=0.0, help="USD per million sampled tokens.")] = None
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

    def sampling(self) -> "Sampling":
        """The sampling parameters."""
        from stepmark.engine import Sampling

        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens, seed=self.seed)

    def open_engine(self, ledger: "BatchLedger | None" = None) -> "Engine":
        """Opens the engine; nothing is loaded or sent yet.

        Args:
            ledger: Where the engine openai-batch writes down what it hands over.
        """
        from generator.engines import open_engine
        from stepmark.settings import Settings

        settings = Settings()
        return open_engine(
            self.engine,
            self.model,
            base_url=self.base_url or settings.base_url,
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

    def run(self, task: "Task[Any, Any]", *, db: str | None, json: bool) -> None:
        """Runs a task, shows its progress, prints its report, and exits as it ended."""
        from db.batches import BatchLedger
        from db.connect import open_database
        from generator.asking import run_task
        from generator.budget import Limits

        limits = Limits(self.price_in, self.price_out, self.budget_usd, self.budget_tokens)
        database = open_database(database_url(db))
        ledger = BatchLedger(database)
        opened = self.open_engine(ledger)
        with _terminating_as_interrupting(), closing(opened) as engine, progress_bar(task.kind) as show:
            report = run_task(
                database,
                engine,
                task,
                limits=limits,
                redo_truncated=self.redo_truncated,
                on_progress=lambda report: show(report.n_items_over, report.n_items, _note(report, ledger)),
                is_dry_run=self.dry_run,
            )
        for batch_key, state in ledger.under_way.items():
            print(
                f"stepmark: batch {batch_key} goes on at the service ({state}); "
                "the same command picks its answers up, and hands nothing over twice",
                file=sys.stderr,
            )
        print_report(report, json=json)


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


Command = TypeVar("Command", bound=Callable[..., None])


def with_flags(command: Command) -> Command:
    """Gives a command a flag for each field of the dataclasses that it takes; it gets them filled.

    Typer reads a command's signature: in it, a parameter whose type is a dataclass is replaced by its fields.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))
            continue
        types = get_type_hints(groups[name], include_extras=True)
        parameters += (
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=types[field.name],
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
            )
            for field in fields(groups[name])
        )

    @wraps(command)
    def run(**values: Any) -> None:
        filled = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**filled, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run  # type: ignore[return-value]


def say_flagged(selection: "ProblemSelection", db: str | None) -> None:
    """Says on stderr how many problems of a selection are left out because a filter flagged them."""
    from db.connect import open_database
    from db.flags import count_flagged

    n_flagged = 0 if selection.with_flagged else count_flagged(open_database(database_url(db)), selection.source)
    if n_flagged:
        print(f"left out: {n_flagged:,} problems that repeat others (see `stepmark filter`)", file=sys.stderr)


def print_report(report: "Report", *, json: bool) -> None:
    """Prints what a call did.

    Raises:
        EngineError: The engine could not go on, or nothing came but failures.
        LimitReached: A budget is reached.
        typer.Exit: With 130 after Ctrl-C.
    """
    if json:
        print_json(fields_of(report) | {"n_not_asked": report.n_not_asked})
    elif report.status == "dry run":
        _print_estimate(report)
    else:
        _print_counts(report)
    if report.status == "stopped":
        print("stepmark: stopped; run the same command again to resume", file=sys.stderr)
        raise typer.Exit(130)
    if report.status == "budget":
        raise LimitReached(f"{report.message}\nWhat came is stored; the same command with a larger budget goes on.")
    if report.status == "failed":
        raise EngineError(f"{report.message}\nWhat came before is stored; run the same command again to resume.")
    if report.failures and not report.n_stored:
        raise EngineError(f"every sample failed ({_by_kind(report)}); run the same command again to retry them")


def _print_counts(report: "Report") -> None:
    print_counts(
        report.unit,
        read=report.n_items,
        kept=report.n_items_before + report.n_items_done,
        dropped={**report.dropped, "not finished": report.n_items - report.n_items_over},
    )
    if report.n_items_before:
        print(f"{report.n_items_before:,} {report.unit} were done before")
    print_counts(
        "samples",
        read=report.n_wanted,
        kept=report.n_stored_before + report.n_stored,
        dropped={**report.failures, "not asked": report.n_not_asked},
    )
    print(
        f"{report.n_stored:,} samples stored now, {report.n_truncated:,} of them truncated; "
        f"{report.n_stored_before:,} stored before, {report.n_retried:,} asked again after a failure"
    )
    if report.counts:
        print("stored: " + ", ".join(f"{count:,} {what}" for what, count in report.counts.items()))
    print(
        f"{report.n_prompt_tokens:,} prompt tokens, {report.n_completion_tokens:,} sampled tokens, "
        f"cost {_cost(report)}, {report.elapsed_s:,.1f} s"
    )


def _print_estimate(report: "Report") -> None:
    found = report.estimate
    assert found is not None
    print(f"{report.n_items:,} {report.unit}, {report.n_items_before:,} of them done before")
    print(
        f"{report.n_wanted:,} samples wanted: {report.n_stored_before:,} stored, {found.n_samples:,} to ask "
        f"in {found.n_requests:,} requests, of which {report.n_retried:,} samples failed before"
    )
    likely = found.n_completion_tokens_likely
    print(
        f"about {found.n_prompt_tokens:,} prompt tokens; sampled tokens: "
        + ("" if likely is None else f"about {likely:,}, ")
        + f"at most {found.n_completion_tokens_at_most:,}"
    )
    if found.cost_usd_at_most is None:
        print("cost unknown: give --price-in and --price-out (USD per million tokens)")
    else:
        about = "" if found.cost_usd_likely is None else f"about {found.cost_usd_likely:,.4f} USD, "
        print(f"cost: {about}at most {found.cost_usd_at_most:,.4f} USD")


def _note(report: "Report", ledger: "BatchLedger") -> str:
    rate = f"{report.n_stored / report.elapsed_s:,.1f}/s" if report.elapsed_s else ""
    cost = "" if report.cost_usd is None else _cost(report)
    return "  ".join(
        filter(
            None, [rate, f"{report.n_completion_tokens:,} tok", cost, _by_kind(report), *ledger.under_way.values()]
        )
    )


def _cost(report: "Report") -> str:
    if report.cost_usd is None:
        return "unknown"
    return f"{'at least ' if report.n_unpriced else ''}{report.cost_usd:.4f} USD"


def _by_kind(report: "Report") -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(report.failures.items()))
