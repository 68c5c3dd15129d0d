"""How the commands of `generate` print what a call did, and exit as it ended."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from stepmark.cli.output import fields_of, print_counts, print_json
from stepmark.errors import EngineError, LimitReached

if TYPE_CHECKING:
    from generator.asking import Report
    from generator.mixing import Part


def print_parts(parts: "Sequence[Part]", *, json: bool) -> None:
    """Prints what the runs of a call did, and their total where there are several.

    As JSON the total has the fields of a single run's report, and the runs stand beside them.

    Raises:
        EngineError: An engine could not go on, or nothing came but failures.
        LimitReached: A budget is reached.
        typer.Exit: With 130 after Ctrl-C.
    """
    from generator.mixing import total

    if len(parts) == 1:
        report = parts[0].report
        if json:
            print_json(_document(report))
        else:
            _print_items(report)
            _print_samples(report)
    else:
        report = total(parts)
        if json:
            runs = [
                {"model": part.model, "temperature": part.temperature, **_document(part.report)} for part in parts
            ]
            print_json(_document(report) | {"runs": runs})
        else:
            _print_mix(parts, report)
    _exit_as(report)


def progress_words(report: "Report") -> list[str]:
    """What stands beside the bar of a run: rate, tokens, cost, failures."""
    rate = f"{report.n_stored / report.elapsed_s:,.1f}/s" if report.elapsed_s else ""
    cost = "" if report.cost_usd is None else _cost(report)
    return [word for word in (rate, f"{report.n_completion_tokens:,} tok", cost, _by_kind(report)) if word]


def _document(report: "Report") -> dict[str, Any]:
    return fields_of(report) | {"n_not_asked": report.n_not_asked}


def _exit_as(report: "Report") -> None:
    if report.status == "stopped":
        print("stepmark: stopped; run the same command again to resume", file=sys.stderr)
        raise typer.Exit(130)
    if report.status == "budget":
        raise LimitReached(f"{report.message}\nWhat came is stored; the same command with a larger budget goes on.")
    if report.status == "failed":
        raise EngineError(f"{report.message}\nWhat came before is stored; run the same command again to resume.")
    if report.is_in_vain:
        raise EngineError(f"every sample failed ({_by_kind(report)}); run the same command again to retry them")


def _print_mix(parts: "Sequence[Part]", total: "Report") -> None:
    for part in parts:
        if part.status == "not begun":
            print(f"{part.name}: not begun\n")
            continue
        print(f"{part.name}:")
        _print_items(part.report)
        _print_samples(part.report)
        print()
    ends = Counter(part.status for part in parts)
    n_done = ends.pop("done", 0) + ends.pop("dry run", 0)
    print_counts("runs", read=len(parts), kept=n_done, dropped=ends)
    _print_samples(total)


def _print_items(report: "Report") -> None:
    if report.status == "dry run":
        print(f"{report.n_items:,} {report.unit}, {report.n_items_before:,} of them done before")
        return
    print_counts(
        report.unit,
        read=report.n_items,
        kept=report.n_items_before + report.n_items_done,
        dropped={**report.dropped, "not finished": report.n_items - report.n_items_over},
    )
    if report.n_items_before:
        print(f"{report.n_items_before:,} {report.unit} were done before")


def _print_samples(report: "Report") -> None:
    if report.status == "dry run":
        _print_estimate(report)
        return
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


def _cost(report: "Report") -> str:
    if report.cost_usd is None:
        return "unknown"
    return f"{'at least ' if report.n_unpriced else ''}{report.cost_usd:.4f} USD"


def _by_kind(report: "Report") -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(report.failures.items()))
