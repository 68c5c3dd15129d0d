"""What the judges in the database prefer, how far that is what people prefer, and what they should not look at."""

import sqlalchemy as sa

from db.preferences import given_choices, judged_pairs, list_judges
from db.verdicts import judged_critiques
from stepmark.agreement.coefficient import RESAMPLES
from stepmark.agreement.judges import ChoiceReport, CritiqueJudgeReport, compare_choices, report_critique_judges
from stepmark.judging import JudgeReport, report_judge


def report_judges(engine: sa.Engine) -> list[JudgeReport]:
    """Reports on each model that judged pairs of solutions."""
    return [report_judge(name, model, judged_pairs(engine, id_)) for id_, name, model in list_judges(engine)]


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
