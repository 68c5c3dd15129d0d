"""`stepmark projects`: labelling campaigns, their rules, their people, their tasks with known answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Db, Json, open_db
from .output import fields_of, print_counts, print_json

if TYPE_CHECKING:
    from db.projects import ProjectRow

app = typer.Typer(help="Make labelling projects, change them, say who takes part.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="PROJECT", help="Name of the project.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--setting",
        metavar="NAME=VALUE",
        help="A setting, as JSON or plain text: gold_share=0.1. May be repeated; `projects show` lists them.",
    ),
]
Mode = Annotated[str | None, typer.Option(help="first_error, all_steps, alternatives or verify.")]
NWanted = Annotated[int | None, typer.Option("--n-wanted", min=1, help="Independent annotators of each new task.")]
Access = Annotated[str | None, typer.Option(help="everyone, or members only.")]
Version = Annotated[str | None, typer.Option("--guideline", metavar="VERSION", help="Version of the rules in force.")]


@app.command("list")
def list_(db: Db = None, json: Json = False) -> None:
    """Lists the projects with their counts."""
    from db.projects import list_projects

    rows = list_projects(open_db(db))
    if json:
        print_json([row.as_json() for row in rows])
    elif not rows:
        print("there is no project; make one with `stepmark projects add NAME`")
    else:
        print(f"{'project':<28} {'kind':<11} {'mode':<12} {'open':>9} {'done':>9} {'answers':>9} {'members':>8}")
        for row in rows:
            closed = "" if row.is_open else "  closed"
            print(
                f"{row.name:<28} {row.kind:<11} {row.mode:<12} {row.n_open:>9,} {row.n_closed:>9,} "
                f"{row.n_answers:>9,} {row.n_members:>8,}{closed}"
            )


@app.command()
def show(name: Name, db: Db = None, json: Json = False) -> None:
    """Shows a project with its settings, tasks with known answers and stale labels."""
    from db.known_tasks import known_counts
    from db.projects import get_project
    from db.relabelling import count_stale

    engine = open_db(db)
    row = get_project(engine, name)
    found = {
        **row.as_json(),
        "known_answers": known_counts(engine, row.project_id),
        "n_stale": count_stale(engine, row.project_id),
    }
    if json:
        print_json(found)
        return
    for key, value in found.items():
        if key != "settings":
            print(f"{key:<16} {value}")
    for key, value in found["settings"].items():
        print(f"  {key:<20} {value}")


@app.command()
def add(
    name: Name,
    kind: Annotated[str, typer.Option(help="What is labelled: steps, preference or critique.")] = "steps",
    mode: Mode = None,
    n_wanted: NWanted = None,
    access: Access = None,
    guideline: Version = None,
    setting: Settings = None,
    db: Db = None,
    json: Json = False,
) -> None:
    """Makes a project."""
    from db.projects import create_project, get_project

    engine = open_db(db)
    given = {"mode": mode, "n_wanted": n_wanted, "access": access, "guideline": guideline}
    create_project(
        engine,
        name,
        kind=kind,
        settings=parse_settings(setting),
        **{key: value for key, value in given.items() if value is not None},  # type: ignore[arg-type]
    )
    _print_project(get_project(engine, name.strip()), json=json)


@app.command("set")
def set_(
    name: Name,
    new_name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    mode: Mode = None,
    n_wanted: NWanted = None,
    access: Access = None,
    guideline: Version = None,
    default_guideline: Annotated[
        bool, typer.Option("--default-guideline", help="Put the default rules in force.")
    ] = False,
    is_open: Annotated[bool | None, typer.Option("--open/--closed", help="Whether its tasks are handed out.")] = None,
    setting: Settings = None,
    db: Db = None,
    json: Json = False,
) -> None:
    """Changes a project; says what changed."""
    from db.projects import change_project, get_project

    given: dict[str, Any] = {
        "name": new_name,
        "mode": mode,
        "n_wanted": n_wanted,
        "access": access,
        "guideline": guideline,
        "is_open": is_open,
        "settings": parse_settings(setting) or None,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    if default_guideline:
        changes["guideline"] = None
    engine = open_db(db)
    changed = change_project(engine, get_project(engine, name).project_id, **changes)
    if json:
        print_json({key: {"before": before, "after": after} for key, (before, after) in changed.items()})
    elif not changed:
        print("nothing changed")
    for key, (before, after) in () if json else changed.items():
        print(f"{key}: {before} -> {after}")


@app.command()
def members(
    name: Name,
    add: Annotated[
        list[str] | None, typer.Option("--add", metavar="NAME", help="Make active. May be repeated.")
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option("--test", metavar="NAME", help="Let answer the entry tasks first.")
    ] = None,
    pause: Annotated[list[str] | None, typer.Option("--pause", metavar="NAME", help="Give no more tasks.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="NAME", help="Take out.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why they are paused; they read it.")] = None,
    db: Db = None,
    json: Json = False,
) -> None:
    """Lists who takes part in a project, after adding, pausing or removing people."""
    from db.members import list_members, remove_members, set_members
    from db.projects import get_project

    engine = open_db(db)
    project_id = get_project(engine, name).project_id
    for names, state in ((add, "active"), (test, "testing"), (pause, "paused")):
        if names:
            set_members(engine, project_id, names, state=state, reason=reason)
    if remove:
        remove_members(engine, project_id, remove)
    rows = list_members(engine, project_id)
    if json:
        print_json([fields_of(row) for row in rows])
    elif not rows:
        print("nobody is a member; add people with --add NAME")
    for row in [] if json else rows:
        print(f"{row.name:<28} {row.state:<8} {row.n_answers:>8,}  {row.reason or ''}".rstrip())


@app.command()
def guideline(
    version: Annotated[str | None, typer.Argument(help="The version to show or add [default: lists them].")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Add this text as the version; `projects guideline VERSION` shows its form."
        ),
    ] = None,
    db: Db = None,
    json: Json = False,
) -> None:
    """Lists the versions of the labelling rules, shows one as text, or adds one from a file."""
    from db.guidelines import add_guideline, list_guidelines
    from stepmark.errors import InputError
    from stepmark.guidelines import as_text, from_text

    engine = open_db(db)
    if file is not None:
        if version is None:
            raise InputError("a file of rules needs a version: stepmark projects guideline VERSION --file FILE")
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise InputError(f"{file} cannot be read: {err}") from err
        add_guideline(engine, version, from_text(text))
    rows = [row for row in list_guidelines(engine) if version in (None, row.version)]
    if version is not None and not rows:
        raise InputError(f"there is no guideline {version!r}; `stepmark projects guideline` lists them")
    if json:
        print_json(
            [
                {
                    "version": row.version,
                    "author": row.author,
                    "created_at": row.created_at.isoformat(),
                    **row.body.as_json(),
                }
                for row in rows
            ]
        )
    elif version is not None:
        print(as_text(rows[0].body))
    elif not rows:
        print("there are only the default rules")
    for row in [] if json or version is not None else rows:
        print(f"{row.version:<28} {row.created_at:%Y-%m-%d}  {row.author or ''}".rstrip())


@app.command()
def gold(
    name: Name,
    labeller: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="Take the labels of this one; * is any text.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='JSON lines: {"solution_id": 1, "labels": [1, -1], "note": "..."}; of pairs '
            '{"solution_id": 1, "other_solution_id": 2, "choice": "a"}; of critiques '
            '{"critique_id": 1, "judgement": "wrong"}.',
        ),
    ] = None,
    purpose: Annotated[
        str, typer.Option(help="gold (silent), entry (before all else), practice or calibration.")
    ] = "gold",
    source: Annotated[str, typer.Option(metavar="PATTERN", help="--from: only solutions of sources named so.")] = "*",
    limit: Annotated[int, typer.Option(min=1, help="--from: at most this many.")] = 50,
    seed: Annotated[int, typer.Option(help="--from: another seed draws others.")] = 0,
    db: Db = None,
    json: Json = False,
) -> None:
    """Adds tasks with known answers to a project, from labels that are there or from a file."""
    from db.known_tasks import add_known_tasks, known_from_labels
    from db.projects import get_project
    from stepmark.errors import InputError

    if (labeller is None) == (file is None):
        raise InputError("say where the answers come from: --from NAME, or --file FILE")
    engine = open_db(db)
    project = get_project(engine, name)
    if labeller is not None:
        answers = known_from_labels(
            engine, labeller=labeller, kind=project.kind, source=source, limit=limit, seed=seed
        )
    else:
        assert file is not None
        answers = read_known(file)
    added = add_known_tasks(engine, project.project_id, answers, purpose=purpose)
    if json:
        print_json(fields_of(added))
    else:
        print_counts(purpose, read=added.read, kept=added.kept, dropped=added.dropped)


@app.command()
def relabel(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, help="At most this many tasks.")] = 100,
    db: Db = None,
    json: Json = False,
) -> None:
    """Puts tasks answered under older rules into the queue once more; the old answers stay."""
    from db.projects import get_project
    from db.relabelling import queue_relabel

    engine = open_db(db)
    added = queue_relabel(engine, get_project(engine, name).project_id, limit=limit)
    if json:
        print_json(fields_of(added))
    else:
        print_counts("relabel", read=added.read, kept=added.kept, dropped=added.dropped)


@app.command()
def assign(
    name: Name,
    annotator: Annotated[str, typer.Argument(help="Who gets them.")],
    n: Annotated[int, typer.Option("--n", min=1, help="At most this many open tasks that nobody has begun.")] = 50,
    rule: Annotated[str | None, typer.Option(help="Only the part of the queue with this name.")] = None,
    db: Db = None,
    json: Json = False,
) -> None:
    """Gives open tasks to one person alone."""
    from db.assignments import assign_tasks
    from db.projects import get_project

    engine = open_db(db)
    count = assign_tasks(engine, get_project(engine, name).project_id, annotator, n=n, reason=rule)
    if json:
        print_json({"n_assigned": count})
    else:
        print(f"{count} tasks are {annotator}'s alone")


def parse_settings(given: list[str] | None) -> dict[str, Any]:
    """Reads `NAME=VALUE`; the value is JSON, or else plain text.

    >>> parse_settings(["gold_share=0.1", "math_mode=tex", 'mix={"random": 0.5}'])
    {'gold_share': 0.1, 'math_mode': 'tex', 'mix': {'random': 0.5}}
    """
    import json

    from stepmark.errors import InputError

    found: dict[str, Any] = {}
    for entry in given or ():
        key, equals, value = entry.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--setting {entry!r} is not NAME=VALUE; write gold_share=0.1")
        try:
            found[key.strip()] = json.loads(value)
        except json.JSONDecodeError:
            found[key.strip()] = value
    return found


def read_known(path: Path) -> list[Any]:
    """Reads typed answers, one JSON object a line: what it is about, the answer, and `note` if there is one.

    Of steps `solution_id` and `labels`; of pairs `solution_id`, `other_solution_id` and `choice`; of critiques
    `critique_id` and `judgement`.
    """
    import json

    from db.known_tasks import Known
    from stepmark.errors import InputError

    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path} cannot be read: {err}") from err
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            ids = {key: int(row[key]) for key in ("other_solution_id", "critique_id") if row.get(key) is not None}
            solution_id = None if ids.keys() == {"critique_id"} else int(row["solution_id"])
            answer = {key: row[key] for key in ("labels", "choice", "judgement") if key in row}
            found.append(Known(solution_id, answer, row.get("note"), **ids))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as err:
            raise InputError(
                f'{path}, line {number}: {line[:80]!r} is not {{"solution_id": 1, "labels": [1, -1]}}, nor of a pair '
                '{"solution_id": 1, "other_solution_id": 2, "choice": "a"}, nor of a critique '
                '{"critique_id": 1, "judgement": "wrong"}'
            ) from err
    return found


def _print_project(row: "ProjectRow", *, json: bool) -> None:
    if json:
        print_json(row.as_json())
    else:
        print(f"project {row.name}: {row.kind}, {row.mode}, {row.n_wanted} for each task, for {row.access}")
