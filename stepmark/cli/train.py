"""`stepmark train`: one command for each kind of reward model."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trainer.defaults import in_words

from .flags import with_flags
from .options import Json
from .output import print_counts, print_json
from .progress import progress_bar, stages_of

if TYPE_CHECKING:
    from trainer.rows import Kind
    from trainer.train import TrainSettings

app = typer.Typer(
    no_args_is_help=True, help="Train reward models on an exported set; the same command on CPU and GPU."
)


class Log(StrEnum):
    """Where a run can be shown beside its `log.jsonl`."""

    tensorboard = "tensorboard"
    wandb = "wandb"


@dataclass(frozen=True)
class Training:
    """The flags of every kind: each field is one."""

    data: Annotated[Path, typer.Option(help="Folder of the exported set.")]
    model: Annotated[str, typer.Option(help="Base model: a folder or a hub name.")]
    out: Annotated[Path, typer.Option(file_okay=False, help="Where the trained model is written.")]
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training split [default: by kind, see below].")
    ] = None
    lr: Annotated[float | None, typer.Option(help="Peak learning rate [default: by kind and size, see below].")] = (
        None
    )
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a micro-batch (default: 1,024 on a CPU, 16,384 on a GPU, half for large models)."
        ),
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
    patience: Annotated[
        int | None,
        typer.Option(help="End after so many epochs without a lower validation loss; keep the best weights."),
    ] = None
    optimizer: Annotated[
        Literal["adamw", "adamw8bit", "muon"],
        typer.Option(
            help="adamw8bit keeps its state in a quarter of the memory (needs bitsandbytes); muon learns some tasks "
            "in fewer steps, and wants a higher --lr (0.01 for half a million parameters)."
        ),
    ] = "adamw"
    lora_rank: Annotated[
        int | None, typer.Option(help="Train adapters of this rank and the head, the rest frozen (needs PEFT).")
    ] = None
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Compute activations again: slower, far less memory.")
    ] = False
    sharding: Annotated[
        Literal["none", "full"],
        typer.Option(
            help="full: deal weights, gradients and optimizer state out to the processes of torchrun (FSDP)."
        ),
    ] = "none"
    compile: Annotated[
        bool, typer.Option("--compile", help="torch.compile the layers; pays on a GPU in longer runs.")
    ] = False
    log: Annotated[
        list[Log],
        typer.Option(help="Show the run there too, beside log.jsonl; may be given twice."),
    ] = field(default_factory=list)
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500
    resume: Annotated[bool, typer.Option("--resume", help="Continue the interrupted run in --out.")] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False
    json: Json = False

    def run(self, kind: "Kind", **settings: Any) -> None:
        """Trains a model of one kind with its own settings beside the common ones, and prints what came of it."""
        from trainer.parallel import is_first
        from trainer.train import train_reward_model

        with progress_bar(f"train {kind}") as show:
            report = train_reward_model(
                kind,
                data=self.data,
                model=self.model,
                out=self.out,
                settings=self.settings(**settings),
                resume=self.resume,
                overwrite=self.overwrite,
                progress=show,
                on_message=lambda message: print(message, file=sys.stderr),
            )
        if not is_first():
            return
        if self.json:
            print_json(report)
            return
        _print_trained(kind, self.out, report)

    def settings(self, **settings: Any) -> "TrainSettings":
        """The common settings with those of a kind."""
        from trainer.train import TrainSettings

        common = {name: getattr(self, name) for name in TrainSettings.__slots__ if hasattr(self, name)}
        return TrainSettings(**common, **settings)


def _print_trained(what: str, out: Path, report: Mapping[str, Any]) -> None:
    for split, counts in report["rows"].items():
        print_counts(f"train {what}, {split}", read=counts["read"], kept=counts["kept"], dropped=counts["dropped"])
    seconds = report["timings_s"]["train"]
    print(f"{out}: {report['n_steps']} steps, {report['n_tokens']:,} tokens in {seconds} s")
    for name, value in report["metrics"].items():
        print(f"  {name:24} {'-' if value is None else format(value, '.4f')}")


def _print_critiques(counts: Mapping[str, Mapping[str, int]]) -> None:
    for split, count in counts.items():
        dropped = {"no critique was written": count["dropped"]} if count["dropped"] else {}
        print_counts(f"cloud critiques, {split}", read=count["read"], kept=count["kept"], dropped=dropped)


Centre = Annotated[float, typer.Option(help="Weight of the squared sum of a pair's rewards.")]
Beta = Annotated[float, typer.Option(help="Scale of the log ratio to the base model; a smaller one moves further.")]


@app.command(epilog=in_words("prm"))
@with_flags
def prm(
    training: Training,
    step_token: Annotated[str, typer.Option(help="Token after each segment.")] = "<|prm_label|>",
    add_step_token: Annotated[bool, typer.Option("--add-step-token", help="Add it to the tokenizer.")] = False,
    positive: Annotated[str, typer.Option(help="Token whose LM-head row says right.")] = "+",
    negative: Annotated[str, typer.Option(help="Token whose LM-head row says wrong.")] = "-",
    own_head: Annotated[
        bool, typer.Option("--own-head", help="Train two rows of its own as a token classifier, not the LM's.")
    ] = False,
    layout: Annotated[
        Literal["causal-lm", "token-classification"] | None,
        typer.Option(help="How the weights are saved [default: causal-lm, with --own-head token-classification]."),
    ] = None,
) -> None:
    """Train a process reward model: is each step right."""
    training.run(
        "prm",
        step_token=step_token,
        add_step_token=add_step_token,
        positive=positive,
        negative=negative,
        own_head=own_head,
        layout=layout,
    )


@app.command(epilog=in_words("orm"))
@with_flags
def orm(
    training: Training,
    last_only: Annotated[
        bool, typer.Option("--last-only", help="Learn at the last token alone, not at every token of the solution.")
    ] = False,
) -> None:
    """Train an outcome reward model: is the final answer right."""
    training.run("orm", last_only=last_only)


@app.command(epilog=in_words("bt"))
@with_flags
def bt(training: Training, centre: Centre = 0.01) -> None:
    """Train a Bradley-Terry reward model: which of two solutions is preferred."""
    training.run("bt", centre=centre)


@app.command("critique-rm", epilog=in_words("critique-rm"))
@with_flags
def critique_rm(training: Training, centre: Centre = 0.01) -> None:
    """Train a Bradley-Terry reward model that is given a critique of each solution."""
    training.run("critique-rm", centre=centre)


@app.command("implicit-prm", epilog=in_words("implicit-prm"))
@with_flags
def implicit_prm(training: Training, beta: Beta = 0.05) -> None:
    """Train an outcome model whose reward is a log ratio to its base, so that every step has a reward too."""
    training.run("implicit-prm", beta=beta)


@app.command(epilog=in_words("cloud"))
@with_flags
def cloud(
    training: Training,
    centre: Centre = 0.01,
    lm_weight: Annotated[float, typer.Option(help="Weight of the loss of writing the critiques.")] = 1.25,
    stages: Annotated[
        Literal["joint", "all"],
        typer.Option(
            help="joint: reward and critiques of the set together. all: first teach a critic those of the set "
            "(OUT-critic), let it write them again (OUT-own), then joint from that critic on these."
        ),
    ] = "joint",
    critic_epochs: Annotated[int | None, typer.Option(help="Epochs of the first stage [default: see below].")] = None,
    critic_lr: Annotated[float | None, typer.Option(help="Rate of the first stage [default: see below].")] = None,
    critiques: Annotated[int, typer.Option(min=1, help="Critiques of each solution in the second stage.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0, help="Sampling temperature of the second stage.")] = 0.5,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a critique at most.")] = 256,
) -> None:
    """Train a reward model that writes a critique first: its joint stage, or all three (--stages all)."""
    if stages == "joint":
        training.run("cloud", centre=centre, lm_weight=lm_weight)
        return
    from stepmark.flows.cloud import train_cloud_stages
    from stepmark.flows.critiques import Sampled

    report = train_cloud_stages(
        data=training.data,
        model=training.model,
        out=training.out,
        settings=training.settings(centre=centre, lm_weight=lm_weight),
        critic_epochs=critic_epochs,
        critic_lr=critic_lr,
        sampled=Sampled(critiques, temperature, max_tokens, training.seed),
        resume=training.resume,
        overwrite=training.overwrite,
        watch=stages_of("train cloud"),
        on_message=lambda message: print(message, file=sys.stderr),
    )
    if training.json:
        print_json(report)
        return
    out = training.out
    _print_trained("critic", out.with_name(f"{out.name}-critic"), report["critic"])
    _print_critiques(report["critiques"])
    _print_trained("cloud", out, report["cloud"])


@app.command("cloud-critiques")
def cloud_critiques(
    data: Annotated[Path, typer.Option(help="Folder of the exported set.")],
    model: Annotated[Path, typer.Option(help="Folder of the model of stage one: `train sft --config cloud`.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of the new set.")],
    n: Annotated[int, typer.Option(min=1, help="Critiques of each solution.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0, help="Sampling temperature.")] = 0.5,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a critique at most.")] = 256,
    seed: Annotated[int, typer.Option(help="Another seed gives other critiques.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Json = False,
) -> None:
    """Write the critiques of a CLoud set again with the model that will be trained on them: the second stage.

    Run again, it goes on where it stopped.
    """
    from stepmark.flows.cloud import write_own_critiques
    from stepmark.flows.critiques import Sampled

    sampled = Sampled(n, temperature, max_tokens, seed)
    with progress_bar("cloud critiques") as show:
        counts = write_own_critiques(data, model, out, sampled, device=device, progress=show)
    if json:
        print_json(counts)
        return
    _print_critiques(counts)


@app.command()
def convert(
    model: Annotated[Path, typer.Option(help="Folder of a trained PRM.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of the token classifier.")],
    json: Json = False,
) -> None:
    """Write a PRM as a token classifier, as vLLM serves it: the two rows of the LM head, without training anew."""
    from trainer.convert import as_token_classifier

    report = as_token_classifier(model, out)
    if json:
        print_json(report)
        return
    pooler = f'{{"pooling_type": "STEP", "step_tag_id": {report["step_tag_id"]}}}'
    print(f"{out}: a token classifier with the scores of {model}")
    print(f"  vllm serve {out} --runner pooling --pooler-config '{pooler}'")


@app.command(epilog=in_words("judge"))
@with_flags
def judge(
    training: Training,
    beta: Beta = 0.1,
    lm_weight: Annotated[float, typer.Option(help="Weight of the loss of writing the chosen judgements.")] = 1.0,
) -> None:
    """Train a judge on pairs of judgements: write the right one, prefer it to the wrong one."""
    training.run("judge", beta=beta, lm_weight=lm_weight)


@app.command(epilog=in_words("sft"))
@with_flags
def sft(
    training: Training,
    config: Annotated[
        Literal["sft", "critique", "cloud"],
        typer.Option(help="What to write: solutions, critiques with their verdict, or the critiques of CLoud's set."),
    ] = "sft",
) -> None:
    """Train a language model on texts of the set: solutions, or a critic on confirmed critiques."""
    training.run("sft", config=config)
