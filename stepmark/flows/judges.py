"""What the judges in the database prefer, and what they should not look at."""

import sqlalchemy as sa

from db.preferences import judged_pairs, list_judges
from stepmark.judging import JudgeReport, report_judge


def report_judges(engine: sa.Engine) -> list[JudgeReport]:
    """Reports on each model that judged pairs of solutions."""
    return [report_judge(name, model, judged_pairs(engine, id_)) for id_, name, model in list_judges(engine)]
