"""LLaMA-Factory's own reading: the description beside the set, and the converter of ShareGPT rows."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import SMALL, Exported, bare, golden

bare("llamafactory", "llamafactory.data", "llamafactory.extras")

from llamafactory.data.converter import get_dataset_converter  # noqa: E402
from llamafactory.data.parser import get_dataset_list  # noqa: E402


@pytest.mark.parametrize(
    "name",
    [
        "preference_llamafactory",
        "critique_preference_llamafactory",
        "orm_llamafactory",
        "sft_llamafactory",
        "critique_llamafactory",
    ],
)
def test_every_row_is_read(exported: Exported, load: Callable[[str], Any], name: str) -> None:
    folder = exported(name) / SMALL.CASES[name].config
    (described,) = get_dataset_list(["train"], str(folder))
    assert (folder / described.dataset_name).is_file()
    convert = get_dataset_converter(described.formatting, described, None)
    for row, expected in zip(load(name), golden(name), strict=True):
        read = convert(row)
        asked, answered = expected["conversations"][0]["value"], expected["conversations"][1:]
        assert read["_prompt"] == [{"role": "user", "content": asked}]
        if described.ranking:
            texts = [expected["chosen"]["value"], expected["rejected"]["value"]]
        elif described.kto_tag:
            # A pair with an empty text, on the side that the tag says.
            text = answered[0]["value"]
            texts = [text, ""] if expected["kto_tag"] else ["", text]
        else:
            texts = [answered[0]["value"]]
        assert read["_response"] == [{"role": "assistant", "content": text} for text in texts]
