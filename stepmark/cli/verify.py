"""`stepmark verify`: outcomes of solutions, and verdicts of critiques."""

from typing import TYPE_CHECKING, Annotated

import typer

from stepmark.errors import SandboxUnavailable

from .options import Db, Json, open_db
from .output import fields_of, print_counts, print_json
from .progress import progress_bar

if TYPE_CHECKING:
    from stepmark.flows.verdicts import VerdictReport
    from stepmark.flows.verify import VerifyReport


def verify(
    db: Db = None,
    again: Annotated[bool, typer.Option("--again", help="Also verify what was verified before.")] = False,
    json: Json = False,
) -> None:
    """Holds each solution's final answer against its problem's reference answer and stores the outcome.

    Then holds each critique's verdict against what is known of its solution, and stores whether it is right.
    A solution whose problem has tests is a program: it is run with them, in a sandbox.
    """
    from stepmark.flows.verdicts import verify_verdicts
    from stepmark.flows.verify import verify_solutions

    engine = open_db(db)
    with progress_bar("verify") as show:
        report = verify_solutions(engine, again=again, progress=show)
    with progress_bar("verdicts") as show:
        verdicts = verify_verdicts(engine, again=again, progress=show)
    if json:
        print_json({**fields_of(report), "n_known": report.n_known, "verdicts": verdicts.as_json()})
    else:
        _print_report(report)
        _print_verdicts(verdicts)
    if report.sandbox_error is not None:
        raise SandboxUnavailable(f"{report.results['sandbox_unavailable']} programs not run: {report.sandbox_error}")


def _print_report(report: "VerifyReport") -> None:
    unknown = {name: n for name, n in report.results.items() if name not in ("correct", "incorrect")}
    print_counts("verify", read=report.n_read, kept=report.n_known, dropped=unknown)
    print(f"  correct {report.results['correct']}, incorrect {report.results['incorrect']}")
    if report.rules:
        print("  by rule: " + ", ".join(f"{rule} {count}" for rule, count in report.rules.most_common()))
    if report.against_source:
        said = ", ".join(f"{count} {what}" for what, count in report.against_source.most_common())
        print(f"  against the source's own marks: {said}")
    if report.contradicting:
        print(f"  contradicted on solutions {', '.join(map(str, report.contradicting[:10]))}")


def _print_verdicts(report: "VerdictReport") -> None:
    if not report.n_read:
        return
    print_counts("verdicts", read=report.n_read, kept=report.n_known, dropped=report.unknown)
    for kind, rule in sorted({*report.agree, *report.disagree}):
        print(f"  {kind} by {rule}: {report.agree[kind, rule]} right, {report.disagree[kind, rule]} wrong")
    if report.first_errors:
        named = ", ".join(f"{count} {what}" for what, count in report.first_errors.most_common())
        print(f"  first error of rightly failed solutions, against the step labels: {named}")
