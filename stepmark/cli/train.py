"""`stepmark train`: one command for each kind of reward model."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .flags import with_flags
from .options import Json
from .output import print_counts, print_json
from .progress import progress_bar

if TYPE_CHECKING:
    from trainer.rows import Kind

app = typer.Typer(
    no_args_is_help=True, help="Train reward models on an exported set; the same command on CPU and GPU."
)


@dataclass(frozen=True)
class Training:
    """The flags of every kind: each field is one."""

    data: Annotated[Path, typer.Option(help="Folder of the exported set.")]
    model: Annotated[str, typer.Option(help="Base model: a folder or a hub name.")]
    out: Annotated[Path, typer.Option(file_okay=False, help="Where the trained model is written.")]
    epochs: Annotated[int, typer.Option(help="Passes over the training split.")] = 2
    lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate (default: 1e-3 below 5 M parameters, else 2e-5 or 1e-5)."),
    ] = None
    batch_tokens: Annotated[
        int | None, typer.Option(help="Tokens of a micro-batch (default: 1,024 on a CPU, 16,384 on a GPU).")
    ] = None
    share: Annotated[
        bool, typer.Option(help="Compute what solutions of a problem begin with once, its prompt and common steps.")
    ] = True
    accumulate: Annotated[int, typer.Option(help="Micro-batches of an optimizer step.")] = 1
    seed: Annotated[int, typer.Option(help="Seed of the batch order and of dropout.")] = 0
    max_length: Annotated[
        int | None, typer.Option(help="Longest row in tokens; longer ones are dropped and counted.")
    ] = None
    threads: Annotated[int | None, typer.Option(help="CPU threads (default: 1 below 5 M parameters).")] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto"
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500
    resume: Annotated[bool, typer.Option("--resume", help="Continue the interrupted run in --out.")] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False
    json: Json = False

    def run(self, kind: "Kind", **settings: Any) -> None:
        """Trains a model of one kind with its own settings beside the common ones, and prints what came of it."""
        from trainer.train import TrainSettings, train_reward_model

        common = {name: getattr(self, name) for name in TrainSettings.__slots__ if hasattr(self, name)}
        with progress_bar(f"train {kind}") as show:
            report = train_reward_model(
                kind,
                data=self.data,
                model=self.model,
                out=self.out,
                settings=TrainSettings(**common, **settings),
                resume=self.resume,
                overwrite=self.overwrite,
                progress=show,
                on_message=lambda message: print(message, file=sys.stderr),
            )
        if self.json:
            print_json(report)
            return
        for split, counts in report["rows"].items():
            print_counts(
                f"train {kind}, {split}", read=counts["read"], kept=counts["kept"], dropped=counts["dropped"]
            )
        seconds = report["timings_s"]["train"]
        print(f"{self.out}: {report['n_steps']} steps, {report['n_tokens']:,} tokens in {seconds} s")
        for name, value in report["metrics"].items():
            print(f"  {name:24} {'-' if value is None else format(value, '.4f')}")


@app.command()
@with_flags
def prm(
    training: Training,
    step_token: Annotated[str, typer.Option(help="Token after each segment.")] = "<|prm_label|>",
    add_step_token: Annotated[bool, typer.Option("--add-step-token", help="Add it to the tokenizer.")] = False,
    positive: Annotated[str, typer.Option(help="Token whose LM-head row says right.")] = "+",
    negative: Annotated[str, typer.Option(help="Token whose LM-head row says wrong.")] = "-",
    layout: Annotated[
        Literal["causal-lm", "token-classification"], typer.Option(help="How the weights are saved.")
    ] = "causal-lm",
) -> None:
    """Train a process reward model: is each step right."""
    training.run(
        "prm",
        step_token=step_token,
        add_step_token=add_step_token,
        positive=positive,
        negative=negative,
        layout=layout,
    )


@app.command()
@with_flags
def orm(training: Training) -> None:
    """Train an outcome reward model: is the final answer right."""
    training.run("orm")


@app.command()
@with_flags
def bt(
    training: Training,
    centre: Annotated[float, typer.Option(help="Weight of the squared sum of a pair's rewards.")] = 0.01,
) -> None:
    """Train a Bradley-Terry reward model: which of two solutions is preferred."""
    training.run("bt", centre=centre)
