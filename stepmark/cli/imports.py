"""`stepmark import`: other people's data into the database, from files and from the Hub."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Db, Json, open_db
from .output import print_counts, print_json
from .progress import progress_bar

if TYPE_CHECKING:
    from exports.queries.importing import ImportReport, PreviewedRow
    from exports.queries.sources import HubSet


def _print_formats(wanted: bool) -> None:
    if not wanted:
        return
    from exports.queries.sources import FORMATS

    width = max(map(len, FORMATS))
    for found in FORMATS.values():
        print(f"{found.name:<{width}}  {found.summary}" + (f" ({found.licence})" if found.licence else ""))
    raise typer.Exit


def import_files(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="How the files are written; see --formats.")],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="JSON lines, a JSON array, CSV or Parquet, gzipped or not; or a set on the Hub, "
            "hub:OWNER/NAME[@REVISION][:CONFIG[/SPLIT]].",
        ),
    ],
    formats: Annotated[
        bool,
        typer.Option("--formats", help="List the formats and exit.", is_eager=True, callback=_print_formats),
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="Name of the source [default: the format's, with the file's name].")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the data [default: that of the published set].")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="NAME=THEIRS", help="What the format calls NAME stands under THEIRS. May be repeated."
        ),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The rows' own ids, one a line, in the order of the rows.")
    ] = None,
    problems: Annotated[
        str | None,
        typer.Option(help="Source of the problems that rows name by id alone [default: gsm8k/test]."),
    ] = None,
    trust_outcomes: Annotated[
        bool,
        typer.Option(
            "--trust-outcomes", help="Take the source's marks of right and wrong as the solutions' outcomes."
        ),
    ] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be read.")] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show how the first rows would be understood; no database is needed.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be stored; store nothing.")] = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Imports files, each in one transaction; importing a file again changes nothing."""
    from exports.queries.importing import default_options, import_file, preview_file
    from exports.queries.sources import FORMATS
    from stepmark.errors import SettingsError

    if format not in FORMATS:
        raise SettingsError(f"{format!r} is no format that can be imported; there are {', '.join(FORMATS)}")
    given = {
        "source": source,
        "licence": licence,
        "columns": _columns(columns or []),
        "keys": None if keys is None else _lines(keys),
        "problems": problems,
        "trust_outcomes": trust_outcomes,
    }
    if preview:
        for location in map(_location, files):
            options = default_options(FORMATS[format], location, **given)
            _print_preview(str(location), preview_file(FORMATS[format], location, options), json=json)
        return
    engine = open_db(db)
    reports: list[dict[str, Any]] = []
    for location in map(_location, files):
        options = default_options(FORMATS[format], location, **given)
        with progress_bar(f"import {location.name}") as show:
            report = import_file(
                engine,
                FORMATS[format],
                location,
                options=options,
                skip_bad=skip_bad,
                is_dry_run=dry_run,
                progress=show,
            )
        reports.append(report.as_json())
        if not json:
            _print_report(report, is_dry_run=dry_run)
    if json:
        print_json({"is_dry_run": dry_run, "files": reports})


def _location(text: str) -> "Path | HubSet":
    from exports.queries.sources import HubSet
    from exports.queries.sources.hub import PREFIX

    return HubSet.parse(text) if text.startswith(PREFIX) else Path(text)


def _columns(given: list[str]) -> dict[str, str]:
    from stepmark.errors import SettingsError

    found: dict[str, str] = {}
    for one in given:
        ours, sign, theirs = one.partition("=")
        if not (ours and sign and theirs):
            raise SettingsError(f"--map {one!r} is not NAME=THEIRS; write it as problem=question")
        found[ours] = theirs
    return found


def _lines(path: Path) -> list[str]:
    from stepmark.errors import InputError

    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"cannot read the keys in {path}: {err}") from err


def _print_report(report: "ImportReport", *, is_dry_run: bool) -> None:
    print_counts(report.path, read=report.n_read, kept=report.n_kept, dropped=report.dropped)
    print(f"  already there {report.n_already_there}" + ("; dry run, nothing stored" if is_dry_run else ""))
    stored = ", ".join(f"{count} {name}" for name, count in report.stored.items() if count)
    print(f"  {'would store' if is_dry_run else 'stored'} {stored or 'nothing'}")
    if report.left_out:
        print("  kept beside these rows only: " + ", ".join(f"{n} {r}" for r, n in sorted(report.left_out.items())))
    for message in report.first_bad:
        typer.echo(f"  left out: {message}", err=True)


def _print_preview(title: str, rows: "list[PreviewedRow]", *, json: bool) -> None:
    if json:
        print_json({"path": title, "rows": [asdict(row) for row in rows]})
        return
    print(title)
    for row in rows:
        print(f"line {row.line}: columns {', '.join(row.given)}")
        if row.problem is not None:
            print(f"  cannot be taken: {row.problem}")
        for record in row.records:
            _print_fields(record.problem, "problem")
            for solution in record.solutions:
                _print_fields(solution, "solution", but=("licence", "source"))
            for preference in record.preferences:
                _print_fields(preference, "preference")
            if record.left_out:
                print(f"  kept beside it only: {', '.join(record.left_out)}")


def _print_fields(record: Any, name: str, *, but: tuple[str, ...] = ()) -> None:
    print(f"  {name}")
    for field, value in asdict(record).items():
        if value not in (None, (), {}) and field not in but:
            text = repr(value)
            print(f"    {field}: {text if len(text) <= 100 else text[:97] + '...'}")
