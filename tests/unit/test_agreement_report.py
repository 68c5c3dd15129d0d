"""Which step labels count, and the report on them, from answers written out by hand."""

from collections.abc import Sequence

import pytest

from stepmark.agreement import Coefficient
from stepmark.agreement.labels import LabelledSolutions, StepAnnotation, StepLabel, step_columns
from stepmark.agreement.report import AgreementReport, TwoWay, report_agreement

ANN, BEN, CEM, GOLD = 11, 12, 13, 20
NAMES = {ANN: "annotator-1", BEN: "annotator-2", CEM: "annotator-3", GOLD: "gold"}

Answer = tuple[int, int, str, str, Sequence[int | None]]
"""Solution, annotator, mode, finish reason, labels."""

ANSWERS: list[Answer] = [
    # Solution 1: Ann and Ben differ on step 1, Cem stops at step 0; Ben goes on after his error, as his mode allows.
    (1, ANN, "first_error", "solution", (1, 1, 1)),
    (1, BEN, "all_steps", "found_error", (1, -1, 0)),
    (1, CEM, "first_error", "found_error", (-1,)),
    (1, GOLD, "first_error", "found_error", (1, -1)),
    # Solution 2: one who went on where nothing was asked, one who gave up, one who skipped.
    (2, ANN, "first_error", "found_error", (1, -1, -1)),
    (2, BEN, "first_error", "give_up", (1, None)),
    (2, CEM, "first_error", "skipped", ()),
    # Solution 3: Ann alone, twice; the second time she sees an error, one step later.
    (3, ANN, "first_error", "found_error", (1, 0, -1)),
    (3, ANN, "first_error", "found_error", (1, 1, 1, -1)),
    # Solution 4: a broken problem, and somebody who gave up at once.
    (4, BEN, "first_error", "bad_problem", ()),
    (4, CEM, "first_error", "give_up", ()),
]


def chunk_of(answers: Sequence[Answer], *, first_id: int = 1) -> LabelledSolutions:
    annotations, labels = [], []
    for id_, (solution, annotator, mode, reason, said) in enumerate(answers, start=first_id):
        error = list(said).index(-1) if -1 in said else None
        source = "set/a" if solution < 3 else "set/b"
        annotations.append(StepAnnotation(id_, solution, annotator, source, mode, reason, error))
        labels += [
            StepLabel(id_, step, label, is_unsure=label == 0) for step, label in enumerate(said) if label is not None
        ]
    return LabelledSolutions(annotations, list(reversed(labels)))


def test_the_latest_answer_counts_as_far_as_it_was_asked_for() -> None:
    found = step_columns(chunk_of(ANSWERS))
    rows = zip(*(found.solution_id, found.step_index, found.annotator_id, found.label, found.is_unsure), strict=True)
    assert [tuple(map(int, row)) for row in rows] == [
        (1, 0, ANN, 1, 0),
        (1, 0, BEN, 1, 0),
        (1, 0, CEM, -1, 0),
        (1, 0, GOLD, 1, 0),
        (1, 1, ANN, 1, 0),
        (1, 1, BEN, -1, 0),
        (1, 1, GOLD, -1, 0),
        (1, 2, ANN, 1, 0),
        (1, 2, BEN, 0, 1),
        (2, 0, ANN, 1, 0),
        (2, 0, BEN, 1, 0),
        (2, 1, ANN, -1, 0),
        (3, 0, ANN, 1, 0),
        (3, 1, ANN, 1, 0),
        (3, 2, ANN, 1, 0),
        (3, 3, ANN, -1, 0),
    ]
    assert found.again.tolist() == [[ANN, 1, 1], [ANN, 0, 1], [ANN, -1, 1]]
    assert found.first_errors.tolist() == [
        [1, ANN, -1],
        [1, BEN, 1],
        [1, CEM, 0],
        [1, GOLD, 1],
        [2, ANN, 1],
        [3, ANN, 3],
    ]
    assert found.n_undecided == 1  # Ben, who gave up on solution 2
    assert found.n_annotations == 11
    assert found.dropped_annotations == {"skipped": 1, "bad_problem": 1, "no labels": 1}
    assert found.dropped_labels == {"after the first error": 1, "earlier answer": 3}


