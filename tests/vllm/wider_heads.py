"""The embedded model with wider heads: the same function of its tokens, in a layout that vLLM's CPU kernels have.

They know heads of 32, 64, ... numbers; the embedded model's have 24. Each head is filled up with zeros, which add
nothing to a dot product. Two things depend on the width, and are set right:

- rotary embedding turns the pairs (i, i + width / 2) by base ** (-2 i / width): the filling goes behind either half,
  and the base is raised to the power 32 / 24, so that pair i turns as fast as before;
- attention divides by sqrt(width): the queries are scaled up by sqrt(32 / 24).
"""

import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WIDE = 32


def widen_heads(source: Path, target: Path) -> None:
    """Writes the model in the folder `source` to the new folder `target`, with heads of `WIDE` numbers."""
    shutil.copytree(source, target)
    config = json.loads((source / "config.json").read_text())
    narrow: int = config["head_dim"]
    heads: int = config["num_attention_heads"]
    weights = load_file(source / "model.safetensors")
    for name, weight in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            halves = weight.reshape(heads, 2, narrow // 2, -1)
            wide = torch.nn.functional.pad(halves, (0, 0, 0, (WIDE - narrow) // 2)).reshape(heads * WIDE, -1)
            weights[name] = wide * math.sqrt(WIDE / narrow) if "q_proj" in name else wide.contiguous()
        elif name.endswith("o_proj.weight"):
            halves = weight.reshape(-1, heads, 2, narrow // 2)
            weights[name] = torch.nn.functional.pad(halves, (0, (WIDE - narrow) // 2)).reshape(-1, heads * WIDE)
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    config["head_dim"] = WIDE
    config["rope_parameters"]["rope_theta"] **= WIDE / narrow
    (target / "config.json").write_text(json.dumps(config, indent=2))
