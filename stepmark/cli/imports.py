"""`stepmark import`: files of other people's data into the database."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Db, Json, database_url
from .output import print_counts, print_json
from .progress import progress_bar

_FORMATS = "problems, gsm8k, gsm8k-model-solutions, processbench"


def import_files(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=f"How the files are written: {_FORMATS}.")],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="JSON lines or a JSON array; may be gzipped.")
    ],
    source: Annotated[
        str | None, typer.Option(help="Name of the source [default: the format's, with the file's name].")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the data [default: that of the published set].")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be read.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be stored; store nothing.")] = False,
    trust_outcomes: Annotated[
        bool,
        typer.Option(
            "--trust-outcomes", help="Take the source's marks of right and wrong as the solutions' outcomes."
        ),
    ] = False,
    statement_field: Annotated[str | None, typer.Option(help="problems: key of the statement.")] = None,
    answer_field: Annotated[str | None, typer.Option(help="problems: key of the reference answer.")] = None,
    solution_field: Annotated[str | None, typer.Option(help="problems: key of the reference solution.")] = None,
    key_field: Annotated[str | None, typer.Option(help="problems: key of the row's own id.")] = None,
    db: Db = None,
    json: Json = False,
) -> None:
    """Imports files, each in one transaction; importing a file again changes nothing."""
    from db.connect import open_database
    from exports.queries.importing import default_options, import_file
    from exports.queries.sources import FORMATS
    from stepmark.errors import SettingsError

    if format not in FORMATS:
        raise SettingsError(f"{format!r} is no format that can be imported; there are {', '.join(FORMATS)}")
    engine = open_database(database_url(db))
    reports: list[dict[str, Any]] = []
    for path in files:
        options = default_options(
            FORMATS[format],
            path,
            source=source,
            licence=licence,
            trust_outcomes=trust_outcomes,
            statement_field=statement_field,
            answer_field=answer_field,
            solution_field=solution_field,
            key_field=key_field,
        )
        with progress_bar(f"import {path.name}") as show:
            report = import_file(
                engine, FORMATS[format], path, options=options, skip_bad=skip_bad, is_dry_run=dry_run, progress=show
            )
        reports.append(report.as_json())
        if not json:
            print_counts(str(path), read=report.n_read, kept=report.n_kept, dropped=report.dropped)
            print(f"  already there {report.n_already_there}" + ("; dry run, nothing stored" if dry_run else ""))
            stored = ", ".join(f"{count} {name}" for name, count in report.stored.items() if count)
            print(f"  {'would store' if dry_run else 'stored'} {stored or 'nothing'}")
            for message in report.first_bad:
                typer.echo(f"  left out: {message}", err=True)
    if json:
        print_json({"is_dry_run": dry_run, "files": reports})
