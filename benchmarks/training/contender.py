"""One contender, in a process of its own: trains one epoch on tokenised rows and writes what it took.

    python contender.py NAME KIND MODEL ROWS OUT --batch-rows 8 --device cpu

NAME is `stepmark`, `padded` (a plain loop: rows in random order, padded, full logits at every position) or `trl`.
Everything else is the same for all: tokens, labels, rows of a step, AdamW, learning rate and its schedule, gradient
clipping, float32 on a CPU and bf16 autocast on a GPU, a loss read at each step. The first steps, `--warmup` of them,
are not timed. Seconds are CPU-seconds of one thread on a CPU, of the wall on a GPU.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch

LR, WARMUP_SHARE, DECAY, BETAS, CLIP = 5e-4, 0.05, 0.01, (0.9, 0.98), 1.0
Rows = list[list[dict[str, Any]]]


class Over(Exception):
    """The epoch is over."""


class Meter:
    """Tokens, seconds, losses and memory, the same for all contenders."""

    def __init__(self, device: torch.device, warmup: int) -> None:
        self.device, self.warmup = device, warmup
        self.losses: list[tuple[int, float]] = []
        self.n_tokens = 0
        self._started: tuple[float, int] | None = None
        self._last = 0.0
        self._before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return time.process_time()

    def step(self, n_tokens: int, loss: float) -> None:
        self.n_tokens += n_tokens
        self.losses.append((self.n_tokens, loss))
        self._last = self.clock()
        if len(self.losses) == self.warmup:
            self._started = (self._last, self.n_tokens)

    def report(self) -> dict[str, Any]:
        assert self._started is not None
        seconds = self._last - self._started[0]
        is_gpu = self.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self.device) if is_gpu else _status("VmHWM") - self._before
        return {
            "tokens_per_s": (self.n_tokens - self._started[1]) / seconds,
            "n_tokens": self.n_tokens,
            "n_steps": len(self.losses),
            "seconds": seconds,
            "peak_bytes": peak,
            "losses": self.losses,
        }


def _status(key: str) -> int:
    """A size of this process in bytes, from Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def n_tokens_of(rows: Rows) -> int:
    return sum(len(sequence["tokens"]) for row in rows for sequence in row)


def lr_at(step: int, n_steps: int) -> float:
    warmup = max(1, round(n_steps * WARMUP_SHARE))
    if step < warmup:
        return LR * (step + 1) / warmup
    return LR * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, n_steps - warmup)))


def stepmark(kind: str, model: Path, rows: Rows, args: argparse.Namespace, device: torch.device) -> Meter:
    from trainer.batches import ReadSequence, TokenSetBuilder
    from trainer.compute import matrix_peak
    from trainer.loop import FitSettings, fit
    from trainer.models import build_net, load_tokenizer
    from trainer.render import label_token_ids

    tokenizer = load_tokenizer(str(model))
    label_ids = label_token_ids(tokenizer, "+", "-")
    net = build_net(str(model), kind, tokenizer, label_ids=label_ids).to(device)  # type: ignore[arg-type]
    net.find_form()
    builder = TokenSetBuilder(group=len(rows[0]))
    numbers: dict[str, int] = {}
    for row in rows:
        number = numbers.setdefault(row[0]["problem"], len(numbers))
        builder.add(number, *(ReadSequence(s["tokens"], s["positions"], s["targets"]) for s in row))
    settings = FitSettings(
        epochs=1,
        lr=LR,
        batch_tokens=round(args.batch_rows * n_tokens_of(rows) / len(rows)),
        centre=0.0,
        weight_decay=DECAY,
        log_every=1,
        checkpoint_every=10**9,
    )
    peak = matrix_peak(device)
    meter = Meter(device, args.warmup)
    with tempfile.TemporaryDirectory() as folder:
        import trainer.loop

        trainer.loop.SHOW_EVERY_S = 0.0
        log = Path(folder) / "log.jsonl"
        n_before = 0

        def progress(done: int, total: int | None, note: str = "") -> None:
            nonlocal n_before
            with log.open("rb") as lines:
                lines.seek(-min(log.stat().st_size, 1000), 2)
                last = json.loads(lines.read().splitlines()[-1])
            meter.step(done - n_before, last["loss"])
            n_before = done
            args.extra = {"mfu": last["mfu"], "useful_share": last["useful_share"]}
            if done == total:
                raise Over  # before the checkpoint, which the others do not write either

        data = builder.build()
        with suppress(Over):
            fit(net, data, None, settings, out=Path(folder), identity={}, peak_flops=peak, progress=progress)
    args.extra |= {"peak_flops": peak, "form": net.form}
    return meter


