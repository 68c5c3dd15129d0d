"""`stepmark export`: training sets out of the database; a module for each kind of set."""

import typer

from . import explain, outcomes, preferences, steps

app = typer.Typer(help="Write training sets that the trainers read.", no_args_is_help=True)
app.command("prm")(steps.prm)
app.command("orm")(outcomes.orm)
app.command("best-of-n")(outcomes.best_of_n)
app.command("preference")(preferences.preference)
app.command("explain")(explain.explain)
