"""`stepmark export diff`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepmark.cli.options import Json
from stepmark.cli.output import print_json, short_row
from stepmark.cli.progress import progress_bar

if TYPE_CHECKING:
    from exports.formats.differences import Differences


def diff(
    before: Annotated[Path, typer.Argument(help="An exported folder.", metavar="A")],
    after: Annotated[Path, typer.Argument(help="Another one.", metavar="B")],
    config: Annotated[str | None, typer.Option(metavar="NAME", help="Only this set, such as prm.")] = None,
    most: Annotated[int, typer.Option(min=0, help="Rows to show of each kind.")] = 3,
    json: Json = False,
) -> None:
    """Shows what differs between two exported folders: rows added and removed, and rows with other labels.

    Rows are told apart by their texts; kinds of files, shards, order and splits do not matter.
    """
    from exports.formats.differences import compare_sets

    with progress_bar("export diff") as show:
        found = compare_sets(before, after, config=config, most=most, progress=show)
    if json:
        print_json(found)
        return
    for one in found:
        _print(one)


def _print(found: "Differences") -> None:
    print(
        f"{found.config}: {found.n_before} and {found.n_after} rows, {found.n_same} the same, "
        f"{found.n_added} added, {found.n_removed} removed, {found.n_changed} changed"
    )
    for sign, rows in (("+", found.added), ("-", found.removed)):
        for row in rows:
            print(f"  {sign} {short_row(row)}")
    for change in found.changed:
        print(f"  ~ {short_row(change.before)}")
        print(f"    {_rest(change.before, change.after)}")
    for name, (one, other) in found.flags.items():
        print(f"  flag {name}: {one!r} and {other!r}")


def _rest(before: dict[str, Any], after: dict[str, Any]) -> str:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(f"{name}: {before.get(name)} is now {after.get(name)}" for name in names)
