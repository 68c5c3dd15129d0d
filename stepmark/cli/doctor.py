"""`stepmark doctor`: is this installation well?"""

import typer

from .options import Db, Json, database_url
from .output import fields_of, print_json


def doctor(db: Db = None, json: Json = False) -> None:
    """Checks names, versions, extras, GPU, sandbox and database; exits 1 where something required is not well."""
    from stepmark.flows.doctor import examine

    findings = examine(database_url(db))
    if json:
        print_json([fields_of(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "ok" if finding.is_ok else "BAD" if finding.is_required else "-"
            print(f"{mark:>4}  {finding.name:<20} {finding.detail}")
    if any(finding.is_required and not finding.is_ok for finding in findings):
        raise typer.Exit(1)