@pytest.fixture(params=["one chunk", "a chunk for each solution"])
def report(request: pytest.FixtureRequest) -> AgreementReport:
    chunks = [chunk_of(ANSWERS)]
    if request.param != "one chunk":
        parts = [[one for one in ANSWERS if one[0] == solution] for solution in (1, 2, 3, 4)]
        chunks = [chunk_of(part, first_id=100 * number) for number, part in enumerate(parts)]
    return report_agreement(chunks, NAMES, gold_id=GOLD, by_source=True, resamples=20)


def test_the_report_is_about_steps_with_two_labellers(report: AgreementReport) -> None:
    total = report.total
    assert (total.n_labellers, total.n_solutions, total.n_steps, total.n_shared) == (3, 3, 9, 4)
    assert total.n_labels == {-1: 4, 0: 1, 1: 9}
    # Steps of solution 1: two of six ordered pairs agree, none, none; step 0 of solution 2: all.
    assert total.raw.value == pytest.approx((1 / 3 + 0 + 0 + 1) / 4)
    assert (total.raw.n_units, total.alpha.n_units) == (4, 4)
    # Matches 1/3 * 3/2 * ... : of 9 paired labels 6 are +1, 1 is 0, 2 are -1; nominal D_o = 9 - (1 + 2).
    assert total.alpha_nominal.value == pytest.approx(1 - 8 * 6 / (81 - 36 - 1 - 4))
    first = total.first_errors
    assert (first.n_solutions, first.n_single, total.n_undecided) == (1, 2, 1)  # none, 1 and 0 on solution 1
    assert (first.exact.value, first.within_one.value) == (0, pytest.approx(1 / 3))
    assert (report.annotations.n_read, report.annotations.n_kept) == (11, 8)
    assert (report.labels.n_read, report.labels.n_kept) == (20, 16)


def test_each_labeller_stands_beside_the_others_gold_and_itself(report: AgreementReport) -> None:
    ann, ben, cem = report.annotators
    assert [one.annotator for one in report.annotators] == ["annotator-1", "annotator-2", "annotator-3"]
    assert [(one.n_labels, one.n_unsure) for one in report.annotators] == [(9, 0), (4, 1), (1, 0)]
    assert [(one.others.n, one.others.raw) for one in report.annotators] == [(5, 2 / 5), (5, 2 / 5), (2, 0)]
    assert [(one.gold.n, one.gold.raw) for one in report.annotators] == [(2, 1 / 2), (2, 1), (1, 0)]
    assert (ann.itself.n, ann.itself.raw) == (3, 1 / 3)
    assert ben.itself == cem.itself == TwoWay(0, None, None)
    assert ben.gold.ac2 == 1
    assert {pair.annotators: (pair.agreement.n, pair.agreement.raw) for pair in report.pairs} == {
        ("annotator-1", "annotator-2"): (4, 1 / 2),
        ("annotator-1", "annotator-3"): (1, 0),
        ("annotator-2", "annotator-3"): (1, 0),
    }


def test_sources_are_reported_apart(report: AgreementReport) -> None:
    assert list(report.by_source) == ["set/a", "set/b"]
    a, b = report.by_source.values()
    assert (a.n_solutions, a.n_shared, a.n_labellers) == (2, 4, 3)
    assert a.raw.value == report.total.raw.value
    assert (b.n_solutions, b.n_steps, b.n_shared, b.n_labellers) == (1, 4, 0, 1)
    assert b.alpha == b.first_errors.exact == Coefficient(None, 0, because="no unit has two labels")


def test_nothing_said_is_a_report_without_figures() -> None:
    report = report_agreement([], {}, by_source=True)
    assert (report.total.n_steps, report.annotators, report.pairs, report.by_source) == (0, [], [], {})
    assert report.total.alpha == Coefficient(None, 0, because="no unit has two labels")
