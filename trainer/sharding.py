"""A network whose weights, gradients and optimizer state are dealt out to the processes of a run (torch FSDP2).

A layer's weights are gathered when it computes, forward and backward, and let go of afterwards; its gradients are
averaged over the processes as they come. What leaves a run, checkpoints and models, is gathered into whole tensors,
so that no file tells how many processes wrote it.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stepmark.errors import SettingsError

from .models import RewardNet
from .optimizers import OptimizerName
from .parallel import Processes

Sharding = Literal["none", "full"]
"""`none`: each process holds everything; `full`: a share of weights, gradients and optimizer state."""


def check_sharding(sharding: Sharding, processes: Processes, *, optimizer: OptimizerName, is_compiled: bool) -> None:
    """Refuses what cannot be sharded, before anything is loaded.

    Raises:
        SettingsError: there is one process, an optimizer that takes whole tensors only, or a compiled network.
    """
    if sharding == "none":
        return
    if processes.n < 2:
        raise SettingsError(
            "--sharding full deals a model out to several processes, but this is the only one; "
            "start them with torchrun --nproc-per-node N -m stepmark train ..."
        )
    if optimizer != "adamw":
        raise SettingsError(
            f"--optimizer {optimizer} does not work with --sharding full: it takes whole tensors only; "
            "use --optimizer adamw, whose state is dealt out."
        )
    if is_compiled:
        raise SettingsError("--compile is not supported with --sharding full; leave one of them out.")


def shard(net: RewardNet, *, precision: torch.dtype | None = None) -> None:
    """Deals out the network to all processes: each layer on its own, then the rest.

    An embedding that no head shares, and a head that is not read, are units of their own, so that they are in memory
    only while they are looked at.

    Args:
        net: whole, on the device of this process, the same on all.
        precision: what layers are gathered and computed in, beside the autocast of the same; None: as they are. The
            shares stay in float32, and gradients are summed in it. Embeddings and heads are gathered as they are.

    Raises:
        SettingsError: the architecture names no layers, or takes padded rows only.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    model = net.model
    name = type(model).__name__
    if net.form == "padded":
        raise SettingsError(
            f"{name} takes padded rows, in a number of passes that differs from process to process; "
            "train it without --sharding."
        )
    kinds = set(model._no_split_modules or ())
    layers = [module for module in model.base_model.modules() if type(module).__name__ in kinds]
    if not layers:
        raise SettingsError(f"{name} does not say what its layers are; train it without --sharding.")
    mesh = init_device_mesh(model.device.type, (torch.distributed.get_world_size(),))
    reduced = None if precision is None else torch.float32
    policy = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=reduced, cast_forward_inputs=False)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not isinstance(head, nn.Module) or head.weight is not embedding.weight:
        fully_shard(embedding, mesh=mesh)
    if net.rows is not None:
        fully_shard(head, mesh=mesh)
    # The rest is let go of too, so that between two steps the network's parameters are the shares.
    fully_shard(net, mesh=mesh, reshard_after_forward=True)
    net.is_sharded = True


def n_held(net: RewardNet) -> int:
    """Counts the numbers of a sharded network's parameters that this process holds (tied ones once)."""
    shares: list[Any] = list(net.parameters())
    return sum(share.to_local().numel() for share in shares)


def whole(value: Tensor) -> Tensor:
    """Gathers a tensor from the processes, each of which must ask; one that is not dealt out is returned as it is."""
    gather = getattr(value, "full_tensor", None)  # what a DTensor has; its module is slow to import
    return value if gather is None else gather()


def whole_weights(net: RewardNet, *, keep: bool) -> dict[str, Tensor]:
    """Returns the state dict of a network, gathered to the CPU where it is dealt out.

    Every process must ask for it; those that do not `keep` it get an empty one.
    """
    if not net.is_sharded:
        return net.state_dict() if keep else {}
    gathered: dict[int, Tensor] = {}
    found: dict[str, Tensor] = {}
    for name, value in net.state_dict(keep_vars=True).items():
        if id(value) not in gathered:  # tied weights are gathered once, and stay one tensor
            one = whole(value.detach())
            gathered[id(value)] = one.cpu() if keep else torch.empty(0)
        found[name] = gathered[id(value)]
    return found if keep else {}


def load_whole_weights(net: RewardNet, weights: Mapping[str, Tensor]) -> None:
    """Loads a state dict of whole tensors; every process must come with the same one."""
    if net.is_sharded:
        own = net.state_dict()
        weights = {name: _share(value, own[name]) if name in own else value for name, value in weights.items()}
    net.load_state_dict(weights)


def whole_state(net: RewardNet, optimizer: torch.optim.Optimizer, *, keep: bool) -> dict[str, Any]:
    """Returns the state dict of a network's optimizer, as `whole_weights` does that of the network."""
    if not net.is_sharded:
        return optimizer.state_dict() if keep else {}
    state = optimizer.state_dict()

    def gathered(value: Any) -> Any:
        one = whole(value)
        return one if one is value else one.cpu() if keep else None

    found = {key: {name: gathered(value) for name, value in values.items()} for key, values in state["state"].items()}
    return {**state, "state": found} if keep else {}


def load_whole_state(net: RewardNet, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads a state dict of whole tensors; every process must come with the same one."""
    if net.is_sharded:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, values in state["state"].items():
            for name, value in values.items():
                if torch.is_tensor(value) and value.shape == parameters[number].shape:
                    values[name] = _share(value, parameters[number])
    optimizer.load_state_dict(state)


def _share(value: Tensor, like: Any) -> Tensor:
    """Returns this process's share of a whole tensor, dealt out as another is."""
    if not hasattr(like, "device_mesh"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.detach().to(like.device), like.device_mesh, like.placements)
