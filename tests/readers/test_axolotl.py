"""axolotl's own reading of pairs and of step labels."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import CHAT, bare, golden

bare("axolotl", "axolotl.utils", "axolotl.prompt_strategies", "axolotl.prompt_strategies.bradley_terry")

from axolotl.prompt_strategies import stepwise_supervised  # noqa: E402
from axolotl.prompt_strategies.bradley_terry import chat_template  # noqa: E402
from axolotl.utils.dict import DictDefault  # noqa: E402


@pytest.mark.parametrize("name", ["preference_axolotl", "critique_preference_axolotl"])
def test_bradley_terry(load: Callable[[str], Any], tokenizer: Any, name: str) -> None:
    strategy = chat_template.BTChatTemplateStrategy(
        chat_template.ChatTemplatePrompter(tokenizer=tokenizer, chat_template=CHAT, max_length=2048),
        tokenizer=tokenizer,
        train_on_inputs=False,
        sequence_len=2048,
    )
    for row, expected in zip(load(name), golden(name), strict=True):
        read = strategy.tokenize_prompt(dict(row))
        for side in ("chosen", "rejected"):
            text = tokenizer.decode(read[f"{side}_ids"])
            assert expected["input"] in text
            assert expected[side] in text
        assert (read["labels_chosen"], read["labels_rejected"]) == (1.0, 0.0)


def test_stepwise_supervised(load: Callable[[str], Any], tokenizer: Any) -> None:
    strategy = stepwise_supervised.load(tokenizer, DictDefault(sequence_len=2048), DictDefault())
    for row, expected in zip(load("prm_trl"), golden("prm_trl"), strict=True):
        read = strategy.tokenize_prompt(row)
        assert [bool(label) for label in read["labels"] if label != -100] == expected["labels"]
