"""The dataset card: `README.md` with the YAML that the Hub shows and by which `datasets.load_dataset(folder, config)`
finds the files.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .columns import CONFIGS, feature_yaml, margin_of
from .layouts import LAYOUTS, LayoutOptions
from .manifest import ConfigEntry, Manifest
from .statistics import EXAMPLE_ITEMS, EXAMPLE_TEXT

MARK = "<!-- written by stepmark -->"
"""Stands in every card of ours: a README without it is somebody else's and is not overwritten."""

_TITLES = {
    "prm": "Process reward model: each step right or wrong",
    "orm": "Outcome reward model: each solution right or wrong",
    "preference": "Preference: the better and the worse of two solutions",
    "best_of_n": "Best of N: solutions of one problem, each right or wrong",
    "sft": "Supervised fine-tuning: solutions with the right answer",
    "critique": "Critiques of solutions, each ending in its verdict",
    "critique_preference": "Preference between critiques: one with the right verdict over one with a wrong verdict",
    "cloud": "Pairs of solutions with critiques of both, for reward models that write before they score",
    "rl": "Tasks with a verifier: solve a problem, judge a solution",
}
_TASKS = {
    "prm": ("token-classification", "text-classification"),
    "critique": ("text-generation",),
    "critique_preference": ("text-generation",),
    "sft": ("text-generation",),
    "rl": ("reinforcement-learning",),
}
"""The Hub's task of each config; text-classification for those that do not stand here."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_HUB_LICENCES = frozenset({
    "afl-3.0", "apache-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
    "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
    "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "gemma", "gfdl", "gpl", "gpl-2.0",
    "gpl-3.0", "isc", "lgpl", "lgpl-3.0", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "mit", "mpl-2.0",
    "ms-pl", "odbl", "odc-by", "openrail", "other", "pddl", "unknown", "unlicense",
})  # fmt: skip
"""Words that the Hub takes for a licence; any other is `other` there, and stands by its name in the text."""
_HUB_SOURCES = {
    "gsm8k": "openai/gsm8k",
    "processbench": "Qwen/ProcessBench",
    "math-shepherd": "peiyi9979/Math-Shepherd",
    "gsm-plus": "qintongli/GSM-Plus",
    "hh-rlhf": "Anthropic/hh-rlhf",
}
"""Names on the Hub of sources that are published there."""
_DEFAULTS: Mapping[str, Any] = {"language": ["en"], "pretty_name": "Training sets for reward models"}


def card(manifest: Manifest, *, kept: Mapping[str, Any] | None = None) -> str:
    """Writes the card of a folder.

    Args:
        manifest: What the folder holds.
        kept: `language` and `pretty_name` of an earlier card, which no export knows better.
    """
    configs = sorted(manifest.configs.items())
    known = {**_DEFAULTS, **(kept or {})}
    head = [
        "---",
        *_listed("license", hub_licences(manifest)),
        *_listed("language", known["language"]),
        f"pretty_name: {_scalar(known['pretty_name'])}",
        *_listed("task_categories", sorted({task for name, _ in configs for task in _tasks(name)})),
        *_listed("tags", ["reward-model", "reasoning", "stepmark", *(name.replace("_", "-") for name, _ in configs)]),
        *_listed("size_categories", [size_category(sum(entry.n_rows for _, entry in configs))]),
        *_listed("source_datasets", source_datasets(manifest)),
        "configs:",
        *(line for name, entry in configs for line in _config_yaml(name, entry)),
        "dataset_info:",
        *(line for name, entry in configs for line in _info_yaml(name, entry)),
        "---",
    ]
    body = ["", MARK, "", f"# {known['pretty_name']}", ""]
    body += [
        f"Exported by stepmark {manifest.stepmark_version}; `manifest.json` holds the full query and the SHA-256 of "
        "each file.",
        "",
    ]
    body += _overview(configs)
    for name, entry in configs:
        body += _section(name, entry)
    body += _loading([name for name, _ in configs])
    return "\n".join([*head, *body])


def addressed(text: str, repo_id: str) -> str:
    """A card of ours with the name of its repository where it says how to load the set.

    >>> addressed('prm = load_dataset("OWNER/NAME", "prm")', "owner/steps")
    'prm = load_dataset("owner/steps", "prm")'
    """
    for pattern in (
        r'(load_dataset\(")[^"\n]+(", ")',
        r"(stepmark hub pull )\S+( FOLDER)",
        r"(\n`)\S+(` is this rep)",
    ):
        text = re.sub(pattern, lambda match: match[1] + repo_id + match[2], text)
    return text


def kept_values(readme: Path) -> dict[str, Any]:
    """The `language` and `pretty_name` of a card that is there, to be kept when it is written anew."""
    import yaml

    try:
        _, head, _ = readme.read_text(encoding="utf-8").split("---\n", 2)
        found = yaml.safe_load(head)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not isinstance(found, dict):
        return {}
    languages = found.get("language")
    languages = [languages] if isinstance(languages, str) else languages
    kept: dict[str, Any] = {}
    if isinstance(languages, list) and languages and all(isinstance(one, str) for one in languages):
        kept["language"] = languages
    if isinstance(found.get("pretty_name"), str):
        kept["pretty_name"] = found["pretty_name"]
    return kept


def hub_licences(manifest: Manifest) -> list[str]:
    """The licences in the Hub's words; `other` for one that it has no word for.

    >>> from exports.formats.manifest import ConfigEntry
    >>> entry = ConfigEntry("trl", "jsonl", {}, {}, {}, {"MIT AND Apache-2.0": 1, "my own": 2}, {})
    >>> hub_licences(Manifest("0.1.0", {"orm": entry}))
    ['apache-2.0', 'mit', 'other']
    """
    names = {
        part.lower() for entry in manifest.configs.values() for one in entry.licences for part in one.split(" AND ")
    }
    return sorted({name if name in _HUB_LICENCES else "other" for name in names}) or ["unknown"]


def source_datasets(manifest: Manifest) -> list[str]:
    """Where the texts come from, in the Hub's words: `original`, a dataset's name there, or `extended|other-NAME`."""
    found = set()
    for entry in manifest.configs.values():
        for source in entry.sources:
            family = source.partition("/")[0]
            if family == "run":
                found.add("original")
            else:
                found.add(_HUB_SOURCES.get(family) or f"extended|other-{family}")
    return sorted(found) or ["original"]


def size_category(n_rows: int) -> str:
    """The hub's word for a number of rows.

    >>> size_category(999), size_category(1_000), size_category(5_000_000)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    return next((name for limit, name in _SIZES if n_rows < limit), "1M<n<10M" if n_rows < 10**7 else "n>10M")


