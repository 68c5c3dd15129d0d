"""The defaults of each kind stand in the guide and in `--help`, and have the values that their sources give."""

from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from stepmark.cli import train
from trainer.defaults import CLOUD_SFT, DEFAULTS, defaults_of
from trainer.rows import Kind

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "train.md"


def test_every_kind_has_defaults_and_the_guide_has_them() -> None:
    assert set(DEFAULTS) == set(get_args(Kind))
    guide = GUIDE.read_text(encoding="utf-8")
    for kind, of in [*DEFAULTS.items(), ("sft --config cloud", CLOUD_SFT)]:
        assert f"| {kind} | {of.epochs} | {of.lr:g} | {of.source} |" in guide


def test_cloud_learns_at_the_rates_of_its_paper_and_adapters_ten_times_as_fast() -> None:
    """Ankner et al. 2024: 5e-6 for the critiques, 1e-6 for the joint stage, at 8 G parameters."""
    n = 8_000_000_000
    assert (defaults_of("sft", "cloud").rate(n), defaults_of("cloud").rate(n)) == (5e-6, 1e-6)
    assert defaults_of("cloud").rate(n, is_lora=True) == pytest.approx(1e-5)
    assert {defaults_of(kind).rate(490_368) for kind in get_args(Kind)} == {1e-3}


@pytest.mark.parametrize("kind", get_args(Kind))
def test_help_says_what_happens_without_flags(kind: Kind) -> None:
    text = " ".join(CliRunner().invoke(train.app, [kind, "--help"]).output.split())
    n = DEFAULTS[kind].epochs
    assert f"Without flags: {n} epoch{'s' * (n > 1)} at a rate of {DEFAULTS[kind].lr:g} (" in text
