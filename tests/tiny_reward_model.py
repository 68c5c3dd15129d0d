"""A base model small enough for tests: a byte-level tokenizer with the project's special tokens, random weights.

And exported sets to train on, in which 99 is always wrong.
"""

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

SPECIAL_TOKENS = ("<|pad|>", "<|bos|>", "<|user|>", "<|assistant|>", "<|end|>", "<|prm_label|>")

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}<|assistant|>{{ m['content'] }}<|end|>"
    "{% else %}<|{{ m['role'] }}|>{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_tokenizer(*, chat_template: str | None = CHAT_TEMPLATE) -> Any:
    """A byte-level BPE in which `+`, `-` and every special token are single tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    corpus = ["Step 1: 9 + 7 = 16\n\nStep 2: 16 - 2 = 14\n\n# Answer\n\n14"] * 3
    backend.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|bos|>", eos_token="<|end|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = chat_template
    return tokenizer


LAYOUTS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
}


def save_tiny_lm(
    folder: Path,
    *,
    tied: bool = True,
    seed: int = 0,
    heads: int = 4,
    head_dim: int = 12,
    n_positions: int = 128,
    layout: str = "llama",
) -> str:
    """Writes a random model of about 60,000 parameters and its tokenizer; returns the folder as a name.

    vLLM's CPU kernels want heads of 32 numbers or more.
    """
    tokenizer = tiny_tokenizer()
    torch.manual_seed(seed)
    make_config, make_model = LAYOUTS[layout]
    model = make_model(
        make_config(
            vocab_size=len(tokenizer),
            hidden_size=heads * head_dim,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=heads,
            num_key_value_heads=heads if layout == "llama" else heads // 2,
            head_dim=head_dim,
            max_position_embeddings=n_positions,
            tie_word_embeddings=tied,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write_split(data: Path, config: str, rows: list[dict[str, Any]], *, split: str = "train") -> None:
    """Writes rows as the one JSONL shard of a split."""
    folder = data / config
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{split}-00000-of-00001.jsonl").write_text(text, encoding="utf-8")


def write_sums(data: Path, *, n: int, n_validation: int = 0, seed: int = 0) -> Path:
    """Writes PRM, ORM and preference sets about sums, where wrong results are 99: easy to tell."""
    rng = random.Random(seed)
    drawn: set[str] = set()
    for split, n_problems in (("train", n), ("validation", n_validation)):
        rows: dict[str, list[dict[str, Any]]] = {"prm": [], "orm": [], "preference": []}
        for _ in range(n_problems):
            prompt, right, wrong = _sum_problem(rng)
            while prompt in drawn:
                prompt, right, wrong = _sum_problem(rng)
            drawn.add(prompt)
            for segments, labels in ((right, [True] * len(right)), (wrong, [True, False])):
                rows["prm"].append({"prompt": prompt, "completions": segments[: len(labels)], "labels": labels})
                rows["orm"].append({"prompt": prompt, "completion": "\n\n".join(segments), "label": all(labels)})
            pair = {"prompt": prompt, "chosen": "\n\n".join(right), "rejected": "\n\n".join(wrong)}
            rows["preference"].append(pair)
        if n_problems:
            for config, found in rows.items():
                write_split(data, config, found, split=split)
    return data


def _sum_problem(rng: random.Random) -> tuple[str, list[str], list[str]]:
    a, b, c = rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 9)
    first = f"Step 1: {a} + {b} = {a + b}"
    solutions = [[first, f"Step 2: {a + b} + {c} = {total}", f"# Answer\n\n{total}"] for total in (a + b + c, 99)]
    return f"{a} + {b} + {c}?", solutions[0], solutions[1]
