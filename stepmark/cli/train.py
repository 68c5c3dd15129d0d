"""`stepmark train`: one command for each kind of reward model."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .options import Json
from .output import print_counts, print_json
from .progress import progress_bar

app = typer.Typer(
    no_args_is_help=True, help="Train reward models on an exported set; the same command on CPU and GPU."
)

DataOption = Annotated[Path, typer.Option("--data", help="Folder of the exported set.")]
ModelOption = Annotated[str, typer.Option("--model", help="Base model: a folder or a hub name.")]
OutOption = Annotated[Path, typer.Option("--out", file_okay=False, help="Where the trained model is written.")]
EpochsOption = Annotated[int, typer.Option("--epochs", help="Passes over the training split.")]
LrOption = Annotated[
    float | None,
    typer.Option("--lr", help="Peak learning rate (default: 1e-3 below 5 M parameters, else 2e-5 or 1e-5)."),
]
BatchOption = Annotated[int, typer.Option("--batch-tokens", help="Tokens of a micro-batch, padding included.")]
AccumulateOption = Annotated[int, typer.Option("--accumulate", help="Micro-batches of an optimizer step.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the batch order and of dropout.")]
LengthOption = Annotated[
    int | None,
    typer.Option("--max-length", help="Longest row in tokens; longer ones are dropped and counted."),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="CPU threads (default: 1 below 5 M parameters).")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue the interrupted run in --out.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")]
CheckpointOption = Annotated[int, typer.Option("--checkpoint-every", help="Steps between checkpoints.")]


@app.command()
def prm(
    data: DataOption,
    model: ModelOption,
    out: OutOption,
    epochs: EpochsOption = 2,
    lr: LrOption = None,
    batch_tokens: BatchOption = 1024,
    accumulate: AccumulateOption = 1,
    seed: SeedOption = 0,
    max_length: LengthOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    step_token: Annotated[str, typer.Option(help="Token after each segment.")] = "<|prm_label|>",
    add_step_token: Annotated[bool, typer.Option("--add-step-token", help="Add it to the tokenizer.")] = False,
    positive: Annotated[str, typer.Option(help="Token whose LM-head row says right.")] = "+",
    negative: Annotated[str, typer.Option(help="Token whose LM-head row says wrong.")] = "-",
    layout: Annotated[
        Literal["causal-lm", "token-classification"], typer.Option(help="How the weights are saved.")
    ] = "causal-lm",
    checkpoint_every: CheckpointOption = 500,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    json: Json = False,
) -> None:
    """Train a process reward model: is each step right."""
    settings = dict(
        epochs=epochs,
        lr=lr,
        batch_tokens=batch_tokens,
        accumulate=accumulate,
        seed=seed,
        max_length=max_length,
        threads=threads,
        device=device,
        step_token=step_token,
        add_step_token=add_step_token,
        positive=positive,
        negative=negative,
        layout=layout,
        checkpoint_every=checkpoint_every,
    )
    _train("prm", data, model, out, settings, resume=resume, overwrite=overwrite, as_json=json)


@app.command()
def orm(
    data: DataOption,
    model: ModelOption,
    out: OutOption,
    epochs: EpochsOption = 2,
    lr: LrOption = None,
    batch_tokens: BatchOption = 1024,
    accumulate: AccumulateOption = 1,
    seed: SeedOption = 0,
    max_length: LengthOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    checkpoint_every: CheckpointOption = 500,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    json: Json = False,
) -> None:
    """Train an outcome reward model: is the final answer right."""
    settings = dict(
        epochs=epochs,
        lr=lr,
        batch_tokens=batch_tokens,
        accumulate=accumulate,
        seed=seed,
        max_length=max_length,
        threads=threads,
        device=device,
        checkpoint_every=checkpoint_every,
    )
    _train("orm", data, model, out, settings, resume=resume, overwrite=overwrite, as_json=json)


@app.command()
def bt(
    data: DataOption,
    model: ModelOption,
    out: OutOption,
    epochs: EpochsOption = 2,
    lr: LrOption = None,
    batch_tokens: BatchOption = 1024,
    accumulate: AccumulateOption = 1,
    seed: SeedOption = 0,
    max_length: LengthOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    centre: Annotated[float, typer.Option(help="Weight of the squared sum of a pair's rewards.")] = 0.01,
    checkpoint_every: CheckpointOption = 500,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    json: Json = False,
) -> None:
    """Train a Bradley-Terry reward model: which of two solutions is preferred."""
    settings = dict(
        epochs=epochs,
        lr=lr,
        batch_tokens=batch_tokens,
        accumulate=accumulate,
        seed=seed,
        max_length=max_length,
        threads=threads,
        device=device,
        centre=centre,
        checkpoint_every=checkpoint_every,
    )
    _train("bt", data, model, out, settings, resume=resume, overwrite=overwrite, as_json=json)


def _train(
    kind: Literal["prm", "orm", "bt"],
    data: Path,
    model: str,
    out: Path,
    settings: dict[str, Any],
    *,
    resume: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    from trainer.train import TrainSettings, train_reward_model

    with progress_bar(f"train {kind}") as show:
        report = train_reward_model(
            kind,
            data=data,
            model=model,
            out=out,
            settings=TrainSettings(**settings),
            resume=resume,
            overwrite=overwrite,
            progress=show,
            on_message=lambda message: print(message, file=sys.stderr),
        )
    if as_json:
        print_json(report)
        return
    for split, counts in report["rows"].items():
        print_counts(f"train {kind}, {split}", read=counts["read"], kept=counts["kept"], dropped=counts["dropped"])
    seconds = report["timings_s"]["train"]
    print(f"{out}: {report['n_steps']} steps, {report['n_tokens']:,} tokens in {seconds} s")
    for name, value in report["metrics"].items():
        print(f"  {name:24} {'-' if value is None else format(value, '.4f')}")
