"""What people say of critiques: those who judged one together, or a reviewer before them."""

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.bulk import is_among
from db.models import Annotation, CritiqueJudgement

from .agreeing import AgreementTally
from .decisions import decided_critiques
from .labels import LabelFilter, agreed, are_label_data, label_refusal


class Judged(NamedTuple):
    """What is said of one critique, and by whom."""

    is_right: bool | None
    """None where those who judged it differ, or are too few, or it is right in part."""
    rule: str
    by: tuple[tuple[int | None, int], ...]
    """Each annotation with its annotator; a reviewer may have adopted nobody's."""


def judgements_of(
    session: Session,
    critique_ids: Collection[int],
    options: LabelFilter,
    *,
    more: Counter[str] | None = None,
    agreement: AgreementTally | None = None,
) -> Mapping[int, Judged]:
    """What counts of what was said of critiques, by critique; nothing of those that nobody judged who counts.

    Args:
        session: The database.
        critique_ids: Of which critiques.
        options: Whose judgements count, and of how many.
        more: Where judgements that do not count are counted, by reason.
        agreement: Told how those who judged a critique differ.
    """
    query = (
        sa.select(
            CritiqueJudgement.critique_id,
            CritiqueJudgement.judgement,
            Annotation.annotation_id,
            Annotation.annotator_id,
            label_refusal(options).label("refusal"),
        )
        .join(Annotation, Annotation.annotation_id == CritiqueJudgement.annotation_id)
        .where(
            is_among(session, CritiqueJudgement.critique_id, critique_ids),
            *are_label_data(),
        )
        .order_by(CritiqueJudgement.critique_id, Annotation.annotation_id)
    )
    rows = session.execute(query).all()
    if more is not None:
        more.update(f"judgements_{row.refusal}" for row in rows if row.refusal is not None)
    decided = {} if options.adjudicated == "ignore" else decided_critiques(session, critique_ids)
    found: dict[int, Judged] = {}
    for critique_id, group in groupby((row for row in rows if row.refusal is None), key=attrgetter("critique_id")):
        said = list(group)
        judgements = [row.judgement for row in said]
        by: list[tuple[int | None, int]] = [(row.annotation_id, row.annotator_id) for row in said]
        if agreement is not None:
            agreement.see({row.annotator_id: row.judgement for row in said}.values())
        together, rule = agreed(judgements, options), f"judgement of {len(said)}"
        if (decision := decided.get(critique_id)) is not None:
            together, rule = (decision.judgement,), "a reviewer's decision"
            by = [(decision.adopted_from_id, decision.annotator_id)]
        elif options.adjudicated == "only" or len({who for _, who in by}) < options.min_labellers:
            together = None
        is_right = {("right",): True, ("wrong",): False}.get(together or ("",))
        found[critique_id] = Judged(is_right, rule, tuple(by))
    return found
