"""Drawing tokens: the right distribution, the same draw in any batch, and no certain choice that rounding turns."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.engines.sampling import TIE, choose, choose_alone, gumbel_noise, noise_key


def _keys(n: int) -> torch.Tensor:
    return torch.tensor([noise_key("f" * 32, index) for index in range(n)], dtype=torch.int32)


def _draw(logits: torch.Tensor, temperature: float, top_p: float, position: int = 0) -> torch.Tensor:
    noise = gumbel_noise(_keys(len(logits)), position, logits.shape[1])
    n = len(logits)
    return choose(logits, noise, temperature=torch.full((n,), temperature), top_p=torch.full((n,), top_p))[0]


def test_noise_has_the_mean_and_the_variance_of_a_gumbel_distribution() -> None:
    noise = gumbel_noise(_keys(2000), 5, 500).double()
    # Standard error of the mean of a million draws: 0.0013; of the variance about 0.004.
    assert abs(noise.mean().item() - 0.5772) < 0.006
    assert abs(noise.var().item() - math.pi**2 / 6) < 0.02


def test_noise_of_neighbouring_samples_positions_and_tokens_is_not_correlated() -> None:
    here = gumbel_noise(_keys(2000), 5, 500)
    for other in (here.roll(1, 0), here.roll(1, 1), gumbel_noise(_keys(2000), 6, 500)):
        correlation = torch.corrcoef(torch.stack([here.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation.item()) < 0.006


def test_noise_of_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    assert torch.equal(gumbel_noise(_keys(9), 3, 50)[4:5], gumbel_noise(_keys(9)[4:5], 3, 50))


def test_tokens_come_as_often_as_their_probabilities_say() -> None:
    n = 40_000
    for temperature in (1.0, 0.5):
        logits = torch.tensor([0.5, 0.25, 0.15, 0.1]).log().expand(n, 4)
        expected = (logits[0] / temperature).softmax(0)
        counts = torch.bincount(_draw(logits, temperature, 1.0), minlength=4)
        chi_square = ((counts - n * expected) ** 2 / (n * expected)).sum().item()
        assert chi_square < 16.3  # three degrees of freedom, one in a thousand


def test_the_nucleus_leaves_out_the_unlikely_and_keeps_the_ratios_of_the_rest() -> None:
    n = 40_000
    counts = torch.bincount(_draw(torch.tensor([0.15, 0.5, 0.1, 0.25]).log().expand(n, 4), 1.0, 0.7), minlength=4)
    assert counts[[0, 2]].tolist() == [0, 0]
    assert abs(counts[1].item() / n - 2 / 3) < 0.01


def test_temperature_zero_takes_the_likeliest_token() -> None:
    logits = torch.randn(200, 30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(_draw(logits, 0.0, 1.0), logits.argmax(-1))
    assert torch.equal(_draw(logits, 0.0, 0.5), logits.argmax(-1))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    temperature=st.sampled_from([0.0, 0.3, 1.0]),
    top_p=st.sampled_from([1.0, 0.9, 0.3]),
    grain=st.sampled_from([0.0, 1e-5, 1e-3, 0.1]),
)
def test_a_certain_choice_withstands_rounding(seed: int, temperature: float, top_p: float, grain: float) -> None:
    """Logits lie on a grid of `grain`, so that ties and near ties are common; 0 makes them all equal."""
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(16, 12, generator=generator) * 10).round() * grain
    noise = gumbel_noise(_keys(16), 0, 12)
    rows = {"temperature": torch.full((16,), temperature), "top_p": torch.full((16,), top_p)}
    tokens, is_certain = choose(logits, noise, **rows)
    for _ in range(4):
        moved = logits + (torch.rand(16, 12, generator=generator) - 0.5) * TIE / 4
        again, _ = choose(moved, noise, **rows)
        alone = torch.tensor(
            [
                choose_alone(row, dice, temperature=temperature, top_p=top_p)
                for row, dice in zip(moved, noise, strict=True)
            ]
        )
        assert torch.equal(again[is_certain], tokens[is_certain])
        assert torch.equal(alone[is_certain], tokens[is_certain])
