"""One audit of one reward model: all checks, at one confidence for the whole report.

Fourteen intervals of 95 % would say something false of one clean model in two. So each interval is made wider, to
1 - (1 - level) / m for m effects (Bonferroni): a report on a model without a fault says nothing at all in 95 %.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from trainer.evaluate.bootstrap import Estimate, ratio
from trainer.evaluate.comparison import Scorer
from trainer.evaluate.items import Item

from .checks import checks
from .finding import Finding, Skipped
from .scored import AuditSettings, ScoredItems

_EFFECTS_OF = {"length": 2, "prompt": 2}


def audit(model: Scorer, items: Iterable[Item], settings: AuditSettings | None = None) -> dict[str, Any]:
    """Runs every check; returns the report of one model.

    Args:
        model: The model, of any kind.
        items: Solutions with outcome, several of each problem, right and wrong; step labels where there are any.
        settings: How.

    Returns:
        `accuracy` (the chance that a right solution of a problem scores above a wrong one), `findings`, `said` (the
        sentences), `skipped` (checks that could not be made, with the reason) and `counts`.

    Raises:
        InputError: There is too little to audit.
    """
    settings = settings or AuditSettings()
    made = checks(settings.concepts)
    n_effects = sum(_EFFECTS_OF.get(name, 1) for name in made)
    level = 1 - (1 - settings.level) / n_effects
    given = list(items)
    scored = ScoredItems.of(model, given, settings, level=level)
    findings: list[Finding] = []
    skipped: list[Skipped] = []
    for check in made.values():
        for one in check(scored):
            if isinstance(one, Skipped):
                skipped.append(one)
            else:
                findings.append(one)
    accuracy = _accuracy(scored)
    return {
        "kind": model.kind,
        "unit": "different solutions",
        "accuracy": accuracy.as_json(),
        "said": [one.sentence for one in findings if one.sentence is not None],
        "findings": [one.as_json() for one in findings],
        "skipped": [{"check": one.check, "reason": one.reason} for one in skipped],
        "counts": {"read": len(given), "kept": len(scored.items), "dropped": dict(scored.dropped)},
        "n_problems": scored.n_problems,
        "settings": {
            "level": settings.level,
            "level_of_one_interval": level,
            "n_boot": settings.n_boot,
            "seed": settings.seed,
            "how": settings.how if model.kind == "prm" else None,
        },
    }


def audit_models(
    models: Mapping[str, Scorer], items: Iterable[Item], settings: AuditSettings | None = None
) -> dict[str, Any]:
    """Audits several models on the same solutions; returns their reports by name."""
    given = list(items)
    return {"audit": {name: audit(model, given, settings) for name, model in models.items()}}


def _accuracy(scored: ScoredItems) -> Estimate:
    return scored.estimate(scored.aucs(scored.scores), lambda totals: ratio(totals[..., 0], totals[..., 1]))
