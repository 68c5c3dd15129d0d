"""Drawing tokens so that a sample depends on its own seed alone, and not on the rows that stand beside it.

Sampling at temperature T is `argmax(logits + T * gumbel)`. The noise is a hash of the sample's seed, the token's
position and the token, so it is the same in any batch, on any device. What is left is rounding: a matrix product
over another number of rows differs in the last bits. A choice that rounding could turn is marked uncertain, and
the caller computes that row's logits again on their own.

Shapes: `B` rows, `V` vocabulary.
"""

import hashlib

import torch
from torch import Tensor

TIE = 1e-4
"""Logits closer than this may change places by rounding (float32; measured differences are below 1e-5)."""

_FACTORS = (-2048144789, -1028477387)  # 0x85EBCA6B and 0xC2B2AE35, of MurmurHash3's finaliser, as signed 32 bits


def noise_key(payload_hash: str, sample_index: int) -> tuple[int, int]:
    """The seed of one sample's noise: two signed 32-bit integers.

    >>> noise_key("0" * 32, 0) == noise_key("0" * 32, 0), noise_key("0" * 32, 0) == noise_key("0" * 32, 1)
    (True, False)
    """
    digest = hashlib.blake2b(f"{payload_hash}/{sample_index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], signed=True), int.from_bytes(digest[4:], signed=True)


def gumbel_noise(keys: Tensor, position: int, vocabulary: int) -> Tensor:
    """Standard Gumbel noise, a pure function of key, position and token.

    Args:
        keys: [B, 2], int32, each row from `noise_key`.
        position: 0-based number of the token to be drawn.
        vocabulary: V.

    Returns:
        [B, V], float32.
    """
    tokens = torch.arange(vocabulary, dtype=torch.int32, device=keys.device)
    mixed = _mix(tokens ^ _mix(keys[:, :1] ^ _signed(position * 0x9E3779B9)))
    mixed = _mix(mixed.bitwise_xor_(keys[:, 1:]))
    uniform = mixed.bitwise_and_(0xFFFFFF).float().add_(0.5).mul_(2.0**-24)
    return uniform.log_().neg_().log_().neg_()


def choose(logits: Tensor, noise: Tensor, *, temperature: Tensor, top_p: Tensor) -> tuple[Tensor, Tensor]:
    """Draws one token for each row.

    The nucleus of `top_p` holds the likeliest tokens whose probabilities reach `top_p`, and those that tie with
    the last of them.

    Args:
        logits: [B, V], float32.
        noise: [B, V], from `gumbel_noise`.
        temperature: [B]; 0 takes the likeliest token.
        top_p: [B]; 1 leaves every token in.

    Returns:
        The tokens [B], and whether each choice is certain [B]: it would be the same if any logit moved by TIE / 2.
    """
    scores = logits + temperature[:, None] * noise
    if bool((top_p < 1).any()):
        ordered = logits.sort(dim=-1, descending=True).values
        scaled = ordered / temperature.clamp(min=1e-6)[:, None]
        before = scaled.softmax(-1).cumsum(-1).roll(1, -1)
        before[:, 0] = 0.0

        def least(share: Tensor) -> Tensor:
            last = (before < share[:, None]).sum(-1, keepdim=True).clamp(min=1) - 1
            return ordered.gather(-1, last)

        whole = (top_p >= 1)[:, None]

        def inside(floor: Tensor) -> Tensor:
            return scores.masked_fill((logits < floor) & ~whole, -torch.inf)

        # Rounding moves the nucleus somewhere between the narrow and the wide one.
        tokens = inside(least(top_p) - TIE).argmax(-1)
        narrow = inside(least(top_p - TIE)).argmax(-1)
        wide = inside(least(top_p + TIE) - 2 * TIE).topk(2, dim=-1)
        is_certain = (wide.values[:, 0] - wide.values[:, 1] > TIE) & (wide.indices[:, 0] == narrow)
        return tokens, is_certain
    best = scores.topk(2, dim=-1)
    return best.indices[:, 0], best.values[:, 0] - best.values[:, 1] > TIE


def choose_alone(logits: Tensor, noise: Tensor, *, temperature: float, top_p: float) -> int:
    """Draws the token of one row [V] whose logits were computed on their own, by the same rule as `choose`."""
    scores = logits + temperature * noise
    if top_p < 1:
        ordered = logits.sort(descending=True).values
        before = (ordered / max(temperature, 1e-6)).softmax(-1).cumsum(-1).roll(1)
        before[0] = 0.0
        last = max(int((before < top_p).sum()), 1) - 1
        scores = scores.masked_fill(logits < ordered[last] - TIE, -torch.inf)
    return int(scores.argmax())


def _signed(value: int) -> int:
    """The low 32 bits of an integer, as a signed one."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def _mix(value: Tensor) -> Tensor:
    """MurmurHash3's 32-bit finaliser on int32; its shifts are logical, so the sign bits are masked off."""
    value = value ^ ((value >> 16) & 0xFFFF)
    value = value.mul_(_FACTORS[0])
    value ^= (value >> 13) & 0x7FFFF
    value = value.mul_(_FACTORS[1])
    value ^= (value >> 16) & 0xFFFF
    return value
