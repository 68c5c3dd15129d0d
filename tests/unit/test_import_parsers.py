"""Parsers of the import formats on real rows and made-up ones: what each row says, and what is left out by name."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exports.queries.importing import default_options, preview_file
from exports.queries.importing.checking import parsed
from exports.queries.sources import FORMATS, BadRow, ImportOptions, SourceRow, read_rows
from exports.queries.sources.math_shepherd import as_input, as_label
from exports.queries.sources.prm800k import StoredRow, as_row
from exports.queries.sources.rows import RowError
from stepmark.records import ImportedRow, ProblemRecord
from stepmark.step_values import StepValue
from stepmark.steps import render_solution

DATA = Path(__file__).parents[1] / "data" / "imports"


def parse(name: str, value: Mapping[str, Any], *, index: int = 0, **options: Any) -> tuple[ImportedRow, ...]:
    return parsed(SourceRow(index + 1, index, value), FORMATS[name], ImportOptions(**{"source": name, **options}))


def records_of(name: str, file: str, **options: Any) -> list[ImportedRow]:
    path = DATA / file
    found = []
    for row in read_rows(path, layout=FORMATS[name].layout):
        assert isinstance(row, SourceRow)
        found += parsed(row, FORMATS[name], default_options(FORMATS[name], path, **options))
    return found


def rows_of(file: str) -> list[Any]:
    path = DATA / file
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    return json.loads(text) if ".jsonl" not in file else [json.loads(line) for line in text.splitlines()]


def problem_of(record: ImportedRow) -> ProblemRecord:
    assert isinstance(record.problem, ProblemRecord)
    return record.problem


# ------------------------------------------------------------ PRM800K


def put_back(record: ImportedRow) -> dict[str, Any]:
    """What the tables would hold of a record, made a row again."""
    problem, (solution,) = problem_of(record), record.solutions
    (annotation,) = solution.annotations
    rated = zip(solution.alternatives, annotation.alternatives, strict=True)
    return as_row(
        StoredRow(
            extra=json.loads(json.dumps(annotation.extra)),
            annotator=annotation.annotator,
            statement=problem.statement,
            reference_answer=problem.reference_answer,
            reference_solution=problem.reference_solution,
            steps=solution.steps,
            answer=solution.answer,
            labels={index: label for index, label in enumerate(annotation.labels) if label is not None},
            written=annotation.written or {},
            alternatives={
                (one.step_index, int(one.source_key.rpartition("/")[2])): (one.text, one.is_answer, label)
                for one, label in rated
                if label is not None
            },
            finish_reason=annotation.finish_reason,
            duration_ms=annotation.duration_ms,
        )
    )


def test_the_path_of_phase_1_has_the_chosen_candidates_and_the_labellers_own_steps() -> None:
    record, row = (
        records_of("prm800k", "prm800k_sample/examples.jsonl")[0],
        rows_of("prm800k_sample/examples.jsonl")[0],
    )
    (solution,) = record.solutions
    (annotation,) = solution.annotations
    steps = row["label"]["steps"]
    assert solution.steps[:3] == (
        steps[0]["completions"][0]["text"],
        "We have $3p+e=1.24$ and $5p+e=1.82$.",
        steps[2]["completions"][0]["text"],
    )
    assert (annotation.labels, annotation.written) == (
        (1, 1, 1, 1, 1, 1),
        {1: "We have $3p+e=1.24$ and $5p+e=1.82$."},
    )
    assert [
        (one.source_key, label) for one, label in zip(solution.alternatives, annotation.alternatives, strict=True)
    ] == [
        *((f"0/1/{candidate}", -1) for candidate in range(5)),
        *((f"0/5/{candidate}", label) for candidate, label in enumerate((0, 1, 1, 1))),
    ]
    assert (annotation.annotator, annotation.finish_reason) == (f"prm800k-{row['labeler']}", "solution")
    assert (annotation.duration_ms, annotation.mode) == (293250, "all_steps")


def test_the_solution_of_phase_2_is_the_whole_one_that_was_judged_up_to_its_first_error() -> None:
    record, row = (
        records_of("prm800k", "prm800k_sample/examples.jsonl")[2],
        rows_of("prm800k_sample/examples.jsonl")[2],
    )
    (solution,) = record.solutions
    (annotation,) = solution.annotations
    assert [*solution.steps, "# Answer\n\n7200"] == row["question"]["pre_generated_steps"]
    assert (solution.answer, annotation.labels) == ("7200", (1, 0, 1, 1, 1, 1, -1))
    assert (annotation.first_error, annotation.finish_reason) == (6, "found_error")
    assert annotation.alternatives == (1, 1, 1)


def test_a_prm800k_row_that_was_given_up_keeps_its_unrated_candidates() -> None:
    steps = [
        {"completions": [candidate("a", 1)], "human_completion": None, "chosen_completion": 0},
        {
            "completions": [candidate("b", None), candidate("c", None)],
            "human_completion": None,
            "chosen_completion": None,
        },
    ]
    row = prm800k_row(steps, {"problem": "Why?", "ground_truth_answer": None}, "give_up")
    (record,) = parse("prm800k", row)
    assert record.left_out == ("rating_null", "rating_null")
    (solution,) = record.solutions
    assert (solution.steps, [one.text for one in solution.alternatives]) == (("a",), ["b", "c"])
    assert solution.annotations[0].alternatives == (None, None)
    assert put_back(record) == row


def candidate(text: str, rating: int | None) -> dict[str, Any]:
    return {"text": text, "rating": rating, "flagged": False}


def prm800k_row(steps: list[Any], question: dict[str, Any], reason: str = "solution", **label: Any) -> dict[str, Any]:
    return {
        "labeler": "l-1",
        "timestamp": "2022-07-30T23:23:32",
        "generation": 6,
        "is_quality_control_question": True,
        "is_initial_screening_question": False,
        "question": question,
        "label": {"steps": steps, "total_time": 5, "finish_reason": reason, **label},
    }


TEXTS = st.one_of(
    st.sampled_from(["a", " a", "Step 2: b", "c.\n\n# Answer\n\n4", "# Answer\n\n4", "# Answer\n\n", "# answer\n4 "]),
    st.text(min_size=1, max_size=6).filter(lambda text: text.strip() != ""),
)
RATINGS = st.sampled_from([-1, 0, 1, None])


@st.composite
def prm800k_rows(draw: st.DrawFn) -> dict[str, Any]:
    n_steps = draw(st.integers(0, 4))
    path: list[str] = []
    steps: list[Any] = []
    for index in range(n_steps):
        candidates = [candidate(draw(TEXTS), draw(RATINGS)) for _ in range(draw(st.integers(1, 3)))]
        choice = draw(st.sampled_from(["chosen", "human", *(["neither"] if index == n_steps - 1 else [])]))
        step: dict[str, Any] = {"completions": candidates, "human_completion": None, "chosen_completion": None}
        if choice == "chosen":
            step["chosen_completion"] = draw(st.integers(0, len(candidates) - 1))
            path.append(candidates[step["chosen_completion"]]["text"])
        elif choice == "human":
            step["human_completion"] = {"text": draw(TEXTS), "rating": None, "source": "human", "flagged": False}
            path.append(step["human_completion"]["text"])
            if draw(st.booleans()):
                step["completions"] = None
        steps.append(step)
    question: dict[str, Any] = {"problem": "Why?", "ground_truth_answer": draw(st.sampled_from([None, "", "4"]))}
    if draw(st.booleans()):
        more = draw(st.lists(TEXTS, max_size=2))
        question |= {
            "ground_truth_solution": draw(st.sampled_from([None, "s"])),
            "pre_generated_steps": draw(st.sampled_from([[*path, *more], more, None])),
            "pre_generated_answer": draw(st.sampled_from(["4", "5", None])),
            "pre_generated_verifier_score": 0.5,
        }
    reason = draw(st.sampled_from(["solution", "found_error", "give_up", "bad_problem"]))
    return prm800k_row(steps, question, reason, total_time=draw(st.sampled_from([5, 5.5, None])))


@settings(max_examples=150, deadline=None)
@given(prm800k_rows())
def test_a_prm800k_row_comes_back_key_for_key(row: dict[str, Any]) -> None:
    (record,) = parse("prm800k", row)
    assert put_back(record) == row


def test_the_real_prm800k_rows_come_back_key_for_key() -> None:
    assert [put_back(one) for one in records_of("prm800k", "prm800k_sample/examples.jsonl")] == rows_of(
        "prm800k_sample/examples.jsonl"
    )


# ------------------------------------------------------------ Math-Shepherd

PROBLEM = "What is 9 + 7 - 2?"
SHEPHERD = {
    "input": f"{PROBLEM} Step 1: 9 + 7 = 16 ки\nStep 2: 16 - 2 = 15 The answer is: 15 ки",
    "label": f"{PROBLEM} Step 1: 9 + 7 = 16 +\nStep 2: 16 - 2 = 15 The answer is: 15 -",
    "task": "GSM8K",
}


def test_a_math_shepherd_row_is_a_problem_with_labelled_steps() -> None:
    (record,) = parse("math-shepherd", SHEPHERD)
    (solution,) = record.solutions
    (annotation,) = solution.annotations
    assert (problem_of(record).statement, solution.answer, solution.extra) == (PROBLEM, "15", {"task": "GSM8K"})
    assert solution.steps == ("9 + 7 = 16", "16 - 2 = 15 The answer is: 15")
    assert (annotation.labels, annotation.annotator_kind) == ((1, -1), "program")


STEP_TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12).filter(
    lambda text: "ки" not in text and "step" not in text.casefold()
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(STEP_TEXTS, st.booleans()), min_size=1, max_size=4), st.sampled_from(["", " ", "\n"]))
def test_a_math_shepherd_row_comes_back_as_it_was(steps: list[tuple[str, bool]], gap: str) -> None:
    begun = [f"Step {number}: {text}{gap}" for number, (text, _) in enumerate(steps, start=1)]
    row = {
        "input": f"{PROBLEM}{gap} " + "\n".join(f"{text}ки" for text in begun),
        "label": f"{PROBLEM}{gap} "
        + "\n".join(text + ("+" if is_right else "-") for text, (_, is_right) in zip(begun, steps, strict=True)),
        "task": "MATH",
    }
    (record,) = parse("math-shepherd", row)
    (solution,) = record.solutions
    extra = dict(solution.extra or {})
    given_input = extra.pop("input", None) or as_input(problem_of(record).statement, solution.steps)
    labels = [label for label in solution.annotations[0].labels if label is not None]
    assert {"input": given_input, "label": as_label(given_input, labels), **extra} == row


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": SHEPHERD["input"]}, "label_mismatch"),
        ({"label": SHEPHERD["label"] + " more"}, "label_mismatch"),
        ({"input": "no mark", "label": "no mark"}, "no_steps"),
        ({"input": "a step ки", "label": "a step +"}, "no_steps"),
    ],
)
def test_a_broken_math_shepherd_row_is_refused_by_name(change: dict[str, str], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        parse("math-shepherd", SHEPHERD | change)
    assert caught.value.reason == reason


# ------------------------------------------------------------ ProcessBench


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_processbench_row_comes_back_key_for_key(data: st.DataObject) -> None:
    steps = data.draw(st.lists(TEXTS, min_size=1, max_size=4))
    row = {
        "id": "gsm8k-2",
        "generator": "m",
        "problem": PROBLEM,
        "steps": steps,
        "final_answer_correct": data.draw(st.booleans()),
        "label": data.draw(st.integers(-1, len(steps) - 1)),
        **data.draw(st.sampled_from([{}, {"note": 5}])),
    }
    (record,) = parse("processbench", row)
    (solution,) = record.solutions
    first_error = solution.annotations[0].first_error
    assert {
        "id": solution.source_key,
        "generator": solution.generator,
        "problem": problem_of(record).statement,
        "steps": list(solution.steps),
        "final_answer_correct": solution.outcome,
        "label": -1 if first_error is None else first_error,
        **(solution.extra or {}),
    } == row


# ------------------------------------------------------------ first errors and critiques


def test_prmbench_counts_from_1_and_leaves_out_steps_past_the_end() -> None:
    right, past, rewritten, plain = records_of("prmbench", "prmbench/target_data.jsonl")
    rows = rows_of("prmbench/target_data.jsonl")
    assert rows[0]["error_steps"] == []
    assert set(right.solutions[0].annotations[0].labels) == {1}
    assert (past.left_out, (past.solutions[0].extra or {})["error_steps"]) == (
        ("error_step_past_end",),
        rows[1]["error_steps"],
    )
    wrong = [number - 1 for number in rows[1]["error_steps"] if number <= len(rows[1]["modified_process"])]
    assert [i for i, label in enumerate(past.solutions[0].annotations[0].labels) if label == -1] == wrong
    variant = problem_of(rewritten)
    assert variant.parent is not None
    assert (variant.kind, variant.statement, variant.parent.statement) == (
        "other_variant",
        rows[2]["modified_question"],
        rows[2]["question"],
    )
    assert (plain.left_out, problem_of(plain).kind) == ((), "original")


def test_mr_ben_has_first_errors_reasons_and_rewritten_steps() -> None:
    records = records_of("mr-ben", "mr_ben/medicine.json")
    members = [one for found in rows_of("mr_ben/medicine.json").values() for one in found]
    by_key = {solution.source_key: (record, solution) for record in records for solution in record.solutions}
    assert len(by_key) == len(members)
    for one in members:
        record, solution = by_key[f"{one['Question_UUID']}/{one['Sampled_Model']}"]
        assert problem_of(record).statement == f"{one['Question']}\n\n{one['Options']}"
        assert not solution.steps[-1].startswith("Solution:")
        if one["Model_Solution_Correctness"] == "correct":
            assert solution.annotations[0].labels == (1,) * len(solution.steps)
            assert solution.critiques == ()
        elif solution.annotations:
            number = int(one["Model_Solution_First_Error_Step"])
            assert solution.annotations[0].first_error == number - 1
            assert set(solution.annotations[0].written or {}) == {number - 1}
        reasons = one["Model_Solution_Error_Reason"] if one["Model_Solution_Correctness"] == "incorrect" else []
        assert [critique.text for critique in solution.critiques] == [reason.strip() for reason in reasons]
    assert [reason for record in records for reason in record.left_out] == ["error_step_past_end"]
    first = problem_of(records[0])
    assert first.reference_answer == members[0]["Ground_Truth_Answer_Modified"]


def test_mr_bens_programs_are_one_step_each_and_get_no_step_label_where_they_are_wrong() -> None:
    (record,) = records_of("mr-ben", "mr_ben/coding.json")
    ((_, members),) = rows_of("mr_ben/coding.json").items()
    assert [solution.text for solution in record.solutions] == [one["Model_Solution_Steps"] for one in members]
    for solution, one in zip(record.solutions, members, strict=True):
        is_right = one["Model_Solution_Correctness"] == "correct"
        assert (len(solution.steps), len(solution.annotations), len(solution.critiques)) == (
            1,
            is_right,
            not is_right,
        )
    assert set(record.left_out) == {"error_step_is_no_number"}


def test_mr_gsm8ks_critics_meet_at_one_solution_and_are_judged_by_people_and_by_gpt_4() -> None:
    claude = records_of("mr-gsm8k", "mr_gsm8k_critiques/Claude_eval_results.json")
    (gpt,) = records_of("mr-gsm8k", "mr_gsm8k_critiques/GPT3_5_eval_results.json")
    row = rows_of("mr_gsm8k_critiques/Claude_eval_results.json")[0]
    assert claude[0].solutions[0].source_key == gpt.solutions[0].source_key
    solution = claude[0].solutions[0]
    assert solution.annotations[0].first_error == row["model_output_solution_first_error_step"] - 1
    assert solution.annotations[0].comment == row["model_output_solution_first_error_reason"]
    (critique,) = solution.critiques
    assert (critique.critic, critique.text, critique.verdict) == (
        "claude2",
        row["claude2_eval_output"]["response"],
        "fail",
    )
    (judgement,) = critique.judgements
    assert judgement.judgement == {"correct": "right", "incorrect": "wrong"}[row["error_reason_correctness"]]
    assert judgement.is_verdict_right is True
    (judged,) = critique.critiques
    assert (judged.critic, judged.kind) == ("gpt-4", "meta")
    assert judged.text == row["gpt4_error_reason_correctness_analysis"]["response"]


@pytest.mark.parametrize(
    ("word", "verdict"), [("Correct", "pass"), ("- Wrong", "fail"), ("[Correct]", "pass"), ("Perhaps", "unreadable")]
)
def test_gpt_4s_decision_is_read_in_all_its_spellings(word: str, verdict: str) -> None:
    row = rows_of("mr_gsm8k_critiques/Claude_eval_results.json")[0]
    analysis = row["gpt4_error_reason_correctness_analysis"] | {"Final Decision": word}
    (record,) = parse("mr-gsm8k", row | {"gpt4_error_reason_correctness_analysis": analysis})
    assert record.solutions[0].critiques[0].critiques[0].verdict == verdict


def test_stepverify_has_the_teachers_note_and_the_students_later_answer() -> None:
    noted, bare, at_answer = records_of("stepverify", "stepverify/dataset.json")
    row = rows_of("stepverify/dataset.json")[0]
    wrong, later = noted.solutions
    assert [*wrong.steps, wrong.answer] == [step.strip() for step in row["student_incorrect_solution"]]
    assert wrong.annotations[0].first_error == row["incorrect_index"]
    assert (wrong.critiques[0].text, wrong.critiques[0].first_error) == (
        row["error_description"],
        row["incorrect_index"],
    )
    assert (later.text, later.annotations) == (row["student_correct_response"], ())
    assert problem_of(noted).reference_answer == row["reference_solution"].splitlines()[-1].strip()
    assert (bare.left_out, bare.solutions[0].critiques) == (("no_description",), ())
    assert at_answer.solutions[0].annotations[0].first_error == len(at_answer.solutions[0].steps)


def test_bigbench_mistake_names_who_marked_it_and_what_it_lacks() -> None:
    dyck = records_of("bigbench-mistake", "bigbench_mistake/dyck_languages.jsonl")
    rows = rows_of("bigbench_mistake/dyck_languages.jsonl")
    for record, row in zip(dyck, rows, strict=True):
        (annotation,) = record.solutions[0].annotations
        assert (annotation.first_error, annotation.annotator_kind) == (row["mistake_index"], "program")
    assert [record.left_out for record in dyck] == [("answer_empty",) if row["answer"] == "" else () for row in rows]
    (logical,) = records_of("bigbench-mistake", "bigbench_mistake/logical_deduction.jsonl.gz")
    assert (logical.left_out, logical.solutions[0].answer) == (("answer_null",), None)
    arithmetic = records_of("bigbench-mistake", "bigbench_mistake/multistep_arithmetic.jsonl")
    assert {record.solutions[0].annotations[0].annotator for record in arithmetic} == {"bigbench-mistake-annotators"}


# ------------------------------------------------------------ problems and variants


def test_gsm_plus_variants_have_their_seed_and_no_answer_where_a_fact_lacks() -> None:
    records = records_of("gsm-plus", "gsm_plus/testmini.jsonl")
    kinds = {(problem_of(one).extra or {})["perturbation_type"]: problem_of(one).kind for one in records}
    assert len(kinds) == 8
    assert kinds["numerical substitution"] == "other_variant"
    assert kinds["reversing operation"] == kinds["adding operation"] == "backward"
    assert kinds["distraction insertion"] == "rephrased"
    seeds = {problem_of(one).parent for one in records}
    assert len(seeds) == 1
    open_ones = [one for one in records if one.left_out == ("no_answer",)]
    (found,) = open_ones
    assert (problem_of(found).reference_answer, (problem_of(found).extra or {})["answer"]) == (None, "None")


def test_svamp_joins_variations_by_their_body_and_drops_an_answer_that_its_equation_contradicts() -> None:
    plain, one, other, wrong = records_of("svamp", "svamp/SVAMP.json")
    assert (problem_of(plain).statement, problem_of(plain).reference_answer) == (
        "Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack, "
        "How much do you have to pay to buy each pack?",
        "51",
    )
    assert problem_of(one).family_text != problem_of(other).family_text
    assert (problem_of(wrong).reference_answer, (problem_of(wrong).extra or {})["Answer"]) == (None, 1.0)
    assert wrong.left_out == ("answer_contradicts_equation",)


def test_cot_samples_name_their_problem_by_its_line() -> None:
    first = records_of("gsm8k-cot-samples", "gsm8k_cot_samples/gpt4_LtM.jsonl")[0]
    row = rows_of("gsm8k_cot_samples/gpt4_LtM.jsonl")[0]
    assert (first.problem.source, first.problem.source_key) == ("gsm8k/test", str(row["id"]))
    assert (first.solutions[0].generator, first.solutions[0].text) == ("gpt4_LtM", row["completion"])


def test_best_of_8_has_a_score_for_each_sample() -> None:
    (record,) = records_of("math-best-of-8", "math_best_of_8/math_cot_100.jsonl.gz")
    (row,) = rows_of("math_best_of_8/math_cot_100.jsonl.gz")
    assert [s.scores[0].value for s in record.solutions] == [score for (score,) in row["pred_score"]]
    assert [s.answer for s in record.solutions] == row["pred"]
    assert [(s.extra or {})["is_correct"] for s in record.solutions] == row["score"]
    assert {s.outcome for s in record.solutions} == {None}


@pytest.mark.parametrize("file", ["samples_math-aps.jsonl.gz", "samples_math-aps-tree.jsonl"])
def test_openrs_values_are_counts_that_give_its_shares(file: str) -> None:
    (record,), (row,) = records_of("openr", f"openr_math_aps/{file}"), rows_of(f"openr_math_aps/{file}")
    shares: dict[str, list[float]] = {}

    def walk(node: Any) -> None:
        shares.setdefault(node.get("solution_prefix", str(id(node))), []).append(node["mc_value"])
        for child in node.get("children", ()):
            walk(child)

    steps = row["reasoning_steps"]
    for node in steps if isinstance(steps, list) else [steps]:
        walk(node)
    found = {value.value.soft for solution in record.solutions for value in solution.step_values}
    assert found == {sum(of_text) / len(of_text) for of_text in shares.values()}
    for solution in record.solutions:
        assert [value.step_index for value in solution.step_values] == list(range(-1, len(solution.steps)))


def test_a_flat_prefix_goes_on_from_the_longest_one_that_it_begins_with() -> None:
    prefixes = [("Q?", 0.75), ("Q?\n\na", 0.5), ("Q?\n\na\n\nb", 0.25), ("Q?\n\nc", 1.0)]
    row = {
        "question": "Q?",
        "final_answer": "4",
        "reasoning_steps": [{"solution_prefix": text, "mc_value": share} for text, share in prefixes],
    }
    (record,) = parse("openr", row)
    assert [solution.steps for solution in record.solutions] == [("a", "b"), ("c",)]
    assert [value.value for value in record.solutions[0].step_values] == [
        StepValue(3, 4),
        StepValue(2, 4),
        StepValue(1, 4),
    ]


# ------------------------------------------------------------ preferences


def test_hh_rlhf_shares_the_prompt_and_says_where_both_sides_are_one() -> None:
    same, single, several, empty = records_of("hh-rlhf", "hh_rlhf_helpful/helpful-base-test.jsonl")
    rows = rows_of("hh_rlhf_helpful/helpful-base-test.jsonl")
    assert (same.left_out, len(same.solutions), same.preferences) == (("chosen_equals_rejected",), 1, ())
    assert problem_of(single).statement == "can i bathe my rat?"
    messages = (problem_of(several).extra or {})["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert empty.left_out == ("empty_response",)
    for record, row in zip((single, several, empty), rows[1:], strict=True):
        assert [record.preferences[0].choice, record.solutions[0].steps] == ["a", ()]
        for solution, name in zip(record.solutions, ("chosen", "rejected"), strict=True):
            assert row[name].endswith(f"\n\nAssistant:{solution.text}")


def test_pandalm_has_three_votes_and_takes_a_json_true_for_the_word() -> None:
    word, divided, empty = records_of("pandalm", "pandalm/testset-v1.json")
    rows = rows_of("pandalm/testset-v1.json")
    assert "True" in [solution.text for solution in word.solutions]
    assert [one.choice for one in divided.preferences] == [
        {0: "equal", 1: "a", 2: "b"}[rows[1][f"annotator{number}"]] for number in (1, 2, 3)
    ]
    assert problem_of(divided).statement == f"{rows[1]['instruction']}\n\n{rows[1]['input']}"
    assert empty.left_out == ("empty_response",)


def test_llmbar_says_whose_word_it_is() -> None:
    for file, annotator in (("natural", "llmbar-authors"), ("mt_bench_majority", "mt-bench-majority")):
        for record, row in zip(
            records_of("llmbar", f"llmbar/{file}.json"), rows_of(f"llmbar/{file}.json"), strict=True
        ):
            (choice,) = record.preferences
            assert (choice.annotator, choice.choice) == (annotator, "ab"[row["label"] - 1])


def test_ranked_replies_are_choices_of_each_pair() -> None:
    def reply(key: str, rank: int | None, *replies: Any) -> dict[str, Any]:
        return {"message_id": key, "role": "assistant", "text": key, "rank": rank, "replies": list(replies)}

    asked = {"message_id": "q2", "role": "prompter", "text": "q2", "replies": [reply("x", None)]}
    replies = [reply("b", 1), reply("a", 0, asked), reply("c", 2), reply("unranked", None)]
    tree = {"message_id": "q", "role": "prompter", "text": "q", "replies": replies}
    (record,) = parse("oasst", {"message_tree_id": "q", "prompt": tree})
    assert [solution.source_key for solution in record.solutions] == ["a", "b", "c"]
    assert [(one.a, one.b, one.choice) for one in record.preferences] == [(0, 1, "a"), (0, 2, "a"), (1, 2, "a")]
    assert record.left_out == ("fewer_than_two_ranked",)
    with pytest.raises(RowError, match="no message of the tree has two ranked replies"):
        parse("oasst", {"prompt": tree | {"replies": replies[:1]}})
    (real,) = records_of("oasst", "oasst_ranked/en_100_tree.jsonl")
    assert len(real.preferences) == len(real.solutions) * (len(real.solutions) - 1) // 2


# ------------------------------------------------------------ training sets


STEPS = ("9 + 7 = 16", "16 - 2 = 14")


def test_our_own_prm_rows_come_back_with_their_answer_apart() -> None:
    row = {"prompt": PROBLEM, "completions": ["Step 1: 9 + 7 = 16", "# Answer\n\n16"], "labels": [True, False]}
    (record,) = parse("stepwise", row)
    (solution,) = record.solutions
    assert (solution.steps, solution.answer, solution.annotations[0].labels) == (("9 + 7 = 16",), "16", (1, -1))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("unpaired", {"prompt": PROBLEM, "completion": render_solution(STEPS, "14"), "label": True}),
        (
            "unpaired",
            {
                "prompt": [{"role": "user", "content": PROBLEM}],
                "completion": [{"role": "assistant", "content": render_solution(STEPS, "14")}],
                "label": True,
            },
        ),
        ("best-of-n", {"prompt": PROBLEM, "answers": [render_solution(STEPS, "14")], "labels": [1]}),
    ],
)
def test_a_whole_solution_is_taken_apart_and_its_label_is_the_outcome(name: str, row: dict[str, Any]) -> None:
    (record,) = parse(name, row)
    (solution,) = record.solutions
    assert (problem_of(record).statement, solution.steps, solution.answer, solution.outcome) == (
        PROBLEM,
        STEPS,
        "14",
        True,
    )


USER = {"role": "user", "content": "What color is the sky?"}
BLUE, GREEN = ({"role": "assistant", "content": text} for text in ("It is blue.", "It is green."))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What color is the sky?", "chosen": "It is blue.", "rejected": "It is green.", "margin": 2.0},
        {"prompt": [USER], "chosen": [BLUE], "rejected": [GREEN], "margin": 2.0},
        {"chosen": [USER, BLUE], "rejected": [USER, GREEN], "margin": 2.0},
        {"prompt": "What color is the sky?", "chosen": [USER, BLUE], "rejected": [USER, GREEN], "margin": 2.0},
        {
            "conversations": [{"from": "human", "value": "What color is the sky?"}],
            "chosen": {"from": "gpt", "value": "It is blue."},
            "rejected": {"from": "gpt", "value": "It is green."},
            "margin": 2.0,
        },
    ],
)
def test_every_layout_of_a_preference_is_one_pair(row: dict[str, Any]) -> None:
    (record,) = parse("preference", row)
    assert problem_of(record).statement == "What color is the sky?"
    assert [solution.text for solution in record.solutions] == ["It is blue.", "It is green."]
    assert [(one.choice, one.strength) for one in record.preferences] == [("a", 2)]


def test_openrlhf_and_rlhflow_say_the_same_of_the_same_steps() -> None:
    signs = {"input": f"{PROBLEM}\nStep 1: {STEPS[0]} ки\nStep 2: {STEPS[1]} ки", "value": ["+", "-"]}
    turns = [
        {"role": "user", "content": f"{PROBLEM} Step 1: {STEPS[0]}"},
        {"role": "assistant", "content": "+"},
        {"role": "user", "content": f"Step 2: {STEPS[1]}"},
        {"role": "assistant", "content": "-"},
    ]
    for name, row in (("openrlhf-prm", signs), ("rlhflow-prm", {"conversations": turns})):
        (record,) = parse(name, row)
        (solution,) = record.solutions
        assert (problem_of(record).statement, solution.steps, solution.annotations[0].labels) == (
            PROBLEM,
            STEPS,
            (1, -1),
        )
    (soft,) = parse("openrlhf-prm", signs | {"value": [0.75, 0.25]})
    assert (soft.solutions[0].annotations[0].labels, soft.left_out) == ((1, -1), ("soft_labels_rounded",))
    assert soft.solutions[0].extra == {"value": [0.75, 0.25]}


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("stepwise", {"prompt": "p", "completions": ["a"], "labels": []}, "wrong_length"),
        ("stepwise", {"prompt": "p", "completions": ["a"], "labels": [5]}, "label_out_of_range"),
        ("preference", {"chosen": [USER, BLUE], "rejected": [BLUE]}, "no_prompt"),
        ("best-of-n", {"prompt": "p", "answers": ["a"], "labels": [2]}, "label_out_of_range"),
        ("openrlhf-prm", {"input": "no step ки", "value": ["+"]}, "no_steps"),
        ("rlhflow-prm", {"conversations": []}, "wrong_type"),
        ("hh-rlhf", {"chosen": "Hello", "rejected": "Hello"}, "no_transcript"),
        ("llmbar", {"input": "i", "output_1": "a", "output_2": "b", "label": 3}, "label_out_of_range"),
        ("svamp", {"ID": "1", "Body": "b", "Question": "q", "Equation": "( 1.0 )", "Answer": None}, "wrong_type"),
        ("openr", {"question": "Q?", "final_answer": "1", "reasoning_steps": 5}, "wrong_type"),
        ("mr-ben", {"key": "k", "value": []}, "wrong_type"),
        ("solutions", {"problem": "p"}, "missing_key"),
    ],
)
def test_a_broken_row_is_refused_by_name(name: str, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        parse(name, row)
    assert caught.value.reason == reason


# ------------------------------------------------------------ own problems and solutions


def test_solutions_of_ones_own_may_be_texts_objects_or_steps() -> None:
    (one,) = parse("solutions", {"problem": PROBLEM, "solution": "9 + 7 = 16\n16 - 2 = 14", "is_correct": "true"})
    assert (one.solutions[0].steps, one.solutions[0].outcome) == (("9 + 7 = 16", "16 - 2 = 14"), True)
    (several,) = parse(
        "solutions",
        {
            "id": "p",
            "question": PROBLEM,
            "answer": 14,
            "solutions": [
                "It is 14.",
                {"steps": list(STEPS), "answer": "14", "outcome": False, "generator": "m", "t": 1},
            ],
        },
    )
    assert problem_of(several).reference_answer == "14"
    assert [(s.source_key, s.generator, s.outcome, s.extra) for s in several.solutions] == [
        ("p/0", None, None, None),
        ("p/1", "m", False, {"t": 1}),
    ]
    (referring,) = parse("solutions", {"problem_id": 7, "solution": "It is 14."}, problems="mine")
    assert (referring.problem.source, referring.problem.source_key) == ("mine", "7")


def test_columns_are_renamed_and_a_name_that_was_there_is_kept_beside(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('text;gold;answer\n"What is 9 + 7; and why?";16;"I do not know"\n', encoding="utf-8")
    options = default_options(FORMATS["problems"], path, columns={"problem": "text", "answer": "gold"})
    (row,) = preview_file(FORMATS["problems"], path, options)
    assert row.given == {"text": "What is 9 + 7; and why?", "gold": "16", "answer": "I do not know"}
    problem = problem_of(row.records[0])
    assert (problem.statement, problem.reference_answer) == ("What is 9 + 7; and why?", "16")
    assert problem.extra == {"given_answer": "I do not know"}


def test_a_table_of_any_kind_gives_the_same_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"problem": "What is 1 + 1?", "answer": "2"},
        {"problem": 'A "quoted", one\nof two lines?', "answer": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text(
        'problem,answer\nWhat is 1 + 1?,2\n"A ""quoted"", one\nof two lines?",\n', encoding="utf-8-sig"
    )
    (tmp_path / "rows.tsv.gz").write_bytes(
        gzip.compress(b'problem\tanswer\nWhat is 1 + 1?\t2\n"A ""quoted"", one\nof two lines?"\t\n')
    )
    (tmp_path / "rows.json").write_text(json.dumps({str(i): row for i, row in enumerate(rows)}), encoding="utf-8")
    for name in ("rows.parquet", "rows.csv", "rows.tsv.gz"):
        assert [row.value for row in read_rows(tmp_path / name) if isinstance(row, SourceRow)] == rows
    members = list(read_rows(tmp_path / "rows.json", layout="object"))
    assert [row.value for row in members if isinstance(row, SourceRow)] == [
        {"key": str(i), "value": row} for i, row in enumerate(rows)
    ]


def test_a_csv_row_of_another_length_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('problem,answer\n"two\nlines",2\none cell\nWhat?,4\n', encoding="utf-8")
    assert list(read_rows(path)) == [
        SourceRow(2, 0, {"problem": "two\nlines", "answer": "2"}),
        BadRow(4, "wrong_cells", "1 cells under 2 columns: ['one cell']"),
        SourceRow(5, 2, {"problem": "What?", "answer": "4"}),
    ]