def bars(counts: Mapping[str, int], *, width: int = 40) -> list[str]:
    """A histogram as lines of text; a count above zero has at least one mark.

    >>> bars({"64": 1, "128": 80}, width=8)
    ['64       1 #', '128     80 ########']
    """
    most = max(counts.values(), default=0)
    name_width = max((len(name) for name in counts), default=0)
    return [
        f"{name:<{name_width}} {n:>{len(f'{most:,}') + 4},} {'#' * (max(1, width * n // most) if n else 0)}".rstrip()
        for name, n in counts.items()
    ]


def _tasks(name: str) -> tuple[str, ...]:
    return _TASKS.get(name, ("text-classification",))


def _listed(key: str, values: list[str]) -> list[str]:
    return [f"{key}:", *(f"- {_scalar(value)}" for value in values)]


def _scalar(text: str) -> str:
    """A YAML scalar; a JSON string is one."""
    return json.dumps(text, ensure_ascii=False)


def _config_yaml(name: str, entry: ConfigEntry) -> list[str]:
    lines = [f"- config_name: {name}", "  data_files:"]
    for split in entry.splits:
        lines += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    return lines


def _info_yaml(name: str, entry: ConfigEntry) -> list[str]:
    lines = [f"- config_name: {name}", "  features:"]
    for column, kind in entry.columns.items():
        lines += feature_yaml(column, kind)
    lines.append("  splits:")
    for split, files in entry.splits.items():
        n_bytes = sum(file.bytes for file in files)
        lines += [
            f"  - name: {split}",
            f"    num_bytes: {n_bytes}",
            f"    num_examples: {entry.rows_by_split[split]}",
        ]
    return lines


