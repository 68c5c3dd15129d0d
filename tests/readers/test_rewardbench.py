"""RewardBench's own loading of preference sets and of best-of-N sets."""

import json
import logging
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import SMALL, Exported, bare, golden

bare("rewardbench")
# The models that it knows by name need another transformers; reading data does not.
models = types.ModuleType("rewardbench.models")
models.REWARD_MODEL_CONFIG = {}  # type: ignore[attr-defined]
sys.modules["rewardbench.models"] = models

from rewardbench import utils  # noqa: E402


@pytest.mark.parametrize("name", ["preference_rewardbench2", "best_of_n_rewardbench2"])
def test_version_2_unrolls_right_answers_before_wrong_ones(exported: Exported, tokenizer: Any, name: str) -> None:
    path = exported(name) / SMALL.CASES[name].config / "train-00000-of-00001.jsonl"
    rows, subsets, total, n_right = utils.load_bon_dataset_v2(
        dataset=str(path), tokenizer=tokenizer, logger=logging.getLogger(), keep_columns=["text", "id", "prompt"]
    )
    expected = golden(name)
    texts = [text for row in expected for text in (*row["chosen"], *row["rejected"])]
    assert len(rows) == len(texts)
    assert all(text in read for text, read in zip(texts, rows["text"], strict=True))
    assert list(total) == [row["total_completions"] for row in expected]
    assert list(n_right) == [row["num_correct"] for row in expected]
    assert set(subsets) == {"small"}


def test_version_1(load: Callable[[str], Any], tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "load_dataset", lambda name, split: load("preference_rewardbench"))
    rows, subsets = utils.load_eval_dataset(tokenizer=tokenizer)
    expected = golden("preference_rewardbench")
    for row, text_chosen, text_rejected in zip(expected, rows["text_chosen"], rows["text_rejected"], strict=True):
        assert row["prompt"] in text_chosen
        assert row["chosen"] in text_chosen
        assert row["rejected"] in text_rejected
    assert list(rows["id"]) == [row["id"] for row in expected]
    assert list(subsets) == ["small", "small"]


def test_whole_conversations_are_read_as_preference_data(exported: Exported, tokenizer: Any) -> None:
    path = exported("preference_trl-implicit") / "preference" / "train-00000-of-00001.jsonl"
    rows = utils.load_and_process_dataset(str(path), json=True, tokenizer=tokenizer)
    first = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert first["chosen"][1]["content"] in rows[0]["text_chosen"]
