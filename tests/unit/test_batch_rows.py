"""Rows of a batch's files: what is written is read back, and no line of whatever kind breaks the reading."""

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from generator.engines.batch_rows import read_row, stretches, write_row
from generator.engines.chat_format import Drawn, Trouble
from stepmark.engine import Message, Request, Sample, Sampling

HASH = "0123456789abcdef" * 2
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sets(st.integers(0, 60), max_size=20))
def test_stretches_hold_every_index_once_and_have_no_gap_to_close(indices: set[int]) -> None:
    found = stretches(sorted(indices))
    assert [index for stretch in found for index in stretch] == sorted(indices)
    assert all(later.start > earlier.stop for earlier, later in itertools.pairwise(found))


@given(text=st.text(), first=st.integers(0, 10**6), n=st.integers(1, 64))
def test_a_row_says_what_it_asks_and_its_answer_is_read_back(text: str, first: int, n: int) -> None:
    request = Request("k", (Message("user", text),), Sampling())
    line = write_row("m", request, HASH, range(first, first + n))
    assert line.count(b"\n") == 1
    asked = json.loads(line)
    assert (asked["body"]["messages"][0]["content"], asked["body"]["n"]) == (text, n)
    assert len(asked["custom_id"]) <= 64
    choices = [{"index": i, "message": {"content": f"t{i}"}, "finish_reason": "stop"} for i in range(n)]
    body = {"choices": choices[::-1], "usage": {"prompt_tokens": 3, "completion_tokens": n}}
    row = read_row(
        json.dumps({"custom_id": asked["custom_id"], "response": {"status_code": 200, "body": body}}).encode()
    )
    assert row is not None
    assert (row.payload_hash, row.indices) == (HASH, range(first, first + n))
    assert isinstance(row.found, Drawn)
    assert [sample.text for sample in row.found.samples if isinstance(sample, Sample)] == [f"t{i}" for i in range(n)]
    assert row.found.usage == {"prompt_tokens": 3, "completion_tokens": n}


@given(st.binary())
def test_a_line_that_is_no_row_is_none(line: bytes) -> None:
    assert read_row(line) is None


@given(response=JSON | st.fixed_dictionaries({"status_code": JSON | st.just(200), "body": JSON}), error=JSON)
def test_a_row_of_ours_without_a_completion_is_trouble_and_never_a_text(response: Any, error: Any) -> None:
    line = json.dumps({"custom_id": f"{HASH}-0-1", "response": response, "error": error}).encode()
    row = read_row(line)
    assert row is not None
    assert isinstance(row.found, Trouble)
