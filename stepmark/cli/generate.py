"""`stepmark generate`: batch jobs that ask language models."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from stepmark.errors import EngineError

from .options import Db, Json, database_url
from .output import fields_of, print_counts, print_json
from .progress import progress_bar

if TYPE_CHECKING:
    from generator.solutions import Report

app = typer.Typer(
    help="Sample from language models; every command resumes where it was stopped.", no_args_is_help=True
)


@app.callback()
def _generate() -> None:
    """Keeps the noun in the command while it has one command only."""


@app.command()
def solutions(
    model: Annotated[str, typer.Option(help="Model: a name that the server knows, a folder, or a name on the Hub.")],
    engine: Annotated[
        str, typer.Option(help="openai (any compatible server) or transformers (this machine).")
    ] = "openai",
    base_url: Annotated[
        str | None, typer.Option(help="Server of the engine openai [default: $STEPMARK_BASE_URL].")
    ] = None,
    n: Annotated[int, typer.Option(min=1, help="Solutions wanted of each problem.")] = 8,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Sampling temperature; 0 takes the likeliest token.")
    ] = 0.7,
    top_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Sample from the likeliest tokens of this total probability.")
    ] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one solution at most.")] = 1024,
    seed: Annotated[int, typer.Option(help="Another seed gives other solutions.")] = 0,
    prompt: Annotated[
        str, typer.Option(help="steps, plain (the problem alone), or a file with the place {problem}.")
    ] = "steps",
    source: Annotated[
        str | None, typer.Option(help="Only problems of this source; * matches anything: 'gsm8k/*'.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many problems.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight (openai).")] = 50,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one batch (transformers).")] = 32768,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each worker (transformers) [default: 1 for small models].")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that sample (transformers).")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be asked.")] = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Samples step-by-step solutions of the problems in the database.

    Nothing is asked twice: the same command resumes a run that was stopped, and a larger --n asks only for more.
    Failures are kept apart by kind and asked again by the next run.
    """
    from contextlib import closing

    from db.connect import open_database
    from db.runs import ProblemSelection
    from generator.engines import open_engine
    from generator.solutions import generate_solutions
    from stepmark.engine import Sampling
    from stepmark.prompts import read_prompt
    from stepmark.settings import Settings

    settings = Settings()
    template = read_prompt(prompt)
    database = open_database(database_url(db))
    opened = open_engine(
        engine,
        model,
        base_url=base_url or settings.base_url,
        api_key=settings.api_key,
        concurrency=concurrency,
        batch_tokens=batch_tokens,
        threads=threads,
        workers=workers,
    )
    with closing(opened), progress_bar("solutions") as show:
        report = generate_solutions(
            database,
            opened,
            n=n,
            prompt=template,
            sampling=Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed),
            selection=ProblemSelection(source, limit),
            on_progress=lambda report: show(report.n_wanted - report.n_not_asked, report.n_wanted, _note(report)),
            is_dry_run=dry_run,
        )
    if json:
        print_json(fields_of(report) | {"n_not_asked": report.n_not_asked})
    else:
        _print_report(report)
    _exit(report)


def _print_report(report: "Report") -> None:
    if report.status == "dry run":
        print(
            f"{report.n_problems:,} problems, {report.n_wanted:,} solutions wanted: "
            f"{report.n_stored_before:,} stored, {report.n_not_asked:,} to ask, "
            f"of which {report.n_retried:,} failed before"
        )
        return
    print_counts(
        "solutions",
        read=report.n_wanted,
        kept=report.n_stored_before + report.n_stored,
        dropped={**report.failures, "not asked": report.n_not_asked},
    )
    print(f"{report.n_stored_before:,} stored before, {report.n_retried:,} asked again after a failure")
    print(
        f"{report.n_stored:,} stored now: {report.n_truncated:,} truncated, "
        f"{report.n_unreadable:,} without a readable answer"
    )
    cost = "unknown" if report.cost_usd is None else f"{report.cost_usd:.4f} USD"
    print(
        f"{report.n_prompt_tokens:,} prompt tokens, {report.n_completion_tokens:,} sampled tokens, cost {cost}, "
        f"{report.elapsed_s:,.1f} s"
    )


def _note(report: "Report") -> str:
    rate = f"{report.n_stored / report.elapsed_s:,.1f}/s" if report.elapsed_s else ""
    return f"{rate} {_by_kind(report)}".strip()


def _by_kind(report: "Report") -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(report.failures.items()))


def _exit(report: "Report") -> None:
    """Exits 130 after Ctrl-C, and 1 where the engine could not go on or nothing came but failures."""
    if report.status == "stopped":
        print("stepmark: stopped; run the same command again to resume", file=sys.stderr)
        raise typer.Exit(130)
    if report.status == "failed":
        raise EngineError(f"{report.message}\nWhat came before is stored; run the same command again to resume.")
    if report.failures and not report.n_stored:
        raise EngineError(f"every sample failed ({_by_kind(report)}); run the same command again to retry them")
