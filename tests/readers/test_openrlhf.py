"""OpenRLHF's own data sets, of 0.9.5, which still had process rewards."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from .conftest import bare, golden

bare("openrlhf", "openrlhf.datasets", "openrlhf.utils")

from openrlhf.datasets.process_reward_dataset import ProcessRewardDataset  # noqa: E402
from openrlhf.datasets.reward_dataset import RewardDataset  # noqa: E402
from openrlhf.datasets.unpaired_preference_dataset import UnpairedPreferenceDataset  # noqa: E402


def strategy(**arguments: Any) -> Any:
    return SimpleNamespace(args=SimpleNamespace(**arguments))


def test_process_rewards_stand_at_the_placeholders(load: Callable[[str], Any], tokenizer: Any) -> None:
    told = strategy(input_key="input", label_key="value", placeholder_token="ки", reward_tokens=["+", "-"])
    rows = ProcessRewardDataset(load("prm_openrlhf"), tokenizer, 2048, told)
    for index, expected in enumerate(golden("prm_openrlhf")):
        ids, _, labels = rows[index]
        at = labels[0] != -100
        assert tokenizer.batch_decode(ids[0][at][:, None]) == ["ки"] * len(expected["value"])
        assert tokenizer.batch_decode(labels[0][at][:, None]) == expected["value"]
        assert tokenizer.decode(ids[0]) == expected["input"]


@pytest.mark.parametrize("name", ["preference_openrlhf", "critique_preference_openrlhf"])
def test_pairs_keep_their_margin(load: Callable[[str], Any], tokenizer: Any, name: str) -> None:
    told = strategy(chosen_key="chosen", rejected_key="rejected", apply_chat_template=True)
    rows = RewardDataset(load(name), tokenizer, 2048, told, num_processors=1)
    for index, expected in enumerate(golden(name)):
        chosen, _, rejected, _, margin = rows[index]
        for ids, side in ((chosen, "chosen"), (rejected, "rejected")):
            text = tokenizer.apply_chat_template(expected[side], tokenize=False)
            assert tokenizer.decode(ids[0]).startswith(text.rstrip("\n"))
        assert margin == expected.get("margin", 0)


def test_outcomes(load: Callable[[str], Any], tokenizer: Any) -> None:
    told = strategy(input_key="prompt", output_key="completion", label_key="label")
    rows = UnpairedPreferenceDataset(load("orm_trl"), tokenizer, 2048, told, num_processors=1)
    read = [rows[index][:3] for index in range(len(rows))]
    assert read == [(row["prompt"], row["completion"], row["label"]) for row in golden("orm_trl")]
