"""The dataset card: `README.md` with the YAML that lets `datasets.load_dataset(folder, config)` find the files."""

import json

from .columns import CONFIGS, MARGIN, feature_yaml
from .layouts import LAYOUTS, LayoutOptions
from .manifest import ConfigEntry, Manifest

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
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def card(manifest: Manifest) -> str:
    """Writes the card of a folder."""
    configs = sorted(manifest.configs.items())
    n_rows = sum(file.rows for _, entry in configs for files in entry.splits.values() for file in files)
    expressions = {licence for _, entry in configs for licence in entry.licences}
    licences = sorted({licence for expression in expressions for licence in expression.split(" AND ")})
    head = [
        "---",
        *_listed("license", [licence.lower() for licence in licences]),
        *_listed("task_categories", ["text-classification"]),
        *_listed("tags", ["reward-model", "reasoning", "stepmark"]),
        *_listed("size_categories", [size_category(n_rows)]),
        "configs:",
        *(line for name, entry in configs for line in _config_yaml(name, entry)),
        "dataset_info:",
        *(line for name, entry in configs for line in _info_yaml(name, entry)),
        "---",
    ]
    body = ["", MARK, "", "# Training sets for reward models", ""]
    body += ["Exported by stepmark; `manifest.json` holds the full query and the SHA-256 of each file.", ""]
    for name, entry in configs:
        body += _section(name, entry)
    return "\n".join([*head, *body])


def size_category(n_rows: int) -> str:
    """The hub's word for a number of rows.

    >>> size_category(999), size_category(1_000), size_category(5_000_000)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    return next((name for limit, name in _SIZES if n_rows < limit), "1M<n<10M" if n_rows < 10**7 else "n>10M")


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
        n_bytes, n_rows = sum(file.bytes for file in files), sum(file.rows for file in files)
        lines += [f"  - name: {split}", f"    num_bytes: {n_bytes}", f"    num_examples: {n_rows}"]
    return lines


def _section(name: str, entry: ConfigEntry) -> list[str]:
    layout = LAYOUTS[name].get(entry.format)
    columns = (*CONFIGS[name], MARGIN)
    if layout is not None:
        columns = layout.columns(columns, LayoutOptions())
    meanings = {column.name: column.meaning for column in columns}
    reader = "" if layout is None else f": {layout.reader}"
    lines = [f"## {name}", "", f"{_TITLES[name]}. Layout `{entry.format}`{reader}.", ""]
    lines += [f"- `{column}`: {meanings.get(column, '')}" for column in entry.columns]
    lines += ["", "| split | rows |", "|---|---|"]
    lines += [f"| {split} | {sum(file.rows for file in files)} |" for split, files in entry.splits.items()]
    dropped = ", ".join(f"{count} {reason}" for reason, count in entry.counts["dropped"].items()) or "none"
    lines += ["", f"Read {entry.counts['read']}, kept {entry.counts['kept']}, dropped: {dropped}.", ""]
    lines += ["| source | rows |", "|---|---|"]
    lines += [f"| {source} | {count} |" for source, count in entry.sources.items()]
    lines += ["", "| licence | rows |", "|---|---|"]
    lines += [f"| {licence} | {count} |" for licence, count in entry.licences.items()]
    lines += [
        "",
        "Flags: " + ", ".join(f"`{key}={_scalar_or_json(value)}`" for key, value in entry.query.items()),
        "",
    ]
    return lines


def _scalar_or_json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
