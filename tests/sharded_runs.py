"""What `torchrun` starts in the tests of sharding: several runs one after the other, as a plan in JSON says.

`python -m torch.distributed.run ... -m tests.sharded_runs PLAN`. Each entry is a run of the trainer, one with
`interrupt` gets a Ctrl-C at its first step, or one optimizer step whose memory is counted. What came of them is
written beside the plan by the first process.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stepmark.errors import StepmarkError
from trainer.loop import accumulate_gradients
from trainer.models import build_net, load_tokenizer
from trainer.optimizers import make_optimizer
from trainer.parallel import join
from trainer.render import Renderer, encode_rows
from trainer.rows import read_rows
from trainer.sharding import shard, whole
from trainer.train import TrainSettings, train_reward_model


class Interrupt:
    """Presses Ctrl-C when progress is shown first; a second one would end the process."""

    def __init__(self) -> None:
        self._is_pressed = False

    def __call__(self, done: int, total: int | None, note: str = "") -> None:
        """Is shown progress."""
        if not self._is_pressed:
            self._is_pressed = True
            os.kill(os.getpid(), signal.SIGINT)


def train(call: dict[str, Any], **more: Any) -> None:
    """Makes a run in this process."""
    train_reward_model(
        call["kind"],
        data=Path(call["data"]),
        model=call["model"],
        out=Path(call["out"]),
        settings=TrainSettings(**call["settings"]),
        **more,
    )


def _train(call: dict[str, Any]) -> dict[str, Any]:
    said: list[str] = []
    more: dict[str, Any] = {"progress": Interrupt()} if call.get("interrupt") else {}
    try:
        train(call, resume=call.get("resume", False), on_message=said.append, **more)
    except StepmarkError as err:
        return {"said": said, "error": str(err)}
    return {"said": said, "error": None}


def count_step(call: dict[str, Any], *, is_sharded: bool) -> dict[str, Any]:
    """Takes a step of an ORM on four rows, in bf16 as on a GPU; returns the bytes held here, loss and norm."""
    tokenizer = load_tokenizer(call["model"])
    rows, _ = encode_rows(read_rows(Path(call["data"]), "orm", "train"), Renderer(tokenizer, "orm"), max_length=128)
    torch.manual_seed(0)
    net = build_net(call["model"], "orm", tokenizer, label_ids=None)
    torch.nn.init.normal_(net.model.score.weight, std=0.1)
    if is_sharded:
        shard(net, precision=torch.bfloat16)
    optimizer = make_optimizer("adamw", [{"params": list(net.parameters())}], lr=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        batch = net.collate(rows, np.arange(4))
        loss = accumulate_gradients(net, [batch])
    gradients = [parameter.grad for parameter in net.parameters()]
    norm = whole(torch.nn.utils.clip_grad_norm_(net.parameters(), 1e9)).item()
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values() if value.dim()]

    def held(tensors: Any) -> int:
        local = [getattr(tensor, "to_local", lambda tensor=tensor: tensor)() for tensor in tensors]
        return sum(tensor.numel() * tensor.element_size() for tensor in local)

    held_bytes = {"weights": held(net.parameters()), "gradients": held(gradients), "state": held(states)}
    return {"bytes": held_bytes, "loss": loss.item(), "norm": norm}


def main(plan: Path) -> None:
    """Makes the runs of a plan and writes what came of them."""
    join(torch.device("cpu"))
    calls = json.loads(plan.read_text(encoding="utf-8"))
    found = [count_step(call, is_sharded=True) if call["what"] == "step" else _train(call) for call in calls]
    if os.environ["RANK"] == "0":
        plan.with_suffix(".found").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
