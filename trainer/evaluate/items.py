"""Solutions with what is known of them: what calibration and audit measure reward models on.

They come from an exported set (best-of-N rows, else ORM rows; step labels from PRM rows), from JSON lines, or out of
a database (`stepmark.flows.items`).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepmark.errors import InputError
from stepmark.problems import statement_hash
from stepmark.steps import SEPARATOR, bare_step, render_segments, split_solution
from trainer.rows import Prompt, as_prompt, raw_rows, split_files

from .files import read_json_rows


@dataclass(frozen=True, slots=True)
class Item:
    """One solution of one problem."""

    problem: str
    """Equal for solutions of one problem: these are compared; problems are resampled, never solutions."""
    prompt: Prompt
    steps: tuple[str, ...]
    """Bare, in order."""
    answer: str | None
    is_correct: bool | None
    """The outcome; None while unknown."""
    labels: tuple[float | None, ...] = ()
    """Of the segments that were judged, from the first on, P(right) or 0 and 1; None where nothing is said."""
    family: str = ""
    """Equal for a problem, its variants and near-duplicates, which no split parts; empty: as the problem."""

    @property
    def segments(self) -> list[str]:
        """The solution as a reward model reads it."""
        return render_segments(self.steps, self.answer)

    @property
    def text(self) -> str:
        """The solution as one text."""
        return SEPARATOR.join(self.segments)

    @property
    def first_error(self) -> int | None:
        """The first step that is labelled wrong, 0-based; None where none is, or where nothing is said before it."""
        for index, label in enumerate(self.labels[: len(self.steps)]):
            if label is None:
                return None
            if label < 0.5:
                return index
        return None


def unique(items: Iterable[Item]) -> list[Item]:
    """Drops repeated texts of a problem: samples of one model repeat, and each would count again."""
    seen: dict[tuple[str, str], Item] = {}
    for item in items:
        seen.setdefault((item.problem, item.text), item)
    return list(seen.values())


def as_item(raw: Mapping[str, Any]) -> Item:
    """Reads an object with `prompt`, `steps` or `completion`, and `answer`, `is_correct`, `labels`, `problem`.

    Raises:
        ValueError: Something is missing or does not fit.
    """
    prompt = as_prompt(raw.get("prompt"))
    steps, answer, is_correct = raw.get("steps"), raw.get("answer"), raw.get("is_correct")
    if steps is None and isinstance(raw.get("completion"), str):
        found = split_solution(raw["completion"])
        steps, answer = list(found.steps), answer if answer is not None else found.answer
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step for step in steps):
        raise ValueError(f"a solution needs steps (a list of texts) or a completion; the keys are {sorted(raw)}")
    if not isinstance(answer, str | None) or not isinstance(is_correct, bool | None):
        raise ValueError(f"answer must be a text and is_correct true, false or null, not {answer!r}, {is_correct!r}")
    labels = raw.get("labels") or []
    if not isinstance(labels, list) or len(labels) > len(steps) + 1:
        raise ValueError(f"labels must be a list of at most {len(steps) + 1} numbers, not {labels!r}")
    for label in labels:
        if label is not None and not (isinstance(label, int | float) and 0 <= label <= 1):
            raise ValueError(f"a label must be null or a number from 0 to 1, not {label!r}")
    problem = raw.get("problem")
    return Item(
        str(problem) if problem is not None else problem_key(prompt),
        prompt,
        tuple(steps),
        answer,
        is_correct,
        tuple(None if label is None else float(label) for label in labels),
        str(raw.get("family") or ""),
    )


def problem_key(prompt: Prompt) -> str:
    """The problem of a prompt: the hash of what was asked."""
    return statement_hash("\n\n".join(content for _, content in prompt))


def read_items(path: Path, split: str = "test") -> tuple[list[Item], dict[str, int]]:
    """Reads a JSON(L) file, or a split of an exported set; returns the solutions and the rows of each config.

    Raises:
        InputError: There is none, or a row cannot be used.
    """
    if not path.is_dir():
        items = list(_parsed(read_json_rows(path), as_item, str(path)))
        if not items:
            raise InputError(f"{path} holds no solution.")
        return items, {"file": len(items)}
    readers: dict[str, Callable[[Mapping[str, Any]], list[Item]]] = {
        "best_of_n": _best_of_n_items,
        "orm": _orm_items,
        "prm": _prm_items,
    }
    found: dict[str, list[Item]] = {}
    for config, parse in readers.items():
        files = split_files(path, config, split)
        if files and not (config == "orm" and found.get("best_of_n")):
            rows = (row for file in files for row in raw_rows(file))
            found[config] = [item for items in _parsed(rows, parse, f"{path}/{config}/{split}") for item in items]
    if not any(found.values()):
        raise InputError(f"{path} has no split {split!r} of best_of_n, orm or prm; export one, or name another.")
    return [item for items in found.values() for item in items], {name: len(items) for name, items in found.items()}


def _parsed(
    rows: Iterable[Mapping[str, Any]], parse: Callable[[Mapping[str, Any]], Any], where: str
) -> Iterator[Any]:
    for number, row in enumerate(rows, start=1):
        try:
            yield parse(row)
        except (ValueError, KeyError, TypeError) as err:
            raise InputError(f"{where}, row {number}: {err}") from err


def _best_of_n_items(row: Mapping[str, Any]) -> list[Item]:
    if len(row["answers"]) != len(row["labels"]):
        raise ValueError(f"{len(row['answers'])} answers but {len(row['labels'])} labels")
    return [
        as_item({"prompt": row["prompt"], "completion": text, "is_correct": bool(label)})
        for text, label in zip(row["answers"], row["labels"], strict=True)
    ]


def _orm_items(row: Mapping[str, Any]) -> list[Item]:
    text = row["completion"] if isinstance(row["completion"], str) else row["completion"][0]["content"]
    label = float(row["label"])
    return [as_item({"prompt": row["prompt"], "completion": text, "is_correct": label >= 0.5})]


def _prm_items(row: Mapping[str, Any]) -> list[Item]:
    """A row's segments as they are; its last may be the answer section. The outcome stays unknown."""
    segments = [text if isinstance(text, str) else text[0]["content"] for text in row["completions"]]
    last = split_solution(segments[-1])
    has_answer = last.answer is not None and not last.steps
    steps = [bare_step(text) or text for text in (segments[:-1] if has_answer else segments)]
    return [
        as_item(
            {
                "prompt": row["prompt"],
                "steps": steps,
                "answer": last.answer if has_answer else None,
                "labels": [float(label) for label in row["labels"]],
            }
        )
    ]


def write_items(items: Iterable[Item], path: Path) -> None:
    """Writes what was measured beside the results, as JSON lines that `read_items` reads."""
    with path.open("w", encoding="utf-8") as out:
        for item in items:
            row = {
                "problem": item.problem,
                "prompt": [{"role": role, "content": content} for role, content in item.prompt],
                "steps": list(item.steps),
                "answer": item.answer,
                "is_correct": item.is_correct,
                "labels": list(item.labels),
                "family": item.family,
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
