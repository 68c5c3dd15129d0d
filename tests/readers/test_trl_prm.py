"""The process reward trainer that TRL had up to 1.13, on our step labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import golden
from .models import step_model

prm = pytest.importorskip("trl.experimental.prm", reason="TRL has it up to 1.13 only")


@pytest.mark.parametrize("name", ["prm_trl", "prm_alternatives"])
def test_each_label_stands_at_the_end_of_its_step(load: Callable[[str], Any], tokenizer: Any, name: str) -> None:
    for row, expected in zip(load(name), golden(name), strict=True):
        read = prm.PRMTrainer.tokenize_row(row, tokenizer, "\n", None, None, False, False)
        at = [place for place, label in enumerate(read["labels"]) if label != -100]
        assert [bool(read["labels"][place]) for place in at] == expected["labels"]
        assert tokenizer.decode(read["input_ids"]) == expected["prompt"] + "".join(
            f"{completion}\n" for completion in expected["completions"]
        )
        ends = [tokenizer.decode(read["input_ids"][: place + 1]) for place in at]
        assert all(
            text.endswith(f"{completion}\n") for text, completion in zip(ends, expected["completions"], strict=True)
        )


def test_prm_trainer(load: Callable[[str], Any], tokenizer: Any, tmp_path: Path) -> None:
    trainer = prm.PRMTrainer(
        step_model(tokenizer),
        prm.PRMConfig(
            output_dir=str(tmp_path),
            max_steps=1,
            report_to=[],
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=load("prm_trl"),
        processing_class=tokenizer,
    )
    assert trainer.train().global_step == 1
