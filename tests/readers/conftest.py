"""Every set in every layout, exported from the small database, for the tools that read it; `make test-readers`.

The tools' own code reads the files. Of those that need a GPU library or another transformers to be imported whole,
the modules that read data are loaded without the rest of their package (`bare`).
"""

import importlib.util
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from db.connect import open_database
from exports.formats.layouts import layout_of
from exports.queries.exporting import Target, export_set

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "layouts"
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = ["<pad>", "</s>", "<|im_start|>", "<|im_end|>", "ки", "<extra_0>", "<|prm_label|>"]

Exported = Callable[[str], Path]


def _small_database() -> Any:
    # By its path: a package in the tools' environment is called `tests` too.
    spec = importlib.util.spec_from_file_location("small_database", ROOT / "tests" / "small_database.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["small_database"] = module
    spec.loader.exec_module(module)
    return module


SMALL = _small_database()


def bare(*names: str) -> None:
    """Makes packages importable without running what their `__init__` does; parents first."""
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None, f"{name} is not installed; run `make test-readers`"
        module = types.ModuleType(name)
        module.__path__ = list(spec.submodule_search_locations or [])
        sys.modules[name] = module


def golden(name: str) -> list[dict[str, Any]]:
    """The rows that a set should have."""
    return [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The folder of a set, by the name of its case; verl's and a name that ends in `.parquet` are Parquet."""
    root = tmp_path_factory.mktemp("sets")
    engine = open_database(f"sqlite:///{root / 'small.db'}", create=True)
    SMALL.fill(engine)

    def folder(name: str) -> Path:
        path = root / name
        if not path.exists():
            case = SMALL.CASES[name.removesuffix(".parquet")]
            target = Target(path, "parquet" if name.endswith(".parquet") else "jsonl", shares={"train": 1.0})
            export_set(engine, target, case.wanted(), layout=layout_of(case.config, case.layout))
        return path

    return folder


@pytest.fixture(scope="session")
def load(exported: Exported) -> Callable[[str], Any]:
    """A set as `datasets.load_dataset` gives it to the trainers."""
    from datasets import load_dataset

    def loaded(name: str) -> Any:
        config = SMALL.CASES[name.removesuffix(".parquet")].config
        return load_dataset(str(exported(name)), config, split="train")

    return loaded


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, and each mark as one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=MARKS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", chat_template=CHAT, model_max_length=4096
    )