def _overview(configs: list[tuple[str, ConfigEntry]]) -> list[str]:
    lines = ["| config | what | rows | read | kept | dropped |", "|---|---|---|---|---|---|"]
    for name, entry in configs:
        counts = entry.counts
        dropped = sum(counts["dropped"].values())
        lines.append(
            f"| `{name}` | {_title(name)} | {entry.n_rows} | {counts['read']} | {counts['kept']} | {dropped} |"
        )
    return [*lines, ""]


def _section(name: str, entry: ConfigEntry) -> list[str]:
    layout = LAYOUTS.get(name, {}).get(entry.format)
    columns = (*CONFIGS.get(name, ()), margin_of(entry.query))
    if layout is not None:
        columns = layout.columns(columns, LayoutOptions())
    meanings = {column.name: column.meaning for column in columns}
    reader = "" if layout is None else f": {layout.reader}"
    lines = [f"## {name}", "", f"{_title(name)}. Layout `{entry.format}`{reader}.", ""]
    lines += [f"- `{column}`" + (f": {meanings[column]}" if column in meanings else "") for column in entry.columns]
    lines += ["", "| split | rows |", "|---|---|"]
    lines += [f"| {split} | {n} |" for split, n in entry.rows_by_split.items()]
    dropped = ", ".join(f"{count} {reason}" for reason, count in entry.counts["dropped"].items()) or "none"
    lines += ["", f"Read {entry.counts['read']}, kept {entry.counts['kept']}, dropped: {dropped}.", ""]
    lines += ["| source | rows |", "|---|---|"]
    lines += [f"| {_cell(source)} | {count} |" for source, count in entry.sources.items()]
    lines += ["", "| licence | rows |", "|---|---|"]
    lines += [f"| {_cell(licence)} | {count} |" for licence, count in entry.licences.items()]
    lines += ["", *_labels(entry), *_lengths(entry), *_example(name, entry)]
    if entry.guidelines:
        lines += ["Labelled under the rules: " + ", ".join(entry.guidelines) + ".", ""]
    if entry.agreement:
        measures = ", ".join(f"{measure} {value:.3f}" for measure, value in entry.agreement.items())
        lines += [f"Agreement of the labellers: {measures}.", ""]
    given = {key: value for key, value in entry.query.items() if value is not None and value is not False}
    told = ", ".join(f"`{key}={_scalar_or_json(value)}`" for key, value in given.items() if value not in ([], ()))
    return [*lines, "Flags: " + (told or "none") + ".", ""]


def _cell(text: str) -> str:
    """A text in a table."""
    return " ".join(text.split()).replace("|", r"\|")


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " ").capitalize())


def _labels(entry: ConfigEntry) -> list[str]:
    if not entry.labels:
        return []
    lines = ["| labels | value | count | share |", "|---|---|---|---|"]
    for column, counts in entry.labels.items():
        total = sum(counts.values())
        lines += [f"| {column} | {value} | {n} | {n / total:.1%} |" for value, n in counts.items()]
    return [*lines, ""]


def _lengths(entry: ConfigEntry) -> list[str]:
    if not entry.lengths:
        return []
    return ["Rows by their characters, up to:", "", "```", *bars(entry.lengths), "```", ""]


def _example(name: str, entry: ConfigEntry) -> list[str]:
    if not entry.example:
        return []
    told = json.dumps(entry.example, ensure_ascii=False, indent=2)
    fence = "`" * max(3, _longest_run(told) + 1)
    note = f"The first row (texts beyond {EXAMPLE_TEXT} characters and lists beyond {EXAMPLE_ITEMS} items are cut):"
    return [note, "", f"{fence}json", *told.splitlines(), fence, ""]


def _longest_run(text: str) -> int:
    """The longest run of backticks: a fence around the text must be longer."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


def _loading(names: list[str]) -> list[str]:
    lines = ["## How to load", "", "```python", "from datasets import load_dataset", ""]
    lines += [f'{name} = load_dataset("OWNER/NAME", "{name}")' for name in names]
    lines += [
        "```",
        "",
        "`OWNER/NAME` is this repository, or the path of the folder. As a set for training, its hashes",
    ]
    return [*lines, "checked: `stepmark hub pull OWNER/NAME FOLDER`.", ""]


def _scalar_or_json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
