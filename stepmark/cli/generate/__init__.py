"""`stepmark generate`: batch jobs that ask language models; a module for each kind of data."""

import typer

from . import alternatives, critiques, preferences, refinements, replays, rollouts, solutions, variants

app = typer.Typer(
    help="Sample from language models; every command resumes where it was stopped.", no_args_is_help=True
)
app.command("solutions")(solutions.solutions)
app.command("preferences")(preferences.preferences)
app.command("critiques")(critiques.critiques)
app.command("refinements")(refinements.refinements)
app.command("replays")(replays.replays)
app.command("rollouts")(rollouts.rollouts)
app.command("variants")(variants.variants)
app.command("alternatives")(alternatives.alternatives)


@app.callback()
def _generate() -> None:
    """Keeps the noun in the command while it has one command only."""
