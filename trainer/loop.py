"""The training loop: batches in, a trained network and its log out.

AdamW on float32 weights (bf16 autocast on a GPU), linear warm-up and cosine to zero, clipped gradients. The
loss of an optimizer step is the sum over its micro-batches divided by the number of targets of all of them.
Everything random comes from the seed and the epoch, so a run that was interrupted continues on the same
trajectory. Nothing here reads rows or writes models: see `train.py`.
"""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stepmark.errors import JobError, SettingsError
from stepmark.progress import Progress, silent

from .batches import Batch, Ints, TokenSet, plan_batches
from .compute import cost_of
from .evaluate.measures import auc, within_problem_auc
from .models import RewardNet
from .objectives import NO_WEIGHTS, REFERRED, Weights, parts, sizes, sums
from .optimizers import OptimizerName, make_optimizer
from .parallel import ALONE, Processes
from .sharding import load_whole_state, load_whole_weights, whole, whole_state, whole_weights
from .trackers import Tracker, flat

EVALUATION_SHARE = 0.2
"""Tokens of an evaluation as a share of an epoch's. A forward pass costs a third of a training step, so an
evaluation stays under a tenth of the compute."""


SHOW_EVERY_S = 0.2
"""Least time between two reports of progress."""

Measures = dict[str, float | None]
"""Measures by name; None where one is not defined (an AUC without wrong ones)."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What determines the trajectory of a run; a resumed run must have the same."""

    epochs: int = 2
    """Passes over the training split."""
    lr: float = 1e-3
    """Peak learning rate."""
    batch_tokens: int = 1024
    """Tokens of the sequences of a micro-batch."""
    share: bool = True
    """Whether sequences of a problem share the computation of what they begin with."""
    accumulate: int = 1
    """Micro-batches of an optimizer step."""
    seed: int = 0
    """Seed of the order of the batches and of dropout."""
    warmup_share: float = 0.05
    """Share of the steps over which the learning rate rises from zero."""
    weight_decay: float = 0.01
    """Decay of the matrices; embeddings, heads and norms have none."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    centre: float = 0.0
    """Bradley-Terry: weight of the squared sum of a pair's rewards."""
    beta: float = 0.05
    """Implicit PRM and judge: scale of the log ratio to the reference."""
    lm_weight: float = 1.0
    """CLoud and judge: weight of the loss of writing."""
    optimizer: OptimizerName = "adamw"
    """What updates the weights."""
    patience: int | None = None
    """Epochs without a lower validation loss after which the run ends, with its best weights; None: all epochs."""
    log_every: int = 10
    """Steps between lines of the log."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""


@dataclass(slots=True)
class FitReport:
    """What a run did."""

    n_steps: int = 0
    n_tokens: int = 0
    """Tokens of the sequences, all epochs."""
    n_computed: int = 0
    """Positions that went through the body: shared tokens once, and padding where there is any."""
    flops: float = 0.0
    """Floating-point operations that these tokens cannot do without, see `compute.py`."""
    train_s: float = 0.0
    """Seconds of training steps, over all processes that had a part in the run."""
    evaluation_s: float = 0.0
    """Seconds of evaluation."""
    evaluations: list[Measures] = field(default_factory=list)
    """Measures on the validation split after each epoch."""
    best_epoch: int | None = None
    """0-based; where `patience` is set, the epoch whose weights are kept."""


def lr_at(step: int, *, n_steps: int, peak: float, warmup_share: float) -> float:
    """Returns the learning rate of a 0-based step: linear up to `peak`, then a cosine that ends near zero.

    >>> [round(lr_at(s, n_steps=10, peak=1.0, warmup_share=0.2), 3) for s in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    warmup = max(1, round(n_steps * warmup_share))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, n_steps - warmup)))