def padded(kind: str, model: Path, rows: Rows, args: argparse.Namespace, device: torch.device) -> Meter:
    """The loop that one writes first: full [B, T, V] logits for a PRM; pairs as one padded batch of both sides."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    plus, minus = (tokenizer(sign)["input_ids"][0] for sign in "+-")
    auto: Any = AutoModelForCausalLM if kind == "prm" else AutoModelForSequenceClassification
    more = {} if kind == "prm" else {"num_labels": 1}
    net = auto.from_pretrained(model, dtype=torch.float32, **more).to(device).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR, betas=BETAS, weight_decay=DECAY)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    steps = [order[i : i + args.batch_rows] for i in range(0, len(order), args.batch_rows)]
    meter = Meter(device, args.warmup)
    for step, members in enumerate(steps):
        sequences = [rows[i][side] for side in range(len(rows[0])) for i in members]
        ids, mask = _padded([s["tokens"] for s in sequences], tokenizer.pad_token_id, device)
        autocast = torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()
        with autocast:
            logits = net(input_ids=ids, attention_mask=mask).logits
            if kind == "prm":
                labels = torch.full(ids.shape, -100)
                for i, s in enumerate(sequences):
                    labels[i, s["positions"]] = torch.tensor([plus if t > 0.5 else minus for t in s["targets"]])
                loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten().to(device))
            else:
                chosen, rejected = logits[:, 0].chunk(2)
                loss = -torch.nn.functional.logsigmoid(chosen - rejected).mean()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step, len(steps))
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        meter.step(sum(len(s["tokens"]) for s in sequences), loss.item())
    return meter


def _padded(tokens: list[list[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, tokens))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in tokens], device=device)
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in tokens], device=device)


def trl(kind: str, model: Path, rows: Rows, args: argparse.Namespace, device: torch.device) -> Meter:
    """TRL's own trainer on the same tokens; it shuffles and pads by itself."""
    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
        TrainerCallback,
    )

    tokenizer = AutoTokenizer.from_pretrained(model)
    is_gpu = device.type == "cuda"
    settings: dict[str, Any] = dict(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=args.batch_rows,
        num_train_epochs=1,
        learning_rate=LR,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(len(rows) / args.batch_rows * WARMUP_SHARE)),
        weight_decay=DECAY,
        adam_beta2=BETAS[1],
        max_grad_norm=CLIP,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=not is_gpu,
        bf16=is_gpu,
        gradient_checkpointing=False,
        dataloader_num_workers=0,
        max_length=None,
        disable_tqdm=True,
        seed=0,
    )
    if kind == "prm":
        from trl.experimental.prm import PRMConfig, PRMTrainer

        data = []
        for (s,) in rows:
            labels = [-100] * len(s["tokens"])
            for position, target in zip(s["positions"], s["targets"], strict=True):
                labels[position] = int(target > 0.5)
            data.append({"input_ids": s["tokens"], "labels": labels})
        net = AutoModelForTokenClassification.from_pretrained(model, num_labels=2, dtype=torch.float32)
        make: Callable[..., Any] = PRMTrainer
        config: Any = PRMConfig(**settings)
    else:
        from trl import RewardConfig, RewardTrainer

        data = [{"chosen_ids": c["tokens"], "rejected_ids": r["tokens"]} for c, r in rows]
        net = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, dtype=torch.float32)
        make, config = RewardTrainer, RewardConfig(**settings)

    meters: list[Meter] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            meters.append(Meter(device, args.warmup))

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                meters[0].step(pending.pop(0), logs["loss"])

    pending: list[int] = []
    trainer = make(
        model=net, args=config, train_dataset=Dataset.from_list(data), processing_class=tokenizer, callbacks=[Watch()]
    )
    collate = trainer.data_collator

    def counting(examples: list[dict[str, Any]]) -> Any:
        keys = ("input_ids", "chosen_ids", "rejected_ids")
        pending.append(sum(len(example[key]) for example in examples for key in keys if key in example))
        return collate(examples)

    trainer.data_collator = counting
    trainer.train()
    return meters[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=["stepmark", "padded", "trl"])
    parser.add_argument("kind", choices=["prm", "bt"])
    parser.add_argument("model", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--batch-rows", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    args.extra = {}
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in args.rows.read_text().splitlines()]
    run = {"stepmark": stepmark, "padded": padded, "trl": trl}[args.name]
    meter = run(args.kind, args.model, rows, args, torch.device(args.device))
    args.out.write_text(json.dumps({**meter.report(), **args.extra}))


if __name__ == "__main__":
    main()
