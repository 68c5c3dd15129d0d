"""Learning rate and epochs of each kind where no flag says them, and where these come from.

They are starting points for models of some billion parameters; nothing here knows the data. Models below 5 M
parameters learn at 1e-3 whatever the kind, which is what the embedded model was measured with.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .rows import Kind

TINY = 5_000_000
"""Models with fewer parameters train at `TINY_LR`, and on one thread."""

TINY_LR = 1e-3

SMALL = 1_000_000_000
"""Models with fewer parameters take twice the rate."""

LORA = 10
"""How much higher the rate of adapters is than that of all weights (Schulman et al. 2025, LoRA Without Regret)."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a kind is trained with."""

    epochs: int
    """Passes over the training split."""
    lr: float
    """Peak learning rate of all weights from 1 G parameters on."""
    source: str
    """Where these come from."""

    def rate(self, n: int, *, is_lora: bool = False) -> float:
        """Returns the peak learning rate for a model of `n` parameters.

        >>> [DEFAULTS["orm"].rate(n) for n in (490_368, 500_000_000, 7_000_000_000)]
        [0.001, 2e-05, 1e-05]
        >>> DEFAULTS["orm"].rate(7_000_000_000, is_lora=True)
        0.0001
        """
        if n < TINY:
            return TINY_LR
        return self.lr * (2 if n < SMALL else 1) * (LORA if is_lora else 1)


_PAIRS = "one epoch: Ouyang et al. 2022; the rate is ours"

DEFAULTS: dict["Kind", Defaults] = {
    "prm": Defaults(2, 1e-5, "two epochs: Lightman et al. 2023, appendix F; the rate is ours"),
    "orm": Defaults(1, 1e-5, "one epoch: Cobbe et al. 2021, Lightman et al. 2023, appendix E; the rate is ours"),
    "bt": Defaults(1, 1e-5, _PAIRS),
    "critique-rm": Defaults(1, 1e-5, _PAIRS),
    "cloud": Defaults(1, 1e-6, "CLoud, joint stage: Ankner et al. 2024; one epoch is ours"),
    "implicit-prm": Defaults(
        1, 1e-6, "the rate of DPO, Rafailov et al. 2023, whose log ratio it is; one epoch is ours"
    ),
    "judge": Defaults(1, 1e-6, "the rate of DPO, Rafailov et al. 2023; one epoch is ours"),
    "sft": Defaults(2, 1e-5, "ours"),
}
"""By kind."""

CLOUD_SFT = Defaults(1, 5e-6, "CLoud, critique stage: Ankner et al. 2024")
"""Instead, for `sft` on the critiques of a CLoud set."""


def defaults_of(kind: "Kind", config: str | None = None) -> Defaults:
    """Returns what a kind is trained with on this folder of a set.

    >>> defaults_of("sft").epochs, defaults_of("sft", "cloud").epochs
    (2, 1)
    """
    return CLOUD_SFT if (kind, config) == ("sft", "cloud") else DEFAULTS[kind]


def in_words(kind: "Kind") -> str:
    """Says for `--help` what happens without `--epochs` and `--lr`.

    >>> print(in_words("cloud"))
    Without flags: 1 epoch at a rate of 1e-06 (CLoud, joint stage: Ankner et al. 2024; one epoch is ours). Twice the \
rate below 1 G parameters, ten times with --lora-rank; 0.001 below 5 M.
    """
    usual = f"{_numbers(DEFAULTS[kind])} ({DEFAULTS[kind].source})"
    if kind == "sft":
        usual += f"; with --config cloud {_numbers(CLOUD_SFT)} ({CLOUD_SFT.source})"
    return (
        f"Without flags: {usual}. Twice the rate below 1 G parameters, ten times with --lora-rank; "
        f"{TINY_LR:g} below 5 M."
    )


def _numbers(of: Defaults) -> str:
    return f"{of.epochs} epoch{'s' * (of.epochs > 1)} at a rate of {of.lr:g}"
