"""Reads an exported training set back as plain rows: PRM, ORM and preference.

An exported set is a directory `DIR/<config>/<split>-00000-of-0000N.jsonl` (or `.parquet`) with an optional
`manifest.json`. Rows are checked here, once: whatever leaves this module has the right shape. Columns that a
row type does not know are ignored. Nothing is tokenised here.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stepmark.errors import InputError

Kind = Literal["prm", "orm", "bt"]
"""The three reward models: process, outcome, Bradley-Terry."""

CONFIG_OF: Mapping[Kind, str] = {"prm": "prm", "orm": "orm", "bt": "preference"}
"""The folder of an exported set that each kind of reward model learns from."""

Message = tuple[str, str]
"""A role and its content."""

Prompt = tuple[Message, ...]
"""What the model was asked, as a conversation; a plain string is one user message."""


@dataclass(frozen=True, slots=True)
class PrmRow:
    """One solution, segment by segment."""

    prompt: Prompt
    segments: tuple[str, ...]
    """Rendered steps, possibly the answer section last."""
    labels: tuple[float, ...]
    """Target of each segment: the probability that it is right; 0.0 or 1.0 where labels are hard."""


@dataclass(frozen=True, slots=True)
class OrmRow:
    """One whole solution with its outcome."""

    prompt: Prompt
    completion: str
    label: float
    """1.0 where the final answer is right."""


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two solutions of one prompt, of which one was preferred."""

    prompt: Prompt
    chosen: str
    rejected: str
    margin: float
    """By how much the score of `chosen` should lead; 0.0 where the set has no margins."""


Row = PrmRow | OrmRow | PairRow


def split_files(data: Path, config: str, split: str) -> list[Path]:
    """Lists the shards of one split in order.

    Raises:
        InputError: shards are missing, or both JSONL and Parquet stand there.
    """
    folder = data / config
    pattern = re.compile(rf"{re.escape(split)}-(\d{{5}})-of-(\d{{5}})\.(jsonl|parquet)")
    paths = sorted(folder.glob(f"{split}-*"))
    found = [(match, path) for path in paths if (match := pattern.fullmatch(path.name))]
    if not found:
        return []
    endings = {match[3] for match, _ in found}
    totals = {int(match[2]) for match, _ in found}
    numbers = [int(match[1]) for match, _ in found]
    if len(endings) > 1 or len(totals) > 1 or numbers != list(range(totals.pop())):
        names = ", ".join(path.name for _, path in found)
        raise InputError(f"{folder}: the shards of {split} are not one complete set: {names}. Export it again.")
    return [path for _, path in found]


def read_rows(data: Path, kind: Kind, split: str) -> Iterator[Row]:
    """Streams the checked rows of one split in file order; yields nothing where the split is absent.

    Raises:
        InputError: a row cannot be used; the message names the file and the row (1-based).
    """
    parsers: dict[Kind, Callable[[Mapping[str, Any]], Row]] = {
        "prm": _prm_row,
        "orm": _orm_row,
        "bt": _pair_row,
    }
    parse = parsers[kind]
    for path in split_files(data, CONFIG_OF[kind], split):
        for number, raw in enumerate(raw_rows(path), start=1):
            try:
                yield parse(raw)
            except (ValueError, TypeError) as err:
                raise InputError(f"{path}, row {number}: {err}") from err


def data_fingerprint(data: Path, kind: Kind) -> str:
    """Returns the SHA-256 of the set's manifest; without one, of the names and bytes of the shards of
    `kind`.
    """
    manifest = data / "manifest.json"
    if manifest.is_file():
        return hashlib.sha256(manifest.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for path in sorted((data / CONFIG_OF[kind]).glob("*-of-*")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def as_prompt(value: object) -> Prompt:
    """Reads a prompt given as a plain string or as a list of messages.

    >>> as_prompt("9 + 7?")
    (('user', '9 + 7?'),)
    >>> as_prompt([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "9 + 7?"}])
    (('system', 'Be brief.'), ('user', '9 + 7?'))
    """
    if isinstance(value, str):
        return (("user", value),)
    return _messages(value, "prompt")


def _messages(value: object, column: str) -> Prompt:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{column} must be a text or a list of messages, not {value!r}")
    out = []
    for message in value:
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            raise ValueError(f"{column}: a message needs a role and a text content, not {message!r}")
        out.append((role, content))
    return tuple(out)


def _completion(value: object, column: str) -> str:
    """Reads a completion given as a plain string or as a list with one assistant message."""
    if isinstance(value, str):
        return value
    messages = _messages(value, column)
    if len(messages) != 1 or messages[0][0] != "assistant":
        roles = [role for role, _ in messages]
        raise ValueError(f"{column} must be one assistant message, not the roles {roles}")
    return messages[0][1]


def _target(value: object, column: str) -> float:
    if isinstance(value, bool) or (isinstance(value, (int, float)) and 0 <= value <= 1 and math.isfinite(value)):
        return float(value)
    raise ValueError(f"{column} must be true, false or a number from 0 to 1, not {value!r}")


def _prm_row(raw: Mapping[str, Any]) -> PrmRow:
    completions, labels = _column(raw, "completions"), _column(raw, "labels")
    if not isinstance(completions, list) or not isinstance(labels, list):
        raise ValueError("completions and labels must be lists")
    if len(completions) != len(labels):
        raise ValueError(f"{len(completions)} completions but {len(labels)} labels; there must be one label each")
    if not completions:
        raise ValueError("completions is empty")
    return PrmRow(
        as_prompt(_column(raw, "prompt")),
        tuple(_completion(segment, "completions") for segment in completions),
        tuple(_target(label, "labels") for label in labels),
    )


def _orm_row(raw: Mapping[str, Any]) -> OrmRow:
    return OrmRow(
        as_prompt(_column(raw, "prompt")),
        _completion(_column(raw, "completion"), "completion"),
        _target(_column(raw, "label"), "label"),
    )


def _pair_row(raw: Mapping[str, Any]) -> PairRow:
    chosen, rejected = _column(raw, "chosen"), _column(raw, "rejected")
    margin = raw.get("margin")
    if margin is None:
        margin = 0.0
    if isinstance(margin, bool) or not isinstance(margin, (int, float)) or not math.isfinite(margin):
        raise ValueError(f"margin must be a number, not {margin!r}")
    if raw.get("prompt") is not None:
        prompt = as_prompt(raw["prompt"])
        return PairRow(prompt, _completion(chosen, "chosen"), _completion(rejected, "rejected"), float(margin))
    whole_chosen, whole_rejected = _messages(chosen, "chosen"), _messages(rejected, "rejected")
    prompt = whole_chosen[:-1]
    last_roles = (whole_chosen[-1][0], whole_rejected[-1][0])
    if not prompt or prompt != whole_rejected[:-1] or last_roles != ("assistant", "assistant"):
        raise ValueError(
            "without a prompt, chosen and rejected must be conversations that differ in the last turn only"
        )
    return PairRow(prompt, whole_chosen[-1][1], whole_rejected[-1][1], float(margin))


def _column(raw: Mapping[str, Any], name: str) -> object:
    if raw.get(name) is None:
        raise ValueError(f"the column {name} is missing or empty; the columns are {sorted(raw)}")
    return raw[name]


def raw_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Streams the rows of one shard, JSONL or Parquet, unchecked."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                raw = json.loads(line)
            except json.JSONDecodeError as err:
                raise InputError(f"{path}, row {number}: not JSON ({err})") from err
            if not isinstance(raw, dict):
                raise InputError(f"{path}, row {number}: not a JSON object")
            yield raw
