"""`datasets.load_dataset` on every layout: the rows come back as they were written, under the card's types."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import SMALL, golden


@pytest.mark.parametrize("name", SMALL.CASES)
def test_the_rows_are_the_golden_rows(load: Callable[[str], Any], name: str) -> None:
    assert load(name).to_list() == golden(name)


@pytest.mark.parametrize("name", ["prm_prm800k", "prm_qwen", "preference_llamafactory", "rl_verl", "cloud_cloud"])
def test_parquet_has_the_same_types_and_rows(load: Callable[[str], Any], name: str) -> None:
    lines, table = load(name), load(f"{name}.parquet")
    assert table.features == lines.features
    assert table.to_list() == golden(name)
