"""`stepmark export`: training sets out of the database; a module for each kind of set."""

import typer

from . import critiques, diff, explain, outcomes, preferences, steps, tasks

app = typer.Typer(help="Write training sets that the trainers read.", no_args_is_help=True)
app.command("prm")(steps.prm)
app.command("orm")(outcomes.orm)
app.command("best-of-n")(outcomes.best_of_n)
app.command("preference")(preferences.preference)
app.command("critique")(critiques.critique)
app.command("critique-preference")(critiques.critique_preference)
app.command("cloud")(critiques.cloud)
app.command("sft")(tasks.sft)
app.command("rl")(tasks.rl)
app.command("explain")(explain.explain)
app.command("diff")(diff.diff)
