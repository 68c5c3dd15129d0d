"""Trains one reward model from an exported set and writes it: the library call behind `stepmark train`.

The order of work is: refuse what cannot work (flags, folders, tokens, rows), then load, then train, then
write the model with `save_pretrained`, and `stepmark.json` last, so that its existence means the folder is
complete.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from stepmark import __version__
from stepmark.errors import InputError, SettingsError
from stepmark.progress import Progress, silent

from .batches import TokenSet
from .compute import computed, cost_of, in_words, matrix_peak
from .defaults import TINY, defaults_of
from .loop import FitReport, FitSettings, fit, plan_steps
from .lora import add_lora, merge_lora
from .models import (
    Layout,
    RewardNet,
    add_special_token,
    build_net,
    default_layout,
    load_tokenizer,
    n_parameters,
    save_net,
)
from .optimizers import OptimizerName, check_optimizer
from .parallel import join
from .render import TOO_LONG, Renderer, RowCounts, check_splits, encode_rows, label_token_ids
from .rows import CONFIG_OF, Kind, data_fingerprint, read_rows, split_files
from .sharding import Sharding, check_sharding, n_held, shard, whole_weights
from .trackers import Logger, find_trackers

MANIFEST = "stepmark.json"
"""Written last into a trained model's folder; says what the model is and where it comes from."""

REFERENCE = "reference"
"""Folder of the model that an implicit PRM is compared with, within its own."""

