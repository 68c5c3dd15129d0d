"""The root command: it hangs the nouns' commands together and turns errors into messages and exit codes."""

import sys

import typer

from stepmark.errors import StepmarkError, UserError

from . import (
    agreement,
    annotate,
    annotators,
    audit,
    db,
    demo,
    doctor,
    evaluate,
    evidence,
    export,
    filters,
    generate,
    hub,
    imports,
    judges,
    label,
    loop,
    projects,
    queue,
    runs,
    score,
    train,
    verify,
)
from .options import close_databases

app = typer.Typer(
    name="stepmark",
    help="The home of reward-model data: generate, label, export, train.",
    no_args_is_help=True,
    rich_markup_mode=None,  # brackets in help texts are text
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _before_any_command(context: typer.Context) -> None:
    context.call_on_close(close_databases)


app.add_typer(db.app, name="db")
app.add_typer(generate.app, name="generate")
app.add_typer(filters.app, name="filter")
app.add_typer(runs.app, name="runs")
app.add_typer(label.app, name="label")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.command()(audit.audit)
app.command()(demo.demo)
app.add_typer(loop.app, name="loop")
app.add_typer(export.app, name="export")
app.add_typer(hub.app, name="hub")
app.command()(doctor.doctor)
app.command()(verify.verify)
app.command()(score.score)
app.add_typer(judges.app, name="judges")
app.command()(evidence.evidence)
app.command("import")(imports.import_files)
app.add_typer(projects.app, name="projects")
app.add_typer(queue.app, name="queue")
app.add_typer(agreement.app, name="agreement")
app.command()(annotate.annotate)
app.add_typer(annotators.app, name="annotators")


def main() -> None:
    """Runs the command line; exits 2 on a user's mistake, 1 on a job that failed, 130 on Ctrl-C."""
    try:
        app()
    except UserError as err:
        print(f"stepmark: {err}", file=sys.stderr)
        sys.exit(2)
    except StepmarkError as err:
        print(f"stepmark: {err}", file=sys.stderr)
        sys.exit(1)
