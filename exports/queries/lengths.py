"""How many tokens rows have, for the tokenizer of the model that will read them: reported, and cut by nobody.

A trainer cuts what is too long, or drops it without a word; labels of the last steps go first.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from stepmark.errors import SettingsError
from stepmark.steps import SEPARATOR

from .selection import Counts, SetRow

_CHUNK = 500
CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Tokens of each text."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """What to hold rows against."""

    tokenizer: str
    """Its name on a hub, or its folder."""
    count_tokens: CountTokens
    max_length: int
    drop_longer: bool = False
    """Leave out the rows that are longer."""


def token_counter(tokenizer: str) -> CountTokens:
    """Reads a tokenizer from a folder (or its `tokenizer.json`), or from the hub by name.

    Raises:
        SettingsError: There is none, or the hub cannot be reached.
    """
    from tokenizers import Tokenizer

    path = Path(tokenizer)
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        found = Tokenizer.from_file(str(file)) if file.is_file() else Tokenizer.from_pretrained(tokenizer)
    except Exception as err:  # the library raises bare `Exception`
        raise SettingsError(
            f"cannot read a tokenizer from {tokenizer!r} ({err}); give a folder with a tokenizer.json, or a name "
            "that the hub knows"
        ) from err

    def count(texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in found.encode_batch_fast(list(texts))]

    return count


def with_lengths(rows: Iterable[SetRow], lengths: Lengths, counts: Counts) -> Iterator[SetRow]:
    """Yields the rows, without those that are too long where that was asked, and counts how long they are."""
    found = array("L")
    each = iter(rows)
    while chunk := list(islice(each, _CHUNK)):
        texts = [texts_of(row.row) for row in chunk]
        tokens = iter(lengths.count_tokens([text for alternatives in texts for text in alternatives]))
        for row, alternatives in zip(chunk, texts, strict=True):
            length = max(islice(tokens, len(alternatives)))
            if row.is_aside:
                yield row
                continue
            found.append(length)
            if lengths.drop_longer and length > lengths.max_length:
                counts.dropped["longer_than_max_length"] += 1
                continue
            yield row
    counts.more.update(_report(np.array(found, dtype=np.int64), lengths.max_length))


def texts_of(row: Mapping[str, Any]) -> list[str]:
    r"""What a model reads of a row: prompt and completion; of pairs and lists of answers, each with the prompt.

    >>> texts_of({"prompt": "p", "completions": ["one", "two"], "labels": [True, False]})
    ['p\n\none\n\ntwo']
    >>> texts_of({"prompt": "p", "chosen": "a", "rejected": "b"})
    ['p\n\na', 'p\n\nb']
    """
    parts = {name: value for name, value in row.items() if name != "prompt"}
    alternatives = [parts[name] for name in ("chosen", "rejected", "a", "b") if name in parts]
    if "answers" in parts:
        alternatives = list(parts["answers"])
    if not alternatives:
        texts: list[str] = []
        for value in parts.values():
            texts += [value] if isinstance(value, str) else [one for one in _items(value) if isinstance(one, str)]
        alternatives = [SEPARATOR.join(texts)]
    return [f"{row.get('prompt', '')}{SEPARATOR}{text}" for text in alternatives]


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _report(tokens: "np.typing.NDArray[np.int64]", max_length: int) -> dict[str, int]:
    if not len(tokens):
        return {}
    over = tokens[tokens > max_length] - max_length
    found = {"longer": len(over), **_quantiles("tokens", tokens)}
    return found | (_quantiles("longer_by", over) if len(over) else {})


def _quantiles(name: str, values: "np.typing.NDArray[np.int64]") -> dict[str, int]:
    found = {f"{name}_p{percent}": int(np.percentile(values, percent, method="lower")) for percent in (50, 90, 99)}
    return found | {f"{name}_max": int(values.max())}
