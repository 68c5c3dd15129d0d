"""What critics are asked: the one place where a critic's prompt is filled, for those who sample and who train.

The kinds of critics stand in `generator.critiques.solutions`. A judge's steps are paragraphs numbered from 0; all
others get the solution rendered.
"""

from collections.abc import Mapping, Sequence

from stepmark.steps import render_solution
from stepmark.verdicts import numbered_paragraphs

from . import PROMPTS, Prompt

FOLDER = PROMPTS / "critiques"
PLACES: Mapping[str, tuple[str, ...]] = {
    "judge": ("problem", "steps"),
    "variant": ("problem", "steps", "variant"),
    "concrete": ("problem", "steps"),
    "self": ("problem", "steps"),
    "reference": ("problem", "steps", "reference"),
}
"""The kinds of critic of solutions, and the places that the prompt of each must have."""
META_PLACES = ("problem", "steps", "critique", "verdict")
"""The places of a prompt about a critique."""


def question_to_critic(
    kind: str,
    prompt: Prompt,
    *,
    problem: str,
    steps: Sequence[str],
    answer: str | None,
    variant: str | None = None,
    reference: str | None = None,
) -> str:
    r"""What a critic of this kind is asked about a solution.

    >>> question_to_critic("judge", Prompt("p", "{problem}: {steps}"), problem="9 + 7?", steps=["16"], answer="16")
    '9 + 7?: <paragraph_0>\n16\n</paragraph_0>'
    """
    rendered = numbered_paragraphs(steps) if kind == "judge" else render_solution(steps, answer)
    places = {"problem": problem, "steps": rendered}
    if variant is not None:
        places["variant"] = variant
    if reference is not None:
        places["reference"] = reference
    return prompt.fill(places)


def question_on_critique(
    prompt: Prompt,
    *,
    problem: str,
    steps: Sequence[str],
    answer: str | None,
    critique: str,
    verdict: str,
    applied_to: str | None,
) -> str:
    """What is asked about a critique; `applied_to` is the variant that it was applied to."""
    return prompt.fill(
        {
            "problem": problem,
            "steps": render_solution(steps, answer),
            "critique": critique,
            "verdict": verdict,
            "applied_to": ""
            if applied_to is None
            else f"\n[The critique applied it to this problem]\n\n{applied_to}\n",
        }
    )
