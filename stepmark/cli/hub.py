"""`stepmark hub`: sets and reward models to and from the Hub. What will be sent is shown before it is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stepmark.progress import Progress, silent

from .options import Json
from .output import fields_of, print_json
from .progress import progress_bar

if TYPE_CHECKING:
    from exports.hub import PullPlan, PushPlan, PushReport

app = typer.Typer(no_args_is_help=True, help="Sets and reward models to and from the Hugging Face Hub.")

Type = Literal["dataset", "model"]
Public = Annotated[
    bool, typer.Option("--public", help="Make a new repository public; otherwise only its owner sees it.")
]
Branch = Annotated[str, typer.Option(help="Branch that the commit goes to; one that is not there is made from main.")]
Message = Annotated[str | None, typer.Option(help="Title of the commit.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]
Language = Annotated[
    list[str] | None, typer.Option(metavar="CODE", help="Language of the texts, for the card. May be repeated.")
]
PrettyName = Annotated[str | None, typer.Option(help="Title of the set, for the card.")]


PushToHub = Annotated[
    str | None,
    typer.Option(
        "--push-to-hub", metavar="OWNER/NAME", help="Then send the folder to this repository, as `hub push` does."
    ),
]
PushWithoutAsking = Annotated[bool, typer.Option("--yes", help="--push-to-hub: send without asking.")]
"""Flags of the commands that write a set; what they ask for is done by `push_exported`."""


@app.command("push")
def push_folder(
    folder: Annotated[Path, typer.Argument(help="An exported set, or a trained model.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository; without an owner your own.")],
    type: Annotated[Type | None, typer.Option(help="What the folder must be [default: what it is].")] = None,
    public: Public = False,
    branch: Branch = "main",
    message: Message = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Push over a revision that this folder does not come from.")
    ] = False,
    language: Language = None,
    pretty_name: PrettyName = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Send a set or a model: what differs, in one commit, after showing it."""
    from exports.hub import plan_push

    about = _about(language, pretty_name)
    plan = plan_push(folder, repo, kind=type, branch=branch, is_public=public, overwrite=overwrite, about=about)
    _show_push(plan)
    if dry_run:
        if json:
            print_json(_plan_fields(plan, "contents"))
        return
    report = _push(plan, message=message, yes=yes)
    if json:
        print_json(fields_of(report))
    else:
        print(_pushed(report))


def push_exported(folder: Path, repo: str | None, *, yes: bool, as_answer: bool) -> None:
    """Ends a command that wrote a set: sends the folder, where a repository is named.

    Args:
        folder: The set.
        repo: The value of `--push-to-hub`.
        yes: Do not ask.
        as_answer: Say on stdout what was sent; otherwise on stderr, where stdout is one JSON document.
    """
    if repo is None:
        return
    from exports.hub import plan_push

    plan = plan_push(folder, repo)
    _show_push(plan)
    print(_pushed(_push(plan, message=None, yes=yes)), file=sys.stdout if as_answer else sys.stderr)


def check_can_ask(*, yes: bool) -> None:
    """Refuses before any work what could not be asked after it.

    Raises:
        SettingsError: stdin is no terminal, and nothing says yes beforehand.
    """
    from stepmark.errors import SettingsError

    if not yes and not sys.stdin.isatty():
        raise SettingsError("nothing was sent: there is no terminal to ask on; add --yes")


