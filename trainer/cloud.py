"""CLoud's second stage: the critiques of a set, written again by the model that will be trained on them.

A reward head that learns behind critiques of another model meets other texts when it is used; critiques of its own
(on-policy) were 5.6 points better on RewardBench (Ankner et al. 2024). What writes is passed in, as a function of
texts to continue; `continue_with` makes one of a folder.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from stepmark.errors import SettingsError

from .models import load_tokenizer
from .render import Renderer
from .rows import as_pair, raw_rows, read_rows, split_files

Continue = Callable[[Sequence[str]], list[list[str]]]
"""Texts to some continuations of each."""

_ROWS_AT_ONCE = 64


def write_critiques(data: Path, out: Path, *, tokenizer: Any, write: Continue) -> dict[str, dict[str, int]]:
    """Copies the `cloud` set of a folder into a new one, its critiques replaced by what `write` gives.

    A row without any critique that is not blank is left out and counted.

    Args:
        data: an exported set with `cloud`.
        out: a folder that is not there yet.
        tokenizer: of the model that writes; its chat template makes the turns.
        write: continues texts.

    Returns:
        For each split, rows read, kept, and dropped.

    Raises:
        SettingsError: `out` is there already.
    """
    if out.exists():
        raise SettingsError(f"--out {out} is there already; name a new folder.")
    renderer = Renderer(tokenizer, "cloud")
    counts: dict[str, dict[str, int]] = {}
    for split in ("train", "validation", "test"):
        if not split_files(data, "cloud", split):
            continue
        count = counts[split] = {"read": 0, "kept": 0, "dropped": 0}
        folder = out / "cloud"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{split}-00000-of-00001.jsonl").open("w", encoding="utf-8") as file:
            for raw in _written(data, split, renderer, write):
                count["read"] += 1
                kept = bool(raw["chosen_feedback"] and raw["rejected_feedback"])
                count["kept" if kept else "dropped"] += 1
                if kept:
                    file.write(json.dumps(raw, ensure_ascii=False) + "\n")
    return counts


def _written(data: Path, split: str, renderer: Renderer, write: Continue) -> Iterator[dict[str, Any]]:
    for _ in read_rows(data, "cloud", split):
        pass  # every row is checked before anything is asked of the model
    raws = (raw for path in split_files(data, "cloud", split) for raw in raw_rows(path))
    while window := list(islice(raws, _ROWS_AT_ONCE)):
        pairs = [as_pair(raw) for raw in window]
        openings = [
            renderer.critique_opening(pair.prompt, text) for pair in pairs for text in (pair.chosen, pair.rejected)
        ]
        critiques = [[text.strip() for text in found if text.strip()] for found in write(openings)]
        for number, raw in enumerate(window):
            chosen, rejected = critiques[2 * number : 2 * number + 2]
            yield {**raw, "chosen_feedback": chosen, "rejected_feedback": rejected}


def continue_with(
    model: Path, *, n: int = 1, temperature: float = 0.5, max_tokens: int = 256, seed: int = 0, device: str = "cpu"
) -> Continue:
    """Makes a function that continues texts with a causal LM in this process, each until its end token."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(str(model))
    tokenizer.padding_side = "left"
    lm: Any = AutoModelForCausalLM.from_pretrained(model)
    lm = lm.to(device).eval()
    torch.manual_seed(seed)

    @torch.no_grad()
    def write(texts: Sequence[str]) -> list[list[str]]:
        inputs = tokenizer(list(texts), add_special_tokens=False, padding=True, return_tensors="pt").to(device)
        made = lm.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=temperature > 0,
            temperature=temperature if temperature > 0 else None,
            num_return_sequences=n,
            max_new_tokens=max_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
        new = tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [new[i : i + n] for i in range(0, len(new), n)]

    return write
