"""The lines of a batch service's files: a request a line going in, an answer or an error a line coming out.

A row says by its `custom_id` what it asks, so that answers in any order, of any day, find their questions.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from stepmark.engine import Failure, Request

from .chat_format import Drawn, Trouble, chat_body, read_completion, read_status

_CUSTOM_ID = re.compile(r"([0-9a-f]{32})-([0-9]{1,9})-([1-9][0-9]{0,8})")
_EXPIRED = "batch_expired"
_CANCELLED = "batch_cancelled"


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one row."""

    payload_hash: str
    indices: range
    """The samples that it was to bring."""
    found: Drawn | Trouble
    """The samples that it brings, in order; they may be fewer or more."""


def stretches(indices: Iterable[int]) -> list[range]:
    """Parts ascending sample indices into stretches without a gap: a row can ask for one stretch.

    >>> stretches([0, 1, 2, 5, 7, 8])
    [range(0, 3), range(5, 6), range(7, 9)]
    """
    found: list[range] = []
    for index in indices:
        if found and found[-1].stop == index:
            found[-1] = range(found[-1].start, index + 1)
        else:
            found.append(range(index, index + 1))
    return found


def custom_id(payload_hash: str, indices: range) -> str:
    """The name of a row: what it asks, and for which samples; at most 52 characters, of the 64 that are allowed.

    >>> custom_id("0123456789abcdef0123456789abcdef", range(4, 8))
    '0123456789abcdef0123456789abcdef-4-4'
    """
    return f"{payload_hash}-{indices.start}-{len(indices)}"


def write_row(model: str, request: Request, payload_hash: str, indices: range) -> bytes:
    """The line that asks for these samples of a request."""
    row = {
        "custom_id": custom_id(payload_hash, indices),
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": chat_body(model, request, payload_hash, indices),
    }
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def read_row(line: bytes) -> Row | None:
    """Reads a line of an output or error file; None where it does not say which row it is about."""
    try:
        row = json.loads(line)
        name = _CUSTOM_ID.fullmatch(row["custom_id"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if name is None:
        return None
    first, n = int(name[2]), int(name[3])
    return Row(name[1], range(first, first + n), _read_outcome(row.get("response"), row.get("error")))


def _read_outcome(response: object, error: object) -> Drawn | Trouble:
    if not isinstance(response, dict):
        code = error.get("code") if isinstance(error, dict) else None
        message = f"the row failed: {json.dumps(error)[:500]}"
        if code == _EXPIRED:
            return Trouble(Failure("timeout", message), is_passing=True)
        if code == _CANCELLED:
            return Trouble(Failure("cancelled", message), is_passing=True)
        return Trouble(Failure("server_error", message), is_passing=True)
    status, body = response.get("status_code"), response.get("body")
    if status == 200:
        return read_completion(body)
    message = f"{status}: {json.dumps(body)[:500]}"
    if not isinstance(status, int):
        return Trouble(Failure("malformed", message), is_passing=True)
    return read_status(status, message, {})
