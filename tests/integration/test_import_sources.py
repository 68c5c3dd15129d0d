"""Importing real data: every row arrives, twice is once, and what two sources share is one problem."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.connect import reading
from db.counts import table_counts
from db.models import Annotation, Annotator, Problem, ProblemSource, Solution, StepLabel
from exports.queries.importing import ImportReport, default_options, import_file
from exports.queries.sources import FORMATS

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"
FILES = {
    "gsm8k": EXAMPLES / "gsm8k" / "test.jsonl",
    "gsm8k-model-solutions": EXAMPLES / "gsm8k_model_solutions" / "example_model_solutions.jsonl",
    "processbench": EXAMPLES / "processbench" / "gsm8k.json",
}


def import_example(engine: sa.Engine, name: str, **options: Any) -> ImportReport:
    path = FILES[name]
    return import_file(engine, FORMATS[name], path, options=default_options(FORMATS[name], path, **options))


def import_problems(engine: sa.Engine, path: Path, *rows: dict[str, Any], **options: Any) -> ImportReport:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = FORMATS["problems"]
    return import_file(engine, found, path, options=default_options(found, path, **options))


def filled_tables(engine: sa.Engine) -> dict[str, int]:
    return {name: count for name, count in table_counts(engine).items() if count}


def test_all_rows_of_the_three_sources_arrive_and_their_common_problems_are_one(database: sa.Engine) -> None:
    reports = [import_example(database, name) for name in FILES]
    assert [(r.source, r.n_read, r.n_kept, r.n_already_there, dict(r.dropped)) for r in reports] == [
        ("gsm8k/test", 24, 24, 0, {}),
        ("gsm8k-model-solutions", 24, 24, 0, {}),
        ("processbench/gsm8k", 13, 13, 0, {}),
    ]
    assert filled_tables(database) == {
        "annotations": 13,
        "annotators": 1,
        "problem_sources": 24 + 24 + 13,
        "problems": 24,
        "solutions": 4 * 24 + 13,
        "step_labels": 44,
    }


def test_importing_again_changes_nothing_and_counts_the_rows_as_already_there(database: sa.Engine) -> None:
    for name in FILES:
        import_example(database, name)
    before = table_counts(database)
    again = [import_example(database, name) for name in FILES]
    assert [(r.n_read, r.n_kept, r.n_already_there) for r in again] == [(24, 0, 24), (24, 0, 24), (13, 0, 13)]
    assert [+report.stored for report in again] == [{}, {}, {}]
    assert table_counts(database) == before


def test_a_gzipped_file_is_read_as_the_file_itself(database: sa.Engine, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl.gz"
    path.write_bytes(gzip.compress(FILES["gsm8k"].read_bytes()))
    report = import_file(database, FORMATS["gsm8k"], path)
    assert (report.source, report.n_kept) == ("gsm8k/test", 24)


def test_a_gsm8k_problem_keeps_its_worked_solution_and_gives_its_reference_answer(database: sa.Engine) -> None:
    import_example(database, "gsm8k")
    first = json.loads(FILES["gsm8k"].read_text(encoding="utf-8").splitlines()[0])
    with reading(database) as session:
        problem = session.scalars(sa.select(Problem).order_by(Problem.problem_id)).first()
        source = session.scalars(sa.select(ProblemSource).order_by(ProblemSource.problem_source_id)).first()
    assert problem is not None
    assert source is not None
    assert problem.statement == first["question"]
    assert f"{problem.reference_solution}\n#### {problem.reference_answer}" == first["answer"]
    assert "<<16-3-4=9>>" in (problem.reference_solution or "")
    assert (problem.reference_answer, problem.reference_trust, problem.kind) == ("18", "source", "original")
    assert (source.source, source.source_key, source.licence, source.extra) == ("gsm8k/test", "0", "MIT", None)


def test_model_solutions_keep_the_sources_mark_beside_an_outcome_still_unknown(database: sa.Engine) -> None:
    import_example(database, "gsm8k-model-solutions")
    first = json.loads(FILES["gsm8k-model-solutions"].read_text(encoding="utf-8").splitlines()[0])
    with reading(database) as session:
        solution = session.scalars(sa.select(Solution).order_by(Solution.solution_id)).first()
        marks = session.scalars(sa.select(Solution.extra)).all()
    assert solution is not None
    assert solution.text == first["6b_finetuning"]["solution"]
    assert (solution.source_key, solution.generator, solution.answer) == ("0/6b_finetuning", "6b_finetuning", "26")
    assert solution.steps == [
        "Janet eats 3 ducks eggs for breakfast every morning and she sells the rest so she has 16 - 3 = 13 ducks "
        "eggs left",
        "She has 13 ducks eggs and she sells 2 each day so she makes 13 * 2 = $26",
    ]
    assert (solution.outcome, solution.outcome_rule, solution.extra) == (None, None, {"is_correct": False})
    assert sum(mark["is_correct"] for mark in marks if mark) == 26


def test_trusted_marks_become_outcomes_even_of_solutions_that_are_there(database: sa.Engine) -> None:
    import_example(database, "gsm8k-model-solutions")
    report = import_example(database, "gsm8k-model-solutions", trust_outcomes=True)
    assert (report.n_kept, report.n_already_there, +report.stored) == (24, 0, {"outcomes": 96})
    with reading(database) as session:
        right = session.execute(
            sa.select(Solution.outcome, Solution.outcome_rule, sa.func.count())
            .group_by(Solution.outcome, Solution.outcome_rule)
            .order_by(Solution.outcome)
        ).all()
    assert [tuple(row) for row in right] == [(False, "source", 70), (True, "source", 26)]


def test_processbench_labels_stop_at_the_first_error(database: sa.Engine) -> None:
    import_example(database, "processbench")
    rows = json.loads(FILES["processbench"].read_text(encoding="utf-8"))
    with reading(database) as session:
        annotator = session.scalars(sa.select(Annotator)).one()
        found = session.execute(
            sa.select(Solution, Annotation)
            .join(Annotation, Annotation.solution_id == Solution.solution_id)
            .order_by(Solution.solution_id)
        ).all()
        labels = {
            annotation.annotation_id: session.execute(
                sa.select(StepLabel.step_index, StepLabel.label)
                .where(StepLabel.annotation_id == annotation.annotation_id)
                .order_by(StepLabel.step_index)
            ).all()
            for _, annotation in found
        }
    assert (annotator.name, annotator.kind) == ("processbench-experts", "person")
    assert len(found) == len(rows)
    for row, (solution, annotation) in zip(rows, found, strict=True):
        error = row["label"]
        judged = [1] * len(row["steps"]) if error == -1 else [1] * error + [-1]
        assert [tuple(label) for label in labels[annotation.annotation_id]] == list(enumerate(judged))
        assert annotation.first_error == (None if error == -1 else error)
        assert annotation.finish_reason == ("solution" if error == -1 else "found_error")
        assert (annotation.mode, annotation.source) == ("first_error", "processbench/gsm8k")
        assert (solution.source_key, solution.generator) == (row["id"], row["generator"])
        assert (solution.outcome, solution.outcome_rule) == (row["final_answer_correct"], "source")
        assert (solution.steps, solution.text) == ([step.strip() for step in row["steps"]], "\n\n".join(row["steps"]))


def test_a_corrected_label_supersedes_the_earlier_one_and_the_old_file_changes_nothing_more(
    database: sa.Engine, tmp_path: Path
) -> None:
    path = tmp_path / "gsm8k.json"
    rows = json.loads(FILES["processbench"].read_text(encoding="utf-8"))[:2]
    path.write_text(json.dumps(rows), encoding="utf-8")
    import_file(database, FORMATS["processbench"], path)
    corrected = [rows[0] | {"label": 0}, rows[1]]
    path.write_text(json.dumps(corrected), encoding="utf-8")
    report = import_file(database, FORMATS["processbench"], path)
    assert (report.n_kept, report.n_already_there) == (1, 1)
    assert +report.stored == {"annotations": 1, "step_labels": 1, "annotations_superseded": 1}
    with reading(database) as session:
        said = session.execute(
            sa.select(Annotation.first_error, Annotation.superseded_by_id).order_by(Annotation.annotation_id)
        ).all()
    assert [tuple(row) for row in said] == [(2, 3), (2, None), (0, None)]
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert import_file(database, FORMATS["processbench"], path).n_kept == 0


def test_a_step_that_was_not_bare_is_kept_as_the_source_wrote_it(database: sa.Engine, tmp_path: Path) -> None:
    path = tmp_path / "gsm8k.json"
    row = json.loads(FILES["processbench"].read_text(encoding="utf-8"))[0]
    given = ["Step 1: 9 + 7 = 16", "Step 2:", "So 16.\n"]
    path.write_text(json.dumps([row | {"steps": given, "label": -1, "note": 5}]), encoding="utf-8")
    import_file(database, FORMATS["processbench"], path)
    with reading(database) as session:
        solution = session.scalars(sa.select(Solution)).one()
    assert solution.steps == ["9 + 7 = 16", "Step 2:", "So 16."]
    assert solution.text == "Step 1: 9 + 7 = 16\n\nStep 2:\n\nSo 16.\n"
    assert solution.extra == {"steps": given, "note": 5}


def test_where_two_sources_disagree_the_first_answer_stays_and_the_other_is_kept_beside_it(
    database: sa.Engine, tmp_path: Path
) -> None:
    first = import_problems(
        database,
        tmp_path / "first.jsonl",
        {"problem": "What is 999 + 1?", "answer": "1,000"},
        {"problem": "What is 2 + 2?", "answer": None},
    )
    assert +first.stored == {"problems": 2, "problem_sources": 2}
    second = import_problems(
        database,
        tmp_path / "second.jsonl",
        {"question": "What is  999 + 1 ?", "answer": 1000},
        {"question": "What is 999 + 1?", "answer": "999", "level": "easy"},
        {"question": "What is 2 + 2?", "answer": 4, "solution": "2 + 2 = 4"},
    )
    assert +second.stored == {"problem_sources": 3, "references_filled": 1, "references_differ": 1}
    with reading(database) as session:
        problems = session.execute(
            sa.select(Problem.statement, Problem.reference_answer, Problem.reference_solution).order_by(
                Problem.problem_id
            )
        ).all()
        extras = session.scalars(sa.select(ProblemSource.extra).order_by(ProblemSource.problem_source_id)).all()
    assert [tuple(row) for row in problems] == [
        ("What is 999 + 1?", "1,000", None),
        ("What is 2 + 2?", "4", "2 + 2 = 4"),
    ]
    assert list(extras) == [
        None,
        None,
        {"statement": "What is  999 + 1 ?", "reference_answer": "1000"},
        {"level": "easy", "reference_answer": "999"},
        None,
    ]


def test_problems_take_their_keys_and_fields_from_flags(database: sa.Engine, tmp_path: Path) -> None:
    report = import_problems(
        database,
        tmp_path / "own.jsonl",
        {"text": "What is 3 * 3?", "gold": 9, "number": "p-1", "topic": "times"},
        columns={"problem": "text", "answer": "gold", "id": "number"},
        source="own",
        licence="CC0-1.0",
    )
    assert (report.source, report.n_kept) == ("own", 1)
    with reading(database) as session:
        source = session.scalars(sa.select(ProblemSource)).one()
        problem = session.scalars(sa.select(Problem)).one()
    assert (problem.statement, problem.reference_answer) == ("What is 3 * 3?", "9")
    assert (source.source, source.source_key, source.licence) == ("own", "p-1", "CC0-1.0")
    assert source.extra == {"topic": "times"}


def test_a_dry_run_reports_and_stores_nothing(database: sa.Engine) -> None:
    report = import_file(database, FORMATS["processbench"], FILES["processbench"], is_dry_run=True)
    assert (report.n_kept, report.stored["step_labels"]) == (13, 44)
    assert filled_tables(database) == {}


def test_rows_beyond_one_batch_and_repeated_inside_it_are_stored_once(database: sa.Engine, tmp_path: Path) -> None:
    rows = [{"problem": f"What is {n % 700} + 1?", "answer": n % 700 + 1} for n in range(1_400)]
    report = import_problems(database, tmp_path / "many.jsonl", *rows)
    assert (report.n_read, report.n_kept) == (1_400, 1_400)
    assert +report.stored == {"problems": 700, "problem_sources": 1_400}
    with reading(database) as session:
        families = session.scalar(sa.select(sa.func.count(Problem.family.distinct())))
    assert families == 1


@pytest.mark.parametrize("name", FILES)
def test_progress_ends_at_the_files_size(database: sa.Engine, name: str) -> None:
    told: list[tuple[int, int | None]] = []
    import_file(
        database, FORMATS[name], FILES[name], progress=lambda done, total, note="": told.append((done, total))
    )
    size = FILES[name].stat().st_size
    assert told[-1] == (size, size)
