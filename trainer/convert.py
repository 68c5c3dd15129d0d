"""A saved PRM as a token classifier: two rows of the LM head become the classifier's, nothing is trained.

vLLM's pooling serves a token classifier (pooling type STEP) and gives exactly the scores of the causal LM: P(right)
is the softmax of two logits, and these are the products of the same hidden states with the same two rows.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from stepmark.errors import InputError, SettingsError

from .calibration import CALIBRATION
from .models import load_net, load_tokenizer, save_net
from .render import label_token_ids, single_token_id
from .train import MANIFEST, write_manifest


def as_token_classifier(model: Path, out: Path) -> dict[str, Any]:
    """Writes a saved PRM as a token classifier whose two labels are right and wrong; a calibration goes with it.

    Args:
        model: Folder of a PRM that `stepmark train` wrote as a causal LM.
        out: A folder that is not there yet; its `stepmark.json` is written last.

    Returns:
        What stands in the new `stepmark.json`, with the step token's id as `step_tag_id`.

    Raises:
        InputError: The folder holds no finished reward model.
        SettingsError: It is no PRM, or has this layout already; `out` is there.
    """
    try:
        manifest: dict[str, Any] = json.loads((model / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as err:
        raise InputError(f"{model} has no {MANIFEST}: it is no finished reward model of `stepmark train`.") from err
    if manifest["kind"] != "prm":
        raise SettingsError(
            f"{model} is a {manifest['kind']}; only a PRM reads two rows of the LM head at each step token."
        )
    if manifest["layout"] == "token-classification":
        raise SettingsError(f"{model} is a token classifier already; serve it as it is.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"--out {out} is there already; name a new folder.")
    tokenizer = load_tokenizer(str(model))
    label_ids = label_token_ids(tokenizer, manifest["positive"], manifest["negative"])
    net = load_net(model, "prm", manifest["layout"], label_ids=label_ids)
    out.mkdir(parents=True, exist_ok=True)
    save_net(net, out, layout="token-classification")
    tokenizer.save_pretrained(out)
    if (model / CALIBRATION).exists():
        shutil.copyfile(model / CALIBRATION, out / CALIBRATION)
    converted = {
        **manifest,
        "layout": "token-classification",
        "converted_from": str(model),
        "step_tag_id": single_token_id(tokenizer, manifest["step_token"], "step token"),
    }
    write_manifest(out, converted)
    return converted
