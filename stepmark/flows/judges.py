"""What the judges in the database prefer, how far that is what people prefer, and what they should not look at."""

from typing import Any

import sqlalchemy as sa

from db.preferences import given_choices, judged_pairs, list_judges
from db.verdicts import judged_critiques
from stepmark.agreement.coefficient import RESAMPLES
from stepmark.agreement.judges import ChoiceReport, CritiqueJudgeReport, compare_choices, report_critique_judges
from stepmark.errors import InputError
from stepmark.judging import JudgedPair, JudgeReport, report_judge, share_for_first
from trainer.audit.scored import AuditSettings
from trainer.audit.swap import PairInOrders, audit_judge


def report_judges(engine: sa.Engine) -> list[JudgeReport]:
    """Reports on each model that judged pairs of solutions."""
    return [report_judge(name, model, judged_pairs(engine, id_)) for id_, name, model in list_judges(engine)]


def audit_judges(engine: sa.Engine, settings: AuditSettings | None = None) -> dict[str, dict[str, Any]]:
    """Audits each model that judged pairs of solutions, by what it said in both orders; reports by name.

    Raises:
        InputError: No model has judged a pair.
    """
    found = {
        name: audit_judge((_in_orders(pair) for pair in judged_pairs(engine, id_)), settings)
        for id_, name, _ in list_judges(engine)
    }
    if not found:
        raise InputError("no model has judged a pair yet; start with `stepmark generate preferences`")
    return found


def _in_orders(pair: JudgedPair) -> PairInOrders:
    return PairInOrders(
        pair.problem,
        share_for_first(pair.judgement.forth, a_first=True),
        share_for_first(pair.judgement.back, a_first=False),
        pair.lengths,
        pair.outcomes,
    )


def compare_judges(
    engine: sa.Engine, *, source: str | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> ChoiceReport:
    """Sets all who chose between solutions side by side, judges and people.

    Args:
        engine: The database.
        source: Only of problems or solutions of this source; a pattern may hold `*`.
        resamples: Draws of problems for the intervals of kappa; 0: none.
        seed: Of the draws.

    Raises:
        InputError: No source is named so.
    """
    return compare_choices(given_choices(engine, source=source), resamples=resamples, seed=seed)


def judges_of_critiques(
    engine: sa.Engine, *, source: str | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> list[CritiqueJudgeReport]:
    """Holds models that judged critiques against people who judged the same; arguments as of `compare_judges`."""
    return report_critique_judges(judged_critiques(engine, source=source), resamples=resamples, seed=seed)