DEFAULT_STEP_TOKEN = "<|prm_label|>"
"""Stands after each segment; its position is where the label is read."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """The flags of a training run; None means: chosen by size, data or machine, and reported."""

    epochs: int | None = None
    """Passes over the training split; by kind, see `defaults.py`."""
    lr: float | None = None
    """Peak learning rate; by kind and size, see `defaults.py`."""
    batch_tokens: int | None = None
    """Tokens of the sequences of a micro-batch; 1,024 on a CPU, 16,384 on a GPU, 8,192 from 1 G parameters on."""
    share: bool = True
    """Whether solutions of a problem share the computation of what they begin with, chosen and rejected too."""
    accumulate: int = 1
    """Micro-batches of an optimizer step."""
    seed: int = 0
    """Seed of the batch order and of dropout."""
    max_length: int | None = None
    """Longest row in tokens, longer ones are dropped and counted; the model's own limit, 4,096 at most."""
    threads: int | None = None
    """CPU threads; one below 5 M parameters (two gave a quarter of its speed on a busy machine), else torch's
    own."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`, ...; auto takes a GPU where there is one."""
    step_token: str = DEFAULT_STEP_TOKEN
    """PRM: the token after each segment."""
    add_step_token: bool = False
    """PRM: add the step token to a tokenizer that does not have it."""
    positive: str = "+"
    """PRM: the token whose LM-head row says right."""
    negative: str = "-"
    """PRM: the token whose LM-head row says wrong."""
    own_head: bool = False
    """PRM: train two rows of its own as a token classifier, not those of the LM head."""
    last_only: bool = False
    """ORM: learn at the last token alone, not at every token of the solution."""
    centre: float = 0.01
    """Bradley-Terry: weight of the squared sum of a pair's rewards."""
    beta: float = 0.05
    """Implicit PRM and judge: scale of the log ratio to the base model."""
    lm_weight: float = 1.0
    """CLoud and judge: weight of the loss of writing the critiques, or the chosen judgements."""
    config: str | None = None
    """The folder of the set, where the kind learns from several: `sft` from `sft`, `critique` or `cloud`."""
    layout: Layout | None = None
    """PRM: `causal-lm` or `token-classification`."""
    patience: int | None = None
    """Epochs without a lower validation loss after which the run ends, with its best weights; None: all epochs."""
    optimizer: OptimizerName = "adamw"
    """`adamw`; `adamw8bit`, whose state takes a quarter of the memory (needs bitsandbytes); or `muon`."""
    lora_rank: int | None = None
    """Train adapters of this rank and the head in full, the rest frozen (needs PEFT); the saved model is merged."""
    gradient_checkpointing: bool = False
    """Keep fewer activations and compute them again: about a third slower, far less memory."""
    sharding: Sharding = "none"
    """On several processes: `full` deals weights, gradients and optimizer state out to them."""
    compile: bool = False
    """Compile the layers with torch.compile; it pays on a GPU with runs of over some minutes."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    log_every: int = 10
    """Steps between lines of the log."""
    log: Sequence[Logger] = ()
    """Where the log goes beside `log.jsonl`: `tensorboard`, `wandb`."""


@dataclass(frozen=True, slots=True)
class _Split:
    rows: TokenSet
    counts: RowCounts


def train_reward_model(
    kind: Kind,
    *,
    data: Path,
    model: str,
    out: Path,
    settings: TrainSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
    on_message: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Trains a reward model of `kind` and returns what stands in its `stepmark.json`.

    Args:
        kind: what is trained, see `rows.Kind`.
        data: an exported set; its `train` split is learnt, its `validation` split measured after each epoch.
        model: the base, a folder or a hub name; a causal LM, or for `orm` and `bt` also a classifier.
        out: where the model is written.
        settings: the flags.
        resume: continue the interrupted run in `out`; a finished one is returned as it is.
        overwrite: replace an earlier run in `out`.
        progress: told the tokens done and to do, a few times a second.
        on_message: told what was chosen and counted.

    Raises:
        UserError: flags, files or rows that cannot be used; nothing is trained.
        JobError: interrupted, or the loss is not finite any more.
    """
    settings = settings or TrainSettings()
    _check_settings(settings, kind)
    processes, device = join(_device(settings.device))
    processes.check(settings.accumulate)
    trackers = find_trackers(settings.log, out)
    check_optimizer(settings.optimizer)
    check_sharding(settings.sharding, processes, optimizer=settings.optimizer, is_compiled=settings.compile)
    if not processes.is_first:
        progress, on_message = silent, lambda message: None
    config = settings.config or CONFIG_OF[kind]
    if not split_files(data, config, "train"):
        raise InputError(f"{data} has no {config}/train-00000-of-0000N.jsonl or .parquet; export one there.")
    tokenizer, renderer, label_ids = _tokens(model, kind, settings)
    if processes.is_first:
        _prepare_folder(out, resume=resume, overwrite=overwrite)
    processes.wait()
    torch.manual_seed(settings.seed)
    started = time.perf_counter()

    def build(*, is_adapted: bool = False) -> RewardNet:
        built = build_net(model, kind, tokenizer, label_ids=label_ids, own_head=settings.own_head)
        if is_adapted and settings.lora_rank is not None:
            add_lora(built, settings.lora_rank)
        return built

    net = build()
    size = n_parameters(net)
    max_length = _max_length(settings, net)
    splits = {name: _Split(*encode_rows(read_rows(data, kind, name, config=config), renderer, max_length=max_length))
              for name in ("train", "validation")}  # fmt: skip
    for name, split in splits.items():
        on_message(_counted(name, split))
    known = check_splits(splits["train"].counts, splits["validation"].counts)
    if known is not None:
        on_message(known)
    train = splits["train"]
    if not len(train.rows):
        raise InputError(f"no row of {data / config} can be trained on: {train.counts.as_json()}.")
    defaults = defaults_of(kind, config)
    fit_settings = FitSettings(
        epochs=settings.epochs if settings.epochs is not None else defaults.epochs,
        lr=settings.lr if settings.lr is not None else defaults.rate(size, is_lora=settings.lora_rank is not None),
        batch_tokens=settings.batch_tokens or default_batch_tokens(size, device),
        share=settings.share,
        accumulate=settings.accumulate,
        seed=settings.seed,
        centre=settings.centre if kind in ("bt", "critique-rm", "cloud") else 0.0,
        beta=settings.beta,
        lm_weight=settings.lm_weight,
        optimizer=settings.optimizer,
        patience=settings.patience,
        log_every=settings.log_every,
        checkpoint_every=settings.checkpoint_every,
    )
    base_sha256 = _weights_fingerprint(model)
    identity: dict[str, object] = {
        "kind": kind,
        "data_sha256": data_fingerprint(data, config),
        # A base that lies here is known by its weights, wherever it lies.
        **({"base_model": model} if base_sha256 is None else {"base_sha256": base_sha256}),
        "max_length": max_length,
        "n_parameters": size,
    }
    if config != CONFIG_OF[kind]:
        identity["config"] = config
    if settings.last_only:
        identity["last_only"] = True
    if settings.lora_rank is not None:
        identity["lora_rank"] = settings.lora_rank
    if kind == "prm":
        identity |= {
            "step_token": settings.step_token,
            "positive": settings.positive,
            "negative": settings.negative,
        }
    finished = _finished(out, identity) if resume else None
    if finished is not None:
        on_message(f"{out} is finished already; nothing to resume")
        return finished
    threads = settings.threads or (1 if size < TINY else torch.get_num_threads())
    on_message(
        f"{size:,} parameters on {device}, {threads if device.type == 'cpu' else 'no'} CPU threads for it, "
        f"{fit_settings.epochs} epochs, lr {fit_settings.lr:g}, rows up to {max_length} tokens"
    )
    net.to(device)
    form = net.find_form()
    if settings.lora_rank is not None:
        add_lora(net, settings.lora_rank)
        net.to(device)
    if settings.gradient_checkpointing:
        net.model.activation_checkpointing_enable()
    if settings.compile:
        net.compile_layers()
    if settings.sharding == "full":
        shard(net, precision=torch.bfloat16 if device.type == "cuda" else None)
        on_message(f"dealt out to {processes.n} processes: this one holds {n_held(net):,} of {size:,} parameters")
    prepare_s = time.perf_counter() - started
    with _threads(threads):
        peak = matrix_peak(device)
        on_message(_floor(net, train.rows, fit_settings, peak))
        report = fit(
            net,
            train.rows,
            splits["validation"].rows,
            fit_settings,
            out=out,
            identity=identity,
            peak_flops=peak,
            processes=processes,
            trackers=trackers,
            resume=resume,
            progress=progress,
        )
    weights = whole_weights(net, keep=processes.is_first) if net.is_sharded else None
    if not processes.is_first:
        processes.wait()
        return json.loads((out / MANIFEST).read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    if weights is not None:
        net = build(is_adapted=True)
        net.load_state_dict(weights)
    if settings.lora_rank is not None:
        merge_lora(net)
    layout = settings.layout or ("token-classification" if settings.own_head else default_layout(kind))
    save_net(net.to("cpu"), out, layout=layout)
    tokenizer.save_pretrained(out)
    if kind == "implicit-prm":
        save_net(build_net(model, kind, tokenizer, label_ids=label_ids), out / REFERENCE, layout=layout)
    manifest = {
        **identity,
        "base_model": model,
        "base_sha256": base_sha256,
        "layout": layout,
        "data": str(data),
        "end_token": None if kind == "prm" else tokenizer.eos_token,
        "pad_token": tokenizer.pad_token,
        "flags": {key: getattr(fit_settings, key) for key in FitSettings.__slots__},
        "defaults": [key for key in ("epochs", "lr", "batch_tokens") if getattr(settings, key) is None],
        "rows": {name: split.counts.as_json() for name, split in splits.items()},
        "device": str(device),
        "threads": threads,
        "processes": processes.n,
        "sharding": settings.sharding,
        "batch_form": form,
        "peak_flops": round(peak),
        **_report_json(report, prepare_s, peak),
        "versions": {
            "stepmark": __version__,
            "torch": torch.__version__,
            "transformers": _transformers_version(),
        },
    }
    write_manifest(out, manifest)
    processes.wait()
    for name in ("checkpoint.pt", "best.pt"):
        (out / name).unlink(missing_ok=True)
    return manifest


def write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    """Writes `stepmark.json`, whole or not at all: that it is there says that the model is."""
    partial = out / f"{MANIFEST}.partial"
    partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    partial.replace(out / MANIFEST)


def default_batch_tokens(n: int, device: torch.device) -> int:
    """Returns the tokens of a micro-batch for a model of `n` parameters: what 80 GB hold on a GPU.

    >>> gpu, cpu = torch.device("cuda"), torch.device("cpu")
    >>> default_batch_tokens(500_000_000, gpu), default_batch_tokens(1_700_000_000, gpu), default_batch_tokens(1, cpu)
    (16384, 8192, 1024)
    """
    if device.type != "cuda":
        return 1024
    return 16_384 if n < 1_000_000_000 else 8192


def _check_settings(settings: TrainSettings, kind: Kind) -> None:
    positive = {
        "--epochs": settings.epochs,
        "--lr": settings.lr,
        "--batch-tokens": settings.batch_tokens,
        "--accumulate": settings.accumulate,
        "--max-length": settings.max_length,
        "--threads": settings.threads,
        "--checkpoint-every": settings.checkpoint_every,
        "--log-every": settings.log_every,
        "--patience": settings.patience,
        "--lora-rank": settings.lora_rank,
    }
    for flag, value in positive.items():
        if value is not None and not value > 0:
            raise SettingsError(f"{flag} must be above zero, not {value}.")
    if settings.centre < 0 or settings.seed < 0:
        raise SettingsError("--centre and --seed must not be negative.")
    wanted: tuple[Layout, ...] = ("causal-lm", "token-classification") if kind == "prm" else (default_layout(kind),)
    if settings.own_head and settings.layout == "causal-lm":
        raise SettingsError("a PRM with a head of its own is a token classifier; leave out --layout causal-lm.")
    if settings.layout is not None and settings.layout not in wanted:
        raise SettingsError(f"--layout {settings.layout} is not for this kind; choose from {', '.join(wanted)}.")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as err:
        raise SettingsError(f"--device {name} is no device: {err}") from err
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"--device {name}, but torch {torch.__version__} sees no GPU here; use --device cpu.")
    return device