def plan_steps(data: TokenSet, settings: FitSettings, *, share: bool) -> list[list[list[Ints]]]:
    """Returns, for each epoch, the optimizer steps, each a list of micro-batches."""
    epochs = []
    for epoch in range(settings.epochs):
        seed = int(np.random.SeedSequence([settings.seed, epoch]).generate_state(1)[0])
        batches = plan_batches(data, batch_tokens=settings.batch_tokens, seed=seed, share=share)
        n = settings.accumulate
        epochs.append([batches[i : i + n] for i in range(0, len(batches), n)])
    return epochs


def accumulate_gradients(
    net: RewardNet,
    batches: Sequence[Batch],
    *,
    weights: Weights = NO_WEIGHTS,
    n_targets: Sequence[int] | None = None,
    idle: Sequence[Batch] = (),
    scale: float = 1.0,
) -> Tensor:
    """Adds the gradients of one optimizer step and returns its loss.

    Each part of the loss is the mean over its targets in all batches, or in `n_targets` of which these are some.
    Batches that are `idle` go through the network and count for nothing. Gradients are `scale` times the loss's.
    """
    counts = n_targets or sizes(net.kind, [count for batch in batches for count in batch.counts])
    total = torch.zeros((), device=next(net.parameters()).device)
    for batch, share in [*((batch, 1.0) for batch in batches), *((batch, 0.0) for batch in idle)]:
        with _precision(batch.input_ids.device):
            found = parts(net, batch, weights)
            loss = sum(
                (share * part.weight * part.losses.sum() / n for part, n in zip(found, counts, strict=True)),
                0.0 * total,
            )
        loss.backward(torch.full_like(loss, scale))  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


@torch.no_grad()
def with_references(net: RewardNet, data: TokenSet, *, batch_tokens: int) -> TokenSet:
    """Notes the log-probability of every sequence's targets under the network as it is now."""
    was_training = net.training
    net.eval()
    references = np.zeros_like(data.references)
    for items, logps in read_logits(net, data, np.arange(len(data)), batch_tokens=batch_tokens):
        numbers = (items[:, None] * data.group + np.arange(data.group)).ravel()
        counts = np.diff(data.position_starts)[numbers].tolist()
        references[numbers] = sums(logps, counts).float().numpy()
    net.train(was_training)
    return replace(data, references=references)


def fit(
    net: RewardNet,
    train: TokenSet,
    validation: TokenSet | None,
    settings: FitSettings,
    *,
    out: Path,
    identity: dict[str, object],
    peak_flops: float | None = None,
    processes: Processes = ALONE,
    trackers: Sequence[Tracker] = (),
    resume: bool = False,
    progress: Progress = silent,
) -> FitReport:
    """Trains `net` in place and writes `log.jsonl` and `checkpoint.pt` under `out`.

    Args:
        net: on the device where it shall be trained.
        train: the training split.
        validation: measured at the end of each epoch, on a sample of a fifth of the epoch's tokens at most.
        settings: what determines the trajectory.
        out: an existing folder.
        identity: what else a checkpoint must agree with to be continued (kind, data, base model).
        peak_flops: what the device can do in a second; the log then says which share of it is reached.
        processes: those that share the run; the first one writes.
        trackers: shown the lines of the log, by the first process.
        resume: continue from `checkpoint.pt`, where there is one.
        progress: told the tokens done and to do, with loss and rate, a few times a second.

    Raises:
        SettingsError: the checkpoint belongs to another run.
        JobError: the loss is not finite any more, or the run was interrupted (after a checkpoint was
            written).
    """
    if net.kind in REFERRED:
        train = with_references(net, train, batch_tokens=settings.batch_tokens)
        if validation is not None and len(validation):
            validation = with_references(net, validation, batch_tokens=settings.batch_tokens)
    run = _Run(net, train, settings, out=out, identity=identity, peak_flops=peak_flops, processes=processes)
    if resume:
        run.restore()
    processes.wait()
    if processes.is_first:
        run.truncate_log()
    evaluator = None if validation is None or not len(validation) else _sample(validation, train, settings.seed)
    shown_at = 0.0
    with _Log(run.log_path, trackers, run.step, processes) as log, _interrupts() as interrupted:
        while run.step < run.n_steps and not run.is_out_of_patience():
            is_interrupted = run.take_step(is_interrupted=interrupted.is_set())
            is_last_of_epoch = run.step in run.epoch_ends
            if run.step % settings.log_every == 0 or run.step == run.n_steps:
                log.write(run.log_line())
            if is_last_of_epoch and validation is not None and evaluator is not None:
                log.write(run.evaluate(validation, evaluator))
                run.keep_best()
            now = time.perf_counter()
            if now - shown_at > SHOW_EVERY_S or run.step == run.n_steps:
                run.show(progress)
                shown_at = now
            if is_interrupted or (processes.n == 1 and interrupted.is_set()):
                run.save()
                raise JobError(
                    f"interrupted after step {run.step} of {run.n_steps}; the checkpoint is written, "
                    "continue with --resume."
                )
            if is_last_of_epoch or run.step % settings.checkpoint_every == 0:
                run.save()
            if is_last_of_epoch and run.is_out_of_patience():
                break
    run.take_best()
    return run.report