@app.command("pull")
def pull_folder(
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository; without an owner your own.")],
    folder: Annotated[Path, typer.Argument(help="Where it goes; an earlier revision there becomes this one.")],
    type: Annotated[Type, typer.Option(help="What the repository holds.")] = "dataset",
    revision: Annotated[str, typer.Option(help="A branch, a tag or a commit.")] = "main",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files here that did not come from there, or were changed.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Fetch a set or a model, each file held against its hash; a set fetched so is a set again."""
    from exports.hub import plan_pull, pull

    plan = plan_pull(repo, folder, kind=type, revision=revision, overwrite=overwrite)
    _show_pull(plan)
    if dry_run:
        if json:
            print_json(_plan_fields(plan, "there", "sha256"))
        return
    with progress_bar("fetch", in_bytes=True) as show:
        report = pull(plan, progress=show)
    if json:
        print_json(fields_of(report))
        return
    print(
        f"{report.folder} is {report.url} at {report.commit[:8]}: fetched {report.n_fetched} files "
        f"({_size(report.n_bytes)}), {report.n_unchanged} unchanged, {report.n_removed} removed; all hashes hold"
    )


@app.command("status")
def show_status(
    folder: Annotated[Path, typer.Argument(help="A set or model that was pushed or pulled.")], json: Json = False
) -> None:
    """Show how a folder and its repositories stand to each other."""
    from exports.hub import status

    found = status(folder)
    if json:
        print_json([fields_of(one) for one in found])
        return
    for one in found:
        head = "gone, or not to be seen" if one.head is None else f"at {one.head[:8]}"
        print(f"{one.url} {one.branch}: {one.relation} (this folder comes from {one.commit[:8]}, it is {head})")
        for path in one.changed_here:
            print(f"  changed here: {path}")


def _about(language: list[str] | None, pretty_name: str | None) -> dict[str, Any]:
    return ({"language": language} if language else {}) | ({"pretty_name": pretty_name} if pretty_name else {})


def _plan_fields(plan: Any, *hidden: str) -> dict[str, Any]:
    told = {name: value for name, value in fields_of(plan).items() if name not in hidden}
    return {**told, "n_bytes": plan.n_bytes}


def _show_push(plan: "PushPlan") -> None:
    if plan.is_empty:
        _say(f"{plan.url} holds all of {plan.folder} already, at {(plan.parent or '')[:8]} on {plan.branch}")
        return
    made = ", which is made" if plan.is_new else ""
    _say(f"{plan.folder} -> {plan.url}{made}; branch {plan.branch}{' (made)' if plan.is_new_branch else ''}")
    _say(f"  as {plan.user}; {'private' if plan.is_private else 'PUBLIC: everybody can read it'}")
    counts = {
        what: sum(one.what == what for one in plan.changes) for what in ("new", "changed", "unchanged", "removed")
    }
    _say(f"  {len(plan.sent)} files to send, {_size(plan.n_bytes)} at most: {_listed(counts)}")
    for change in plan.changes:
        if change.what == "removed":
            _say(f"    removed there: {change.path}")
    for name, splits in plan.configs.items():
        _say(f"  {name}: {sum(splits.values())} rows ({_listed(splits)})")
    if plan.kind == "dataset":
        _say(f"  licences: {', '.join(plan.licences) or 'unknown'}")
        _say(f"  names of annotators: {'; '.join(plan.annotator_names) or 'none'}")
    for note in plan.notes:
        _say(f"  note: {note}")


def _show_pull(plan: "PullPlan") -> None:
    _say(f"{plan.url} at {plan.commit[:8]} ({plan.revision}) -> {plan.folder}")
    _say(f"  {len(plan.fetched)} files to fetch, {_size(plan.n_bytes)}; {len(plan.unchanged)} unchanged")
    for path in plan.removed:
        _say(f"    removed here: {path}")
    for name, splits in plan.configs.items():
        _say(f"  {name}: {sum(splits.values())} rows ({_listed(splits)})")


def _push(plan: "PushPlan", *, message: str | None, yes: bool) -> "PushReport":
    from exports.hub import push
    from stepmark.errors import SettingsError

    if not plan.is_empty and not yes:
        check_can_ask(yes=yes)
        if not typer.confirm("Send it?", err=True):
            raise SettingsError("nothing was sent")
    with _sending("send") as show:
        return push(plan, message=message, progress=show)


def _pushed(report: "PushReport") -> str:
    return (
        f"{report.url} is this folder, at {report.commit[:8]} on {report.branch}: committed {report.n_sent} files "
        f"({_size(report.n_bytes)}), {report.n_unchanged} unchanged, {report.n_removed} removed"
    )


@contextmanager
def _sending(title: str) -> Iterator[Progress]:
    """A bar of ours, but where the client draws its own."""
    from exports.hub.push import shows_own_bars

    if shows_own_bars():
        yield silent
        return
    with progress_bar(title, in_bytes=True) as show:
        yield show


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n) or "nothing"


def _size(n_bytes: int) -> str:
    """A number of bytes for people.

    >>> _size(999), _size(1_500_000)
    ('999 B', '1.5 MB')
    """
    size, unit = float(n_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _say(line: str) -> None:
    print(line, file=sys.stderr)
