"""Low-rank adapters on the body's linear layers (PEFT), with the head trained in full.

What is saved is the merged model, so that nothing that loads or serves it needs to know.
"""

from typing import Any

from stepmark.errors import SettingsError

from .models import RewardNet


def add_lora(net: RewardNet, rank: int) -> None:
    """Freezes the network but for adapters of a rank, scaled by two, and its own head.

    Raises:
        SettingsError: PEFT is not installed, or the head is part of the frozen LM.
    """
    if net.kind == "prm" and net.label_ids is not None:
        raise SettingsError("--lora-rank leaves the LM's rows as they are; train a PRM with it under --own-head.")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as err:
        raise SettingsError("--lora-rank needs PEFT: pip install 'stepmark[peft]'.") from err
    net.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    inject_adapter_in_model(config, net.model.base_model)
    for head in (getattr(net.model, "score", None), getattr(net, "head", None)):
        if head is not None:
            head.requires_grad_(True)


def merge_lora(net: RewardNet) -> None:
    """Adds the adapters to the weights and takes them away."""
    from peft.tuners.lora import LoraLayer

    body: Any = net.model.base_model
    for name, module in list(body.named_modules()):
        if isinstance(module, LoraLayer):
            layer: Any = module
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(body.get_submodule(parent), child, layer.get_base_layer())