class _Run:
    """The state of a run: everything a checkpoint holds, and how one step changes it."""

    def __init__(
        self,
        net: RewardNet,
        train: TokenSet,
        settings: FitSettings,
        *,
        out: Path,
        identity: dict[str, object],
        peak_flops: float | None,
        processes: Processes,
    ) -> None:
        processes.check(settings.accumulate)
        self.processes = processes
        self.net, self.train, self.settings = net, train, settings
        self.log_path, self.checkpoint_path, self.best_path = (
            out / name for name in ("log.jsonl", "checkpoint.pt", "best.pt")
        )
        self.identity = {**identity, **asdict(settings)}
        self.share = settings.share and net.shares
        epochs = plan_steps(train, settings, share=self.share)
        self.steps = [(epoch, batches) for epoch, steps in enumerate(epochs) for batches in steps]
        self.epoch_ends = set(np.cumsum([len(steps) for steps in epochs]).tolist())
        self.n_steps = len(self.steps)
        self.step = 0
        self.report = FitReport()
        self.device = next(net.parameters()).device
        groups = _parameter_groups(net, settings.weight_decay)
        self.optimizer = make_optimizer(settings.optimizer, groups, lr=settings.lr)
        self._loss_sum = torch.zeros((), device=self.device)
        self._norm = torch.zeros((), device=self.device)
        self._n_summed = 0
        self._shown_loss = math.nan
        self._weights = Weights(settings.centre, settings.beta, settings.lm_weight)
        self._cost, self._peak_flops = cost_of(net), peak_flops
        self._started_with = (0, 0.0, 0.0)
        torch.manual_seed(settings.seed)
        net.train()

    def take_step(self, *, is_interrupted: bool) -> bool:
        """Runs one optimizer step; tells whether any process was interrupted before it."""
        started = time.perf_counter()
        _, items = self.steps[self.step]
        batches = [self._batch(part) for part in items[self.processes.rank :: self.processes.n]]
        lr = lr_at(self.step, n_steps=self.n_steps, peak=self.settings.lr, warmup_share=self.settings.warmup_share)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_share", 1.0)
        every = np.concatenate(items)
        numbers = (every[:, None] * self.train.group + np.arange(self.train.group)).ravel()
        counts = np.diff(self.train.position_starts)[numbers].tolist()
        n = self.processes.n
        is_sharded = self.net.is_sharded
        # Shares are gathered by all processes together, so each makes as many passes as the first.
        n_idle = -(-len(items) // n) - len(batches) if is_sharded else 0
        loss = accumulate_gradients(
            self.net,
            batches,
            weights=self._weights,
            n_targets=sizes(self.net.kind, counts),
            idle=[self._batch(items[0][:1])] * n_idle,
            scale=n if is_sharded else 1.0,  # FSDP takes the mean over the processes
        )
        if n > 1:
            note = torch.stack([loss, torch.full_like(loss, float(is_interrupted))])
            self.processes.sum([note] if is_sharded else [note, *self._gradients()])
            loss, is_interrupted = note[0], bool(note[1] > 0)
        self._loss_sum += loss
        self._norm = whole(torch.nn.utils.clip_grad_norm_(self._trained(), self.settings.clip))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._n_summed += 1
        self.step += 1
        self.report.n_steps = self.step
        self.report.n_tokens += int(np.diff(self.train.token_starts)[numbers].sum())
        # the others' batches are taken to be like ours
        self.report.n_computed += n * sum(self.net.n_positions(batch) for batch in batches)
        self.report.flops += n * sum(self._cost.of(batch) for batch in batches)
        self.report.train_s += time.perf_counter() - started
        return is_interrupted and n > 1

    def _gradients(self) -> Iterator[Tensor]:
        """Yields the gradient of each trained parameter, zeros where this process has none."""
        for parameter in self._trained():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            yield parameter.grad

    def _batch(self, items: Ints) -> Batch:
        return self.net.collate(self.train, items, share=self.share).to(self.device)

    def log_line(self) -> dict[str, Any]:
        """Returns the line of the log for the steps since the last one.

        Raises:
            JobError: their mean loss is not a finite number.
        """
        loss = self._finite_loss_sum() / self._n_summed
        self._shown_loss = loss
        self._loss_sum.zero_()
        self._n_summed = 0
        return {
            "step": self.step,
            "epoch": self.steps[self.step - 1][0],
            "loss": loss,
            "lr": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": self._norm.item(),
            "tokens": self.report.n_tokens,
            **self.speed(),
        }

    def evaluate(self, validation: TokenSet, items: Ints) -> dict[str, Any]:
        """Measures the validation sample and returns the line of the log."""
        started = time.perf_counter()
        measures = evaluate(
            self.net, validation, items, batch_tokens=self.settings.batch_tokens, beta=self.settings.beta
        )
        self.report.evaluations.append(self.processes.agree(measures))
        self.report.evaluation_s += time.perf_counter() - started
        return {"step": self.step, "epoch": self.steps[self.step - 1][0], "validation": self.report.evaluations[-1]}

    def keep_best(self) -> None:
        """Writes the weights beside the checkpoint where they are the best so far."""
        found = [measures["loss"] for measures in self.report.evaluations]
        losses = [math.inf if loss is None else loss for loss in found]
        best = losses.index(min(losses))
        if self.settings.patience is None or best != len(losses) - 1:
            return
        self.report.best_epoch = best
        weights = whole_weights(self.net, keep=self.processes.is_first)
        if not self.processes.is_first:
            return
        partial = self.best_path.with_suffix(".partial")
        torch.save(weights, partial)
        partial.replace(self.best_path)

    def is_out_of_patience(self) -> bool:
        """Tells whether the validation loss has not become lower for `patience` epochs."""
        patience, best = self.settings.patience, self.report.best_epoch
        return patience is not None and best is not None and len(self.report.evaluations) - 1 - best >= patience

    def take_best(self) -> None:
        """Puts the best weights into the network at the end of a run that kept them."""
        self.processes.wait()
        if self.report.best_epoch is not None and self.best_path.exists():
            load_whole_weights(self.net, self._read(self.best_path))

    def speed(self) -> dict[str, float]:
        """Returns how fast this process trains since it took the run up, and how much of the device it uses.

        `tokens_per_s` counts the tokens of the sequences; `useful_share` is their number over the positions computed:
        below 1 with padding, above 1 where sequences share what they begin with; `mfu` is the share of the peak.
        """
        tokens, seconds, flops = self._started_with
        seconds = max(1e-9, self.report.train_s - seconds)
        speed: dict[str, float] = {
            "tokens_per_s": round((self.report.n_tokens - tokens) / seconds),
            "useful_share": round(self.report.n_tokens / max(1, self.report.n_computed), 3),
        }
        if self._peak_flops is not None:
            speed["mfu"] = round((self.report.flops - flops) / seconds / self._peak_flops / self.processes.n, 4)
        return speed

    def show(self, progress: Progress) -> None:
        """Tells how far the run is."""
        total = self.train.n_tokens() * self.settings.epochs
        speed = self.speed()
        note = f"loss {self._shown_loss:.4f}, {speed['tokens_per_s']:,} tokens/s"
        if "mfu" in speed:
            note += f", MFU {speed['mfu']:.0%}"
        progress(self.report.n_tokens, total, note)

    def _finite_loss_sum(self) -> float:
        loss: float = self._loss_sum.item()
        if not math.isfinite(loss):
            raise JobError(
                f"the loss is {loss} at step {self.step}; the weights are lost. "
                f"Lower --lr (it was {self.settings.lr:g})."
            )
        return loss

    def save(self) -> None:
        """Writes the checkpoint, whole or not at all; never one of a run whose loss is not finite any
        more.
        """
        self._finite_loss_sum()
        is_first = self.processes.is_first
        weights = whole_weights(self.net, keep=is_first)
        optimizer = whole_state(self.net, self.optimizer, keep=is_first)
        if not is_first:
            return
        state = {
            "identity": self.identity,
            "step": self.step,
            "model": weights,
            "optimizer": optimizer,
            "rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "loss_sum": self._loss_sum,
            "n_summed": self._n_summed,
            "shown_loss": self._shown_loss,
            "report": asdict(self.report),
        }
        partial = self.checkpoint_path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint_path)

    def restore(self) -> None:
        """Continues from the checkpoint, where there is one."""
        if not self.checkpoint_path.exists():
            return
        state = self._read(self.checkpoint_path)
        differing = [key for key in self.identity if state["identity"].get(key) != self.identity[key]]
        if differing:
            was = ", ".join(
                f"{key} was {state['identity'].get(key)!r}, is {self.identity[key]!r}" for key in differing
            )
            raise SettingsError(
                f"{self.checkpoint_path} belongs to another run: {was}. Use the same flags, or --overwrite."
            )
        load_whole_weights(self.net, state["model"])
        load_whole_state(self.net, self.optimizer, state["optimizer"])
        torch.set_rng_state(state["rng"].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all([rng.cpu() for rng in state["device_rng"]])
        self.step = state["step"]
        self._loss_sum = state["loss_sum"].to(self.device)
        self._n_summed = state["n_summed"]
        self._shown_loss = state["shown_loss"]
        self.report = FitReport(**state["report"])
        self._started_with = (self.report.n_tokens, self.report.train_s, self.report.flops)

    def _read(self, path: Path) -> Any:
        """Reads whole tensors, to the device; where only shares are wanted, without having all in memory."""
        if self.net.is_sharded:
            return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        return torch.load(path, map_location=self.device, weights_only=True)

    def truncate_log(self) -> None:
        """Removes what the log says about steps after the checkpoint, and the log of a run that starts
        anew.
        """
        if not self.log_path.exists():
            return
        lines = self.log_path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self.step]
        self.log_path.write_text("".join(kept), encoding="utf-8")

    def _trained(self) -> list[torch.nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


@torch.no_grad()
def read_logits(
    net: RewardNet, data: TokenSet, items: Ints, *, batch_tokens: int, share: bool = True
) -> Iterator[tuple[Ints, Tensor]]:
    """Yields batches of items with their logits [K] on the CPU, in float64; the order is by length."""
    device = next(net.parameters()).device
    share = share and net.shares
    for batch in plan_batches(data, batch_tokens=batch_tokens, share=share, items=items):
        inputs = net.collate(data, batch, share=share).to(device)
        with _precision(device):
            logits = net(inputs)
        yield batch, logits.double().cpu()


def evaluate(net: RewardNet, data: TokenSet, items: Ints, *, batch_tokens: int, beta: float = 0.05) -> Measures:
    """Measures a reward model on some items of a set; what each key means stands in `_measures_*` below."""
    was_training = net.training
    net.eval()
    per_item: dict[int, Any] = {}
    for batch, logits in read_logits(net, data, items, batch_tokens=batch_tokens):
        counts = np.diff(data.position_starts)[batch[:, None] * data.group + np.arange(data.group)].sum(axis=1)
        for item, part in zip(batch.tolist(), np.split(logits.numpy(), np.cumsum(counts)[:-1]), strict=True):
            per_item[item] = part
    net.train(was_training)
    logits_of = [per_item[item] for item in items.tolist()]
    first = data.position_starts[items * data.group]
    last = data.position_starts[(items + 1) * data.group]
    targets_of = [data.targets[a:b].astype(float) for a, b in zip(first, last, strict=True)]
    labels, references = (
        data.labels[items].astype(float),
        data.references.reshape(-1, data.group)[items].astype(float),
    )
    first_counts = np.diff(data.position_starts)[items * data.group].tolist()
    if net.kind in ("bt", "critique-rm"):
        measures = _measures_of_pairs(logits_of, targets_of)
    elif net.kind == "prm":
        measures = _measures_of_steps(logits_of, targets_of)
    elif net.kind == "orm":
        measures = _measures_of_solutions(logits_of, targets_of, data.problems[items])
    elif net.kind == "sft":
        measures = _measures_of_texts(logits_of)
    elif net.kind == "implicit-prm":
        totals = [np.array([beta * (z.sum() - r[0])]) for z, r in zip(logits_of, references, strict=True)]
        measures = _measures_of_solutions(totals, list(labels[:, None]), data.problems[items])
    else:
        sides = [(z[:n], z[n:]) for z, n in zip(logits_of, first_counts, strict=True)]
        if net.kind == "cloud":
            rewards = [np.array([c[-1], r[-1]]) for c, r in sides]
            written = [np.concatenate([c[:-1], r[:-1]]) for c, r in sides]
            margins = [t[-1:] for t in targets_of]
        else:
            rewards = [
                np.array([c.sum() - a, r.sum() - b]) * beta for (c, r), (a, b) in zip(sides, references, strict=True)
            ]
            written = [c for c, _ in sides]
            margins = [np.zeros(1)] * len(sides)
        measures = _measures_of_pairs(rewards, margins) | {"text_loss": _measures_of_texts(written)["loss"]}
    return {key: None if value is None or math.isnan(value) else value for key, value in measures.items()}


def _measures_of_steps(logits_of: list[Any], targets_of: list[Any]) -> Measures:
    """Measures of a PRM by step and by first error: rows end at their first error, so a product favours wrong ones.

    `loss` per step; `step_accuracy`, `step_auc`, and their base rate `step_share_right`; `wrong_found`, the share of
    solutions with an error whose first error is the first step below 0.5; `right_passed`, the share of the others
    without a step below 0.5; `f1`, their harmonic mean (as ProcessBench defines it).
    """
    logits, targets = np.concatenate(logits_of), np.concatenate(targets_of)
    right = targets > 0.5
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for z, t in zip(logits_of, targets_of, strict=True):
        expected = _first(t <= 0.5)
        hits[expected is None].append(_first(z <= 0.0) == expected)
    passed, found = (float(np.mean(hits[key])) if hits[key] else math.nan for key in (True, False))
    return {
        "loss": _mean_loss(logits, targets),
        "step_accuracy": float(np.mean((logits > 0) == right)),
        "step_auc": auc(logits, right),
        "step_share_right": float(np.mean(right)),
        "wrong_found": found,
        "right_passed": passed,
        "f1": 2 * found * passed / (found + passed) if found + passed > 0 else found + passed,
        "n": float(len(targets_of)),
    }


def _first(mask: Any) -> int | None:
    return int(mask.argmax()) if mask.any() else None


def _mean_loss(logits: Any, targets: Any) -> float:
    return float((np.logaddexp(0.0, logits) - targets * logits).mean())


def _measures_of_solutions(logits_of: list[Any], targets_of: list[Any], problems: Ints) -> Measures:
    """Measures of an ORM: `loss` per token; by solution, at the last token, `accuracy` at 0.5, `auc` pooled,

    `within_problem_auc` and the `n_problems_with_both` it is the mean of.
    """
    last = np.array([z[-1] for z in logits_of])
    right = np.array([t[-1] > 0.5 for t in targets_of])
    within, n_problems = within_problem_auc(problems, last, right)
    return {
        "loss": _mean_loss(np.concatenate(logits_of), np.concatenate(targets_of)),
        "accuracy": float(np.mean((last > 0) == right)),
        "auc": auc(last, right),
        "within_problem_auc": within,
        "n_problems_with_both": float(n_problems),
        "n": float(len(right)),
    }


def _measures_of_texts(logps_of: list[Any]) -> Measures:
    """`loss` of writing, per token."""
    return {"loss": float(-np.concatenate(logps_of).mean()), "n": float(len(logps_of))}


def _measures_of_pairs(logits_of: list[Any], targets_of: list[Any]) -> Measures:
    """`accuracy`: chosen strictly above rejected; `loss` without the centring term; `mean_lead` of the
    chosen.
    """
    leads = np.array([z[0] - z[1] for z in logits_of])
    margins = np.array([t[0] for t in targets_of])
    return {
        "loss": float(np.logaddexp(0.0, margins - leads).mean()),
        "accuracy": float(np.mean(leads > 0)),
        "mean_lead": float(leads.mean()),
        "n": float(len(leads)),
    }


def _sample(validation: TokenSet, train: TokenSet, seed: int) -> Ints:
    """Chooses the items of every evaluation of a run: random whole problems, up to a fifth of an epoch's
    tokens.
    """
    _, numbers = np.unique(validation.problems, return_inverse=True)
    order = np.argsort(np.random.default_rng(seed).permutation(numbers.max() + 1)[numbers], kind="stable")
    tokens = np.cumsum(validation.lengths()[order] * validation.group)
    n = int(np.searchsorted(tokens, EVALUATION_SHARE * train.n_tokens(), side="right"))
    return np.sort(order[: max(1, n)])


def _parameter_groups(net: RewardNet, weight_decay: float) -> list[dict[str, Any]]:
    """Splits what is trained into matrices, which decay, and the rest (norms, embeddings, heads), which does
    not.
    """
    outside = {id(net.model.get_input_embeddings().weight), id(net.rows)}
    heads = [head for head in (getattr(net.model, "score", None), getattr(net, "head", None)) if head is not None]
    outside |= {id(p) for head in heads for p in head.parameters()}
    trained = [p for p in net.parameters() if p.requires_grad]
    decays = [p for p in trained if p.dim() >= 2 and id(p) not in outside]
    chosen = {id(p) for p in decays}
    return [
        {"params": decays, "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in chosen], "weight_decay": 0.0},
    ]


def _precision(device: torch.device) -> Any:
    """bf16 autocast on a GPU; on a CPU it was not faster at these sizes, so float32 there."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


class _Log:
    """`log.jsonl` and the trackers beside it; only the first process writes."""

    def __init__(self, path: Path, trackers: Sequence[Tracker], step: int, processes: Processes) -> None:
        self._trackers = trackers if processes.is_first else ()
        self._file = (path if processes.is_first else Path(os.devnull)).open("a", encoding="utf-8")
        self._step = step

    def __enter__(self) -> "_Log":
        for tracker in self._trackers:
            tracker.start(self._step)
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        for tracker in self._trackers:
            tracker.close()

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for tracker in self._trackers:
            tracker.write(line["step"], flat(line))


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Lets the first Ctrl-C or TERM finish the step at hand; the second ends the process as usual."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def note(number: int, frame: object) -> None:
        event.set()
        signal.signal(number, previous[signal.Signals(number)])

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, note)
    try:
        yield event
    finally:
        for number in numbers:
            signal.signal(number, previous[number])
