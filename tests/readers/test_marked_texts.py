"""Layouts that scripts read: marks stand where the labels say, by each format's own rule of taking it apart."""

import re
from collections.abc import Callable
from typing import Any

from .conftest import golden

LABELS = [row["labels"] for row in golden("prm_trl")]


def test_math_shepherd_marks_and_labels_stand_at_the_same_places(load: Callable[[str], Any]) -> None:
    for row, expected in zip(load("prm_math-shepherd"), LABELS, strict=True):
        # As scripts do: every mark one character wide, then the labels stand at its indices.
        narrow = row["input"].replace("ки", "\N{REPLACEMENT CHARACTER}")
        at = [match.start() for match in re.finditer("\N{REPLACEMENT CHARACTER}", narrow)]
        assert [row["label"][place] for place in at] == ["+" if label else "-" for label in expected]
        assert len(narrow) == len(row["label"])
        assert "Step 1:" in narrow[: at[0]]


def test_rlhflow_turns_are_steps_and_marks(load: Callable[[str], Any], tokenizer: Any) -> None:
    plus = tokenizer.encode("+", add_special_tokens=False)
    assert len(plus) == 1
    for row, expected in zip(load("prm_rlhflow"), LABELS, strict=True):
        turns = row["conversations"]
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * len(expected)
        assert [turn["content"] == "+" for turn in turns[1::2]] == expected


def test_qwen_has_a_step_token_for_each_label(load: Callable[[str], Any], tokenizer: Any) -> None:
    (token,) = tokenizer.encode("<extra_0>", add_special_tokens=False)
    for row, expected in zip(load("prm_qwen"), LABELS, strict=True):
        text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids.count(token) == len(row["labels"])
        assert row["labels"] == expected


def test_lightman_has_a_step_token_for_each_label(load: Callable[[str], Any], tokenizer: Any) -> None:
    (token,) = tokenizer.encode("<|prm_label|>", add_special_tokens=False)
    for row, expected in zip(load("prm_lightman"), LABELS, strict=True):
        ids = tokenizer.encode(row["text"], add_special_tokens=False)
        assert ids.count(token) == len(row["labels"])
        assert [label == 1 for label in row["labels"]] == expected
        lines = row["text"].splitlines()
        assert all(re.fullmatch(r"Step: \d+: .+<\|prm_label\|>", line) for line in lines[1:] if "Step" in line)
