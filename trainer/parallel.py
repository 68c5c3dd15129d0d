"""One run on several processes, each with a share of the micro-batches, and of the weights too under `sharding.py`.

A step's micro-batches are dealt out, gradients are summed, and every process takes the same step, so that the
trajectory is that of one process with the same flags. `torchrun` and `accelerate launch` start the processes and
say who is who; without them there is one process and nothing here does anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

from stepmark.errors import SettingsError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run, seen from one of them."""

    rank: int = 0
    n: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return self.rank == 0

    def wait(self) -> None:
        """Waits until every process has come here."""
        if self.n > 1:
            dist.barrier()

    def sum(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replaces each tensor by its sum over the processes, which must come with the same ones."""
        if self.n > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def agree(self, value: _T) -> _T:
        """Returns the value of the first process, so that all decide alike on what each has measured."""
        if self.n == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def check(self, accumulate: int) -> None:
        """Refuses a number of micro-batches that cannot be dealt out evenly.

        Raises:
            SettingsError: some processes would have less to do than others in every step.
        """
        if accumulate % self.n:
            raise SettingsError(
                f"--accumulate {accumulate} micro-batches cannot be dealt out to {self.n} processes; "
                f"give a multiple of {self.n}."
            )


ALONE = Processes()


def is_first() -> bool:
    """Tells whether this is the process of its run that prints: the only one, or the first that joined."""
    return not dist.is_initialized() or dist.get_rank() == 0


def join(device: torch.device) -> tuple[Processes, torch.device]:
    """Joins the processes of this run; returns them and the device of this one (a GPU each, where there are GPUs)."""
    if not dist.is_torchelastic_launched():
        return ALONE, device
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    processes = Processes(dist.get_rank(), dist.get_world_size())
    if device.type == "cuda":
        device = torch.device("cuda", dist.get_node_local_rank())
        torch.cuda.set_device(device)
    return processes, device
