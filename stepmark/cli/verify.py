"""`stepmark verify`: outcomes of solutions."""

from typing import TYPE_CHECKING, Annotated

import typer

from stepmark.errors import SandboxUnavailable

from .options import Db, Json, database_url
from .output import fields_of, print_counts, print_json
from .progress import progress_bar

if TYPE_CHECKING:
    from stepmark.flows.verify import VerifyReport


def verify(
    db: Db = None,
    again: Annotated[bool, typer.Option("--again", help="Also verify solutions that have an outcome.")] = False,
    json: Json = False,
) -> None:
    """Holds each solution's final answer against its problem's reference answer and stores the outcome.

    A solution whose problem has tests is a program: it is run with them, in a sandbox.
    """
    from db.connect import open_database
    from stepmark.flows.verify import verify_solutions

    engine = open_database(database_url(db))
    with progress_bar("verify") as show:
        report = verify_solutions(engine, again=again, progress=show)
    if json:
        print_json({**fields_of(report), "n_known": report.n_known})
    else:
        _print_report(report)
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
