"""Opening engines by name: what is missing is said before anything starts. Real samples: tests/vllm."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from generator.engines import open_engine
from stepmark.cli.main import app
from stepmark.errors import SettingsError

MODEL = str(Path(__file__).parents[2] / "examples" / "embedded" / "model")


def test_without_vllm_its_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name == "vllm" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(SettingsError, match=r"pip install 'stepmark\[vllm\]'"):
        open_engine("vllm", MODEL, base_url="")


def test_without_ray_its_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install 'stepmark\[ray\]'"):
        open_engine("ray", MODEL, base_url="", ray_dir=tmp_path, ray_engine="transformers")


def test_ray_needs_a_folder_and_an_engine_that_it_knows(tmp_path: Path) -> None:
    for folder, inside in ((None, "vllm"), (tmp_path, "openai")):
        with pytest.raises(SettingsError, match="--ray-dir, and --ray-engine vllm or transformers"):
            open_engine("ray", MODEL, base_url="", ray_dir=folder, ray_engine=inside)


def test_an_engine_option_without_a_value_is_a_mistake(tmp_path: Path) -> None:
    flags = ["--db", f"sqlite:///{tmp_path / 'a.db'}", "--engine", "vllm", "--engine-option", "dtype", "--model", "m"]
    CliRunner().invoke(app, ["db", "upgrade", "--db", flags[1]])
    result = CliRunner().invoke(app, ["generate", "solutions", *flags])
    assert isinstance(result.exception, SettingsError)
    assert "write it as NAME=VALUE" in str(result.exception)
