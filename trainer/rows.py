"""Reads an exported training set back as plain rows: steps, outcomes, pairs, critiques, texts.

An exported set is a directory `DIR/<config>/<split>-00000-of-0000N.jsonl` (or `.parquet`) with an optional
`manifest.json`. Rows are checked here, once: whatever leaves this module has the right shape. Columns that a
row type does not know are ignored. Nothing is tokenised here.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stepmark.errors import InputError

Kind = Literal["prm", "orm", "bt", "critique-rm", "implicit-prm", "cloud", "judge", "sft"]
"""What is trained: process, outcome and Bradley-Terry reward models; Bradley-Terry with a critique given; an outcome
model whose steps' rewards come free; a model that writes critiques and gives rewards after them; a judge of pairs of
judgements; a language model."""

COMPARING: frozenset[Kind] = frozenset({"bt", "critique-rm", "cloud"})
"""Kinds whose reward compares solutions of one prompt only, and is no probability."""

CONFIG_OF: Mapping[Kind, str] = {
    "prm": "prm",
    "orm": "orm",
    "bt": "preference",
    "critique-rm": "cloud",
    "implicit-prm": "orm",
    "cloud": "cloud",
    "judge": "critique_preference",
    "sft": "sft",
}
"""The folder of an exported set that each kind learns from; `sft` also from `critique` and `cloud`."""

NO_LABEL = "no step has a label"
NO_CRITIQUE = "no critique of one of the solutions"

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
    labels: tuple[float | None, ...]
    """Target of each segment: the probability that it is right, 0.0 or 1.0 where labels are hard; None where the
    segment has no label and none is learnt."""


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


@dataclass(frozen=True, slots=True)
class CritiquedPairRow:
    """Two solutions of one prompt with a critique of each, of which the first was preferred."""

    prompt: Prompt
    chosen: str
    rejected: str
    chosen_critique: str
    rejected_critique: str
    margin: float


@dataclass(frozen=True, slots=True)
class CritiqueRow:
    """A critique to write, of one solution of one prompt."""

    prompt: Prompt
    solution: str
    critique: str


@dataclass(frozen=True, slots=True)
class TextRow:
    """A text to write after a prompt."""

    prompt: Prompt
    completion: str


@dataclass(frozen=True, slots=True)
class SegmentedRow:
    """A solution whose segments' shares of a log-probability are wanted."""

    prompt: Prompt
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unusable:
    """A well-formed row from which this kind learns nothing."""

    reason: str


Row = PrmRow | OrmRow | PairRow | CritiquedPairRow | CritiqueRow | TextRow | SegmentedRow


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


def read_rows(data: Path, kind: Kind, split: str, *, config: str | None = None) -> Iterator[Row | Unusable]:
    """Streams the checked rows of one split in file order; yields nothing where the split is absent.

    A row with several critiques of each solution becomes as many. `config` names the folder where it is not the
    kind's usual one.

    Raises:
        InputError: a row cannot be used; the message names the file and the row (1-based).
    """
    parsers: dict[Kind, Callable[[Mapping[str, Any]], Iterable[Row | Unusable]]] = {
        "prm": _prm_rows,
        "orm": lambda raw: [_orm_row(raw)],
        "bt": lambda raw: [as_pair(raw)],
        "critique-rm": _critiqued_rows,
        "implicit-prm": lambda raw: [_orm_row(raw)],
        "cloud": _critiqued_rows,
        "judge": lambda raw: [as_pair(raw)],
        "sft": _critique_rows if config == "cloud" else _text_rows,
    }
    parse = parsers[kind]
    for path in split_files(data, config or CONFIG_OF[kind], split):
        for number, raw in enumerate(raw_rows(path), start=1):
            try:
                yield from parse(raw)
            except (ValueError, TypeError) as err:
                raise InputError(f"{path}, row {number}: {err}") from err


def data_fingerprint(data: Path, config: str) -> str:
    """Returns the SHA-256 of the set's manifest; without one, of the names and bytes of the shards of `config`."""
    manifest = data / "manifest.json"
    if manifest.is_file():
        return hashlib.sha256(manifest.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for path in sorted((data / config).glob("*-of-*")):
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


def _prm_rows(raw: Mapping[str, Any]) -> list[PrmRow | Unusable]:
    completions, labels = _column(raw, "completions"), _column(raw, "labels")
    if not isinstance(completions, list) or not isinstance(labels, list):
        raise ValueError("completions and labels must be lists")
    if len(completions) != len(labels):
        raise ValueError(f"{len(completions)} completions but {len(labels)} labels; there must be one label each")
    if not completions:
        raise ValueError("completions is empty")
    row = PrmRow(
        as_prompt(_column(raw, "prompt")),
        tuple(_completion(segment, "completions") for segment in completions),
        tuple(None if label is None else _target(label, "labels") for label in labels),
    )
    return [Unusable(NO_LABEL) if all(label is None for label in labels) else row]


def _orm_row(raw: Mapping[str, Any]) -> OrmRow:
    return OrmRow(
        as_prompt(_column(raw, "prompt")),
        _completion(_column(raw, "completion"), "completion"),
        _target(_column(raw, "label"), "label"),
    )


def as_pair(raw: Mapping[str, Any]) -> PairRow:
    """Reads a preference row: with a prompt, or as two conversations that differ in the last turn.

    Raises:
        ValueError: it is none.
    """
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


def _critiqued_rows(raw: Mapping[str, Any]) -> list[CritiquedPairRow | Unusable]:
    pair = as_pair(raw)
    of_chosen, of_rejected = (_texts(raw, name) for name in ("chosen_feedback", "rejected_feedback"))
    if not of_chosen or not of_rejected:
        return [Unusable(NO_CRITIQUE)]
    return [
        CritiquedPairRow(pair.prompt, pair.chosen, pair.rejected, good, bad, pair.margin)
        for good, bad in zip(of_chosen, of_rejected, strict=False)
    ]


def _critique_rows(raw: Mapping[str, Any]) -> list[CritiqueRow | Unusable]:
    pair = as_pair(raw)
    sides = ((pair.chosen, "chosen_feedback"), (pair.rejected, "rejected_feedback"))
    found = [CritiqueRow(pair.prompt, text, critique) for text, name in sides for critique in _texts(raw, name)]
    return [*found] or [Unusable(NO_CRITIQUE)]


def _text_rows(raw: Mapping[str, Any]) -> list[TextRow]:
    """A prompt with a completion, or a conversation whose last message is the text to write."""
    if raw.get("messages") is not None:
        messages = _messages(raw["messages"], "messages")
        if len(messages) < 2 or messages[-1][0] != "assistant":
            raise ValueError("messages must end with an assistant message behind others")
        return [TextRow(messages[:-1], messages[-1][1])]
    return [TextRow(as_prompt(_column(raw, "prompt")), _completion(_column(raw, "completion"), "completion"))]


def _texts(raw: Mapping[str, Any], name: str) -> list[str]:
    value = _column(raw, name)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{name} must be a list of texts, not {value!r}")
    return value


def _column(raw: Mapping[str, Any], name: str) -> object:
    if raw.get(name) is None:
        raise ValueError(f"the column {name} is missing or empty; the columns are {sorted(raw)}")
    return raw[name]


def raw_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Streams the rows of a shard as they stand there."""
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
