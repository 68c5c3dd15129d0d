"""verl's RLHFDataset on our Parquet."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from .conftest import Exported, bare, golden

bare("verl", "verl.utils", "verl.utils.dataset")

from verl.utils.dataset.rl_dataset import RLHFDataset  # noqa: E402


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
