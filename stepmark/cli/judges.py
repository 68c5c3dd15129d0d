"""`stepmark judges`: how models judge pairs of solutions."""

import dataclasses
from typing import TYPE_CHECKING

from .options import Db, Json, database_url
from .output import print_json

if TYPE_CHECKING:
    from stepmark.intervals import Correlation, Share


def judges(db: Db = None, json: Json = False) -> None:
    """Reports how each judge of pairs judges: flips, position, length, outcomes, people, self-preference.

    Each figure stands with the number it is of and its 95 % interval.
    """
    from db.connect import open_database
    from stepmark.flows.judges import report_judges

    reports = report_judges(open_database(database_url(db)))
    if json:
        print_json([dataclasses.asdict(report) for report in reports])
        return
    if not reports:
        print("no model has judged a pair yet; start with `stepmark generate preferences`")
    for report in reports:
        print(f"{report.judge}: {report.n_pairs:,} pairs, {report.n_ties:,} ties")
        for what, found in (
            ("says otherwise when the order is turned", report.flips),
            ("votes for the first solution", report.first_position),
            ("unreadable votes", report.unreadable),
            (f"right over wrong (ties: {report.n_ties_of_outcomes:,})", report.outcomes),
            ("agrees with people", report.people),
            ("prefers its own family", report.own),
            ("  within equal outcomes", report.own_same_outcome),
            ("choice ~ length (Spearman)", report.length),
            ("  within equal outcomes", report.length_same_outcome),
        ):
            print(f"  {what:<42} {_figure(found)}")


def _figure(found: "Share | Correlation") -> str:
    if found.value is None:
        return f"     -  (of {found.n:,})"
    return f"{found.value:6.3f}  [{found.low:.3f}, {found.high:.3f}]  (of {found.n:,})"
