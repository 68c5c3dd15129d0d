"""verl's RLHFDataset on our Parquet, and the reward function that verl loads by its name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from .conftest import Exported, bare, golden

bare("verl", "verl.utils", "verl.utils.dataset")

from verl.utils.dataset.rl_dataset import RLHFDataset  # noqa: E402
from verl.utils.import_utils import load_extern_object  # noqa: E402


@pytest.mark.parametrize("name", ["rl_verl", "rl_judge"])
def test_rlhf_dataset(exported: Exported, tokenizer: Any, tmp_path: Path, name: str) -> None:
    path = exported(f"{name}.parquet") / "rl" / "train-00000-of-00001.parquet"
    told = OmegaConf.create({"cache_dir": str(tmp_path), "max_prompt_length": 1024, "filter_overlong_prompts": False})
    rows = RLHFDataset(str(path), tokenizer, told)
    expected = golden(name)
    assert len(rows) == len(expected)
    for index, row in enumerate(expected):
        read = rows[index]
        assert read["raw_prompt"] == row["prompt"]
        assert read["reward_model"] == row["reward_model"]
        assert (read["data_source"], read["ability"], read["extra_info"]) == (
            row["data_source"],
            row["ability"],
            row["extra_info"],
        )
        assert read["index"] == index


@pytest.mark.parametrize(
    ("name", "completion", "expected"),
    [
        ("rl_verl", "# Answer\n\n14", [0.0, 1.0, 0.0]),
        ("rl_judge", "Step 1: 4 * 5 = 20\nStep 2: 23\nStep 3: 23\nAnswer: 23\nVerdict: pass", [1.0, 0.0]),
        ("rl_judge", "Verdict: fail", [0.0, 1.0]),
    ],
)
def test_verl_loads_the_reward_and_hands_it_our_rows(
    load: Callable[[str], Any], name: str, completion: str, expected: list[float]
) -> None:
    compute_score = load_extern_object("pkg://stepmark.rewards", "compute_score")
    rewards = [
        compute_score(
            data_source=row["data_source"],
            solution_str=completion,
            ground_truth=row["reward_model"]["ground_truth"],
            # verl adds what a conversation with tools came to.
            extra_info={**row["extra_info"], "num_turns": None, "rollout_reward_scores": {}},
        )
        for row in load(f"{name}.parquet")
    ]
    assert rewards == expected
