"""What a run may use, and what it has used: tokens and money, reserved before a question is asked.

A budget is hard: a question is put only if the run stays within it even where every sample of every question in
flight is as long as its limit. What was reserved and not used comes back with the answer.
"""

import math
from dataclasses import dataclass

from db.runs import Usage
from stepmark.engine import Completion, Request
from stepmark.errors import SettingsError

_MILLION = 1_000_000
_TOKENS_PER_CHAR = 0.5
"""Reserved for a prompt while no answer has said how many tokens one took; English has about a quarter."""
_TOKENS_AROUND = 32
"""Reserved beside, for what a chat template adds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Prices of a model, and budgets of a run."""

    usd_per_million_prompt_tokens: float | None = None
    usd_per_million_completion_tokens: float | None = None
    budget_usd: float | None = None
    """Money that the run may cost, all calls together."""
    budget_tokens: int | None = None
    """Tokens that the run may use, prompts and samples, all calls together."""

    def __post_init__(self) -> None:
        """Refuses a budget that could not be kept.

        Raises:
            SettingsError: A budget in money without prices, or a negative number.
        """
        prices = (self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)
        for value in (*prices, self.budget_usd, self.budget_tokens):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise SettingsError(f"prices and budgets are 0 or more, not {value}")
        if (prices[0] is None) != (prices[1] is None):
            raise SettingsError("a price is known of prompt tokens and of sampled tokens, or of neither: give both")
        if self.budget_usd is not None and prices[0] is None:
            raise SettingsError(
                f"a budget of {self.budget_usd:g} USD can only be kept where prices are known: "
                "give --price-in and --price-out (USD per million tokens), or a budget in tokens"
            )

    @property
    def prices(self) -> "Limits":
        """The same prices without a budget."""
        return Limits(self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)


NO_LIMITS = Limits()


class Meter:
    """Counts what one run uses, and reserves what it may."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._used_tokens = 0
        self._used_usd = 0.0
        self._reserved: dict[str, tuple[int, float]] = {}
        """Tokens and money of the questions in flight, by key."""
        self._reserved_tokens = 0
        self._reserved_usd = 0.0
        self._tokens_per_char: float | None = None
        """The most that an answer has shown so far."""

    def start_from(self, usage: Usage) -> None:
        """Counts in what was used before: by earlier calls of the run, by other runs under the same budget."""
        self._used_tokens += usage.n_prompt_tokens + usage.n_completion_tokens
        self._used_usd += usage.cost_usd

    def most_tokens(self, request: Request) -> tuple[int, int]:
        """Tokens that a request may use at most: of its prompt (about), and of its samples."""
        chars = sum(len(message.content) for message in request.messages)
        per_char = self._tokens_per_char or _TOKENS_PER_CHAR
        prompt = math.ceil(chars * per_char) + _TOKENS_AROUND * len(request.messages)
        return prompt, len(request.sample_indices) * request.sampling.max_tokens

    def price(self, n_prompt_tokens: int, n_completion_tokens: int) -> float | None:
        """What so many tokens cost in USD; None where the price is unknown."""
        per_prompt = self._limits.usd_per_million_prompt_tokens
        per_completion = self._limits.usd_per_million_completion_tokens
        if per_prompt is None or per_completion is None:
            return None
        return (n_prompt_tokens * per_prompt + n_completion_tokens * per_completion) / _MILLION

    def cost(self, completion: Completion) -> float | None:
        """What an answer cost: as the server says, else by the prices; None where neither is known."""
        if completion.cost_usd is not None:
            return completion.cost_usd
        if completion.n_prompt_tokens is None or completion.n_completion_tokens is None:
            return None
        return self.price(completion.n_prompt_tokens, completion.n_completion_tokens)

    def refusal(self, request: Request) -> str | None:
        """Says why a request must not be put now; None where it may."""
        tokens, usd = self._most(request)
        budget = self._limits.budget_tokens
        if budget is not None and self._used_tokens + self._reserved_tokens + tokens > budget:
            return (
                f"the budget of {budget:,} tokens is reached: {self._used_tokens:,} are used, "
                f"and the next question may take {tokens:,}"
            )
        budget_usd = self._limits.budget_usd
        if budget_usd is not None and self._used_usd + self._reserved_usd + usd > budget_usd:
            return (
                f"the budget of {budget_usd:g} USD is reached: {self._used_usd:.4f} are spent, "
                f"and the next question may cost {usd:.4f}"
            )
        return None

    def reserve(self, request: Request) -> None:
        """Sets aside what a request that is put now may use."""
        tokens, usd = self._reserved[request.key] = self._most(request)
        self._reserved_tokens += tokens
        self._reserved_usd += usd

    def settle(self, request: Request, completion: Completion) -> None:
        """Frees what was set aside, and counts what was used."""
        tokens, usd = self._reserved.pop(request.key)
        self._reserved_tokens -= tokens
        self._reserved_usd -= usd
        self._used_tokens += (completion.n_prompt_tokens or 0) + (completion.n_completion_tokens or 0)
        self._used_usd += self.cost(completion) or 0.0
        chars = sum(len(message.content) for message in request.messages)
        if completion.n_prompt_tokens is not None and chars >= 200:
            seen = completion.n_prompt_tokens / chars
            self._tokens_per_char = max(seen, self._tokens_per_char or 0.0)

    def _most(self, request: Request) -> tuple[int, float]:
        prompt, completion = self.most_tokens(request)
        return prompt + completion, self.price(prompt, completion) or 0.0
