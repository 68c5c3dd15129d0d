"""The card of a reward model: what it judges, what it learnt from, how well, and how to load it."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exports.formats.card import MARK
from stepmark.errors import InputError

_KINDS = {
    "prm": ("process reward model", "how likely each step of a solution is right", "token-classification"),
    "orm": ("outcome reward model", "how likely the final answer of a solution is right", "text-classification"),
    "bt": ("Bradley-Terry reward model", "which of two solutions of a problem is better", "text-classification"),
}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_RESULTS = "best_of_n.json"


def model_card(folder: Path, model: Mapping[str, Any], *, repo_id: str, datasets: Sequence[str] = ()) -> str:
    """Writes the card of a folder that the trainer wrote.

    Args:
        folder: Of the model; results of `stepmark evaluate` that stand in it are told.
        model: What its `stepmark.json` says.
        repo_id: Where it is loaded from.
        datasets: Repositories of the set that it was trained on.
    """
    kind = str(model["kind"])
    title, meaning, task = _KINDS.get(kind, (f"{kind} reward model", "how good a solution is", "text-classification"))
    base = str(model.get("base_model") or "")
    is_of_hub = is_published(base)
    head = ["---", "library_name: transformers", f"pipeline_tag: {task}"]
    if is_of_hub:
        head.append(f"base_model: {json.dumps(base)}")
    if datasets:
        head += ["datasets:", *(f"- {json.dumps(name)}" for name in datasets)]
    head += ["tags:", "- reward-model", "- stepmark", f"- {title.replace(' ', '-').lower()}", "---"]
    named = base if is_of_hub else f"{Path(base).name} (a model of a folder)" if base else "not told"
    if model.get("base_sha256"):
        named += f", weights SHA-256 `{model['base_sha256']}`"
    body = [
        "",
        MARK,
        "",
        f"# {repo_id}",
        "",
        f"A {title}: it says {meaning}. Trained by stepmark {_version(model, 'stepmark')}.",
        "",
        f"- base model: {named}",
        f"- training set: the one whose `manifest.json` has the SHA-256 `{model.get('data_sha256', 'not told')}`"
        + "".join(f", pushed as `{name}`" for name in datasets),
        f"- parameters: {model.get('n_parameters', 'not told')}; rows up to {model.get('max_length', '?')} tokens",
        f"- weights laid out as: {model.get('layout', 'not told')}",
        "",
    ]
    body += [*_rows(model), *_flags(model), *_metrics(model), *_results(folder), *_loading(model, kind, repo_id)]
    return "\n".join([*head, *body])


def is_published(base: str) -> bool:
    """Whether a base model's name is one of the Hub, and no folder here.

    >>> is_published("owner/base"), is_published("/models/base"), is_published("base")
    (True, False, False)
    """
    return bool(_HUB_NAME.fullmatch(base)) and not Path(base).exists()


def _version(model: Mapping[str, Any], name: str) -> str:
    return str(model.get("versions", {}).get(name, "(version not told)"))


def _rows(model: Mapping[str, Any]) -> list[str]:
    rows = model.get("rows") or {}
    if not rows:
        return []
    lines = ["| split | read | kept | dropped |", "|---|---|---|---|"]
    for split, counts in rows.items():
        dropped = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items()) or "none"
        lines.append(f"| {split} | {counts['read']} | {counts['kept']} | {dropped} |")
    return [*lines, ""]


def _flags(model: Mapping[str, Any]) -> list[str]:
    flags = model.get("flags") or {}
    return ["Flags: " + ", ".join(f"`{key}={value}`" for key, value in flags.items()), ""] if flags else []


def _metrics(model: Mapping[str, Any]) -> list[str]:
    metrics = {name: value for name, value in (model.get("metrics") or {}).items() if isinstance(value, int | float)}
    if not metrics:
        return []
    lines = ["On the validation split, after the last epoch:", "", "| measure | value |", "|---|---|"]
    return [*lines, *(f"| {name} | {value:.4g} |" for name, value in metrics.items()), ""]


def _results(folder: Path) -> list[str]:
    """Best-of-N results that stand in the folder."""
    lines = []
    for path in sorted(folder.rglob(_RESULTS)):
        name = path.relative_to(folder).as_posix()
        try:
            table = json.loads(path.read_text(encoding="utf-8"))["best_of_n"]
            methods = list(next(iter(table.values())))
            rows = [[f"{cells[method]['mean']:.3f}" for method in methods] for cells in table.values()]
        except (OSError, ValueError, KeyError, TypeError, StopIteration, AttributeError) as err:
            raise InputError(f"{path} holds no Best-of-N results ({err!r}); remove it, or evaluate again") from err
        lines += [f"Share of problems solved by choosing among N solutions (`{name}`):", ""]
        lines += ["| N | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
        lines += [f"| {n} | " + " | ".join(cells) + " |" for n, cells in zip(table, rows, strict=True)]
        lines.append("")
    return lines


def _loading(model: Mapping[str, Any], kind: str, repo_id: str) -> list[str]:
    lines = ["## How to load", "", "With stepmark, scores go into its database:", "", "```console"]
    lines += [f"$ stepmark hub pull {repo_id} models/{kind} --type model", f"$ stepmark score --model models/{kind}"]
    return [*lines, "```", "", "With Transformers alone:", "", "```python", *_code(model, kind, repo_id), "```", ""]


def _code(model: Mapping[str, Any], kind: str, repo_id: str) -> list[str]:
    layout = model.get("layout")
    auto = {
        "causal-lm": "AutoModelForCausalLM",
        "token-classification": "AutoModelForTokenClassification",
    }.get(str(layout), "AutoModelForSequenceClassification")
    lines = ["import torch", f"from transformers import {auto}, AutoTokenizer", ""]
    lines += [f'tokenizer = AutoTokenizer.from_pretrained("{repo_id}")']
    lines += [f'model = {auto}.from_pretrained("{repo_id}").eval()', ""]
    lines += ['problem = "Mia has 9 nuts and eats 5. How many are left?"']
    lines += ['messages = [{"role": "user", "content": problem}]']
    lines += ["if tokenizer.chat_template:"]
    lines += ["    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)"]
    lines += ["else:", '    prompt = problem + "\\n"']
    if kind == "prm":
        step = json.dumps(model.get("step_token"))
        lines += ['steps = ["Step 1: 9 - 5 = 4", "# Answer\\n\\n4"]', f"step_token = {step}"]
        lines += ['text = prompt + "\\n\\n".join(step + step_token for step in steps)']
        lines += ['ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]']
        lines += ["with torch.no_grad():", "    logits = model(input_ids=ids).logits[0]"]
        lines += ["at = ids[0] == tokenizer.convert_tokens_to_ids(step_token)"]
        if layout == "token-classification":
            lines += ["right = torch.sigmoid(logits[at, 0] - logits[at, 1])  # one for each step"]
        else:
            tokens = f"[{json.dumps(model.get('positive'))}, {json.dumps(model.get('negative'))}]"
            lines += [f"plus, minus = tokenizer.convert_tokens_to_ids({tokens})"]
            lines += ["right = torch.sigmoid(logits[at, plus] - logits[at, minus])  # one for each step"]
        return lines
    lines += [
        f'text = prompt + "Step 1: 9 - 5 = 4\\n\\n# Answer\\n\\n4" + {json.dumps(model.get("end_token") or "")}'
    ]
    lines += ['ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]']
    lines += ["with torch.no_grad():", "    logit = model(input_ids=ids).logits[0, 0]"]
    if kind == "bt":
        return [*lines, "reward = float(logit)  # compares solutions of one problem only"]
    return [*lines, "right = float(torch.sigmoid(logit))"]