def _tokens(model: str, kind: Kind, settings: TrainSettings) -> tuple[Any, Renderer, tuple[int, int] | None]:
    """Loads the tokenizer and checks the label tokens before anything heavy happens.

    Only a PRM that reads the LM's rows needs `+` and `-`; other heads start with them, or at zero where a tokenizer
    lacks them.
    """
    tokenizer = load_tokenizer(model)
    if kind == "prm":
        if settings.add_step_token:
            add_special_token(tokenizer, settings.step_token)
        renderer = Renderer(tokenizer, kind, step_token=settings.step_token)
        if settings.own_head:
            return tokenizer, renderer, _label_ids_or_none(tokenizer, settings)
        return tokenizer, renderer, label_token_ids(tokenizer, settings.positive, settings.negative)
    renderer = Renderer(tokenizer, kind, last_only=settings.last_only)
    return tokenizer, renderer, _label_ids_or_none(tokenizer, settings)


def _label_ids_or_none(tokenizer: Any, settings: TrainSettings) -> tuple[int, int] | None:
    try:
        return label_token_ids(tokenizer, settings.positive, settings.negative)
    except SettingsError:
        return None


def _prepare_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Makes the folder; deletes an earlier run only if asked, and never a folder that is not a run of
    ours.
    """
    if resume and overwrite:
        raise SettingsError("--resume continues a run and --overwrite deletes it; choose one.")
    if out.exists() and not out.is_dir():
        raise SettingsError(f"--out {out} is a file.")
    if out.is_dir() and any(out.iterdir()):
        is_run = any((out / name).exists() for name in (MANIFEST, "checkpoint.pt", "log.jsonl"))
        if is_run and overwrite:
            shutil.rmtree(out)
        elif is_run and resume:
            return
        elif is_run:
            raise SettingsError(
                f"{out} holds an earlier run; continue it with --resume or replace it with --overwrite."
            )
        else:
            raise SettingsError(f"{out} is not empty and is no training run; choose another --out.")
    out.mkdir(parents=True, exist_ok=True)


def _finished(out: Path, identity: dict[str, object]) -> dict[str, Any] | None:
    path = out / MANIFEST
    if not path.exists():
        return None
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    differing = [key for key, value in identity.items() if manifest.get(key) != value]
    if differing:
        raise SettingsError(f"{out} is a finished run with another {', '.join(differing)}; use --overwrite.")
    return manifest


def _max_length(settings: TrainSettings, net: RewardNet) -> int:
    limit = getattr(net.model.config, "max_position_embeddings", None)
    if settings.max_length is None:
        return min(limit or 4096, 4096)
    if limit is not None and settings.max_length > limit:
        raise SettingsError(f"--max-length {settings.max_length} is beyond the model's {limit} positions.")
    return settings.max_length


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _counted(name: str, split: _Split) -> str:
    counts = split.counts
    dropped = "".join(f", {n} {reason}" for reason, n in sorted(counts.dropped.items())) or ", none dropped"
    if counts.dropped[TOO_LONG]:
        dropped += f", the longest of {counts.longest} tokens"
    return f"{name}: {counts.n_read} read, {counts.n_kept} kept{dropped} ({split.rows.n_tokens():,} tokens)"


def _floor(net: RewardNet, train: TokenSet, settings: FitSettings, peak: float) -> str:
    """Says what the run cannot be faster than."""
    share = settings.share and net.shares
    (steps,) = plan_steps(train, replace(settings, epochs=1), share=share)
    n_computed, n_scores = computed(train, [batch for step in steps for batch in step], share=share)
    n_computed, n_scores = n_computed * settings.epochs, n_scores * settings.epochs
    cost = cost_of(net)
    flops = cost.per_token * n_computed + cost.per_score * n_scores
    n_tokens = train.n_tokens() * settings.epochs
    return (
        f"compute floor: {in_words(flops)} for {n_tokens:,} tokens ({n_computed:,} computed) at {in_words(peak)}/s, "
        f"the measured peak: {flops / peak:,.1f} s"
    )


def _report_json(report: FitReport, prepare_s: float, peak: float) -> dict[str, Any]:
    seconds = report.train_s + report.evaluation_s
    return {
        "n_steps": report.n_steps,
        "n_tokens": report.n_tokens,
        "n_computed": report.n_computed,
        "tokens_per_s": round(report.n_tokens / report.train_s) if report.train_s else None,
        "mfu": round(report.flops / report.train_s / peak, 4) if report.train_s else None,
        "timings_s": {
            "prepare": round(prepare_s, 3),
            "train": round(report.train_s, 3),
            "evaluate": round(report.evaluation_s, 3),
        },
        "evaluation_share": round(report.evaluation_s / seconds, 4) if seconds else None,
        "evaluations": report.evaluations,
        "best_epoch": report.best_epoch,
        "metrics": report.evaluations[-1 if report.best_epoch is None else report.best_epoch]
        if report.evaluations
        else {},
    }


def _weights_fingerprint(model: str) -> str | None:
    """Returns the SHA-256 over the weights of a local base; None for a hub name."""
    files = sorted(Path(model).glob("*.safetensors"))
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _transformers_version() -> str:
    from transformers import __version__ as version

    return str(version)
