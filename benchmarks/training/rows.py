"""Real text as rows to train on, and a model of random weights, for the benchmarks of training and scoring.

Step labels: ProcessBench (steps up to the first error; one solution a problem) and PRMBench (a right solution and
what was made wrong of it: several solutions a problem, as in the sets that process reward models are trained on).
Pairs: HH-RLHF helpful-base. All are tokenised once, by our own renderer, so that every contender gets the same
tokens, labels and places. Weights are random: speed and memory depend on shapes, not on what a model knows.
"""

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    # about 3 M parameters in the body: what a CPU trains in a minute
    "small": dict(hidden_size=192, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=2,
                  intermediate_size=512, vocab_size=8192),
    "0.5B": dict(hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
                 intermediate_size=4864, vocab_size=151_936),
    "1.7B": dict(hidden_size=2048, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8,
                 intermediate_size=6144, vocab_size=151_936),
}  # fmt: skip
"""Qwen2 layouts: the two large ones have the shapes of Qwen2.5-0.5B and Qwen3-1.7B."""

STEP_TOKEN = "<|prm_label|>"
SPECIAL_TOKENS = ("<|pad|>", "<|end|>", STEP_TOKEN)


def read(path: Path) -> list[dict[str, Any]]:
    """Reads a JSON or JSON-lines file of the data folder, gzipped or not."""
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    return [json.loads(line) for line in text.split("\n") if line] if ".jsonl" in path.name else json.loads(text)


def step_rows(data: Path, seed: int = 0) -> list[dict[str, Any]]:
    """ProcessBench as stepwise rows, all four parts mixed."""
    rows = []
    for path in sorted((data / "processbench").glob("*.json*")):
        for raw in read(path):
            first_error = raw["label"]
            n = len(raw["steps"]) if first_error < 0 else first_error + 1
            labels = [i != first_error for i in range(n)]
            rows.append({"prompt": raw["problem"], "completions": raw["steps"][:n], "labels": labels})
    random.Random(seed).shuffle(rows)
    return rows


def many_step_rows(data: Path, seed: int = 0) -> list[dict[str, Any]]:
    """PRMBench as stepwise rows, problems in random order, those of a problem together."""
    problems: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {}
    for path in sorted((data / "prmbench").glob("*.jsonl*")):
        for raw in read(path):
            for of, errors in (("original", []), ("modified", raw["error_steps"])):
                steps, problem = raw[f"{of}_process"], raw[f"{of}_question"]
                labels = [number not in errors for number in range(1, len(steps) + 1)]
                row = {"prompt": problem, "completions": steps, "labels": labels}
                problems.setdefault(problem, {}).setdefault(tuple(steps), row)
    order = [list(rows.values()) for rows in problems.values()]
    random.Random(seed).shuffle(order)
    return [row for rows in order for row in rows]


def pair_rows(data: Path, seed: int = 0) -> list[dict[str, Any]]:
    """HH-RLHF as preference rows: the conversation so far is the prompt."""
    rows = []
    for path in sorted((data / "hh_rlhf_helpful").glob("*.jsonl*")):
        for raw in read(path):
            head, _, chosen = raw["chosen"].rpartition("\n\nAssistant:")
            other, _, rejected = raw["rejected"].rpartition("\n\nAssistant:")
            if head == other and chosen.strip() != rejected.strip():
                rows.append({"prompt": head, "chosen": chosen, "rejected": rejected})
    random.Random(seed).shuffle(rows)
    return rows


def texts_of(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        for value in row.values():
            if isinstance(value, str):
                yield value
            elif value and isinstance(value[0], str):
                yield from value


def write_model(folder: Path, size: str, texts: Iterator[str]) -> None:
    """Writes random weights of a size, and a byte-level BPE of 8,192 tokens learnt from the text."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True) for token in SPECIAL_TOKENS]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=8192, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|pad|>")
    torch.manual_seed(0)
    config = Qwen2Config(
        **SIZES[size],
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tokenise(rows: list[dict[str, Any]], kind: str, model: Path, *, most: int, n: int) -> list[list[dict[str, Any]]]:
    """Returns the first `n` rows of at most `most` tokens: each a sequence, or a chosen and a rejected one."""
    from trainer.models import load_tokenizer
    from trainer.render import Renderer
    from trainer.rows import PairRow, PrmRow, Row, as_prompt

    renderer = Renderer(load_tokenizer(str(model)), "prm" if kind == "prm" else "bt", step_token=STEP_TOKEN)
    found: list[list[dict[str, Any]]] = []
    for raw in rows:
        prompt = as_prompt(raw["prompt"])
        row: Row = (
            PrmRow(prompt, tuple(raw["completions"]), tuple(map(float, raw["labels"])))
            if kind == "prm"
            else PairRow(prompt, raw["chosen"], raw["rejected"], 0.0)
        )
        sequences = renderer.sequences([row])[0]
        if max(len(sequence.tokens) for sequence in sequences) <= most:
            found.append(
                [
                    {
                        "problem": raw["prompt"],
                        "tokens": list(s.tokens),
                        "positions": list(s.positions),
                        "targets": list(s.targets),
                    }
                    for s in sequences
                ]
            )
        if len(found) == n:
            return found
    return found
