"""One fixed small database, and every set in every layout that is exported from it: for golden files and readers.

Two problems and a variant, six solutions, labellers who differ, a judge, critics, alternatives for a step, scores.
Prompts are short ones of the runs, so that golden rows can be read.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.connect import writing
from db.models import (
    Alternative,
    AlternativeLabel,
    Annotation,
    Annotator,
    Critique,
    Preference,
    Problem,
    ProblemSource,
    Run,
    Score,
    Solution,
    StepLabel,
    WrittenStep,
)
from exports.queries.alternative_rows import with_alternatives
from exports.queries.critique_rows import cloud_set, critique_preference_set, critique_set
from exports.queries.derived_pairs import DerivedPairOptions, derived_pair_set
from exports.queries.labels import LabelFilter
from exports.queries.orm_rows import best_of_n_set, orm_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.prm800k_rows import prm800k_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection, TrainingSet
from exports.queries.task_rows import RlOptions, SftOptions, rl_set, sft_set

NOON = dt.datetime(2026, 1, 2, 12, 0, 0, tzinfo=dt.UTC)
EVERY = Selection()
TWO = ("annotator-2",)
PEOPLE = ("person",)
JUDGE_PROMPT = Path(__file__).parent / "data" / "judge_on_variant.txt"


@dataclass(frozen=True)
class Case:
    """A set in a layout, and what its export counts beside the rows."""

    config: str
    layout: str
    wanted: Callable[[], TrainingSet]
    read: int
    dropped: dict[str, int] = field(default_factory=dict)
    more: dict[str, int] = field(default_factory=dict)
    columns: dict[str, Any] | None = None


def prm(**options: Any) -> TrainingSet:
    return prm_set(EVERY, PrmOptions(annotators=TWO, **options))


def choices(**options: Any) -> TrainingSet:
    return preference_set(EVERY, PreferenceOptions(**{"annotator_kinds": PEOPLE, **options}))


def derived(origin: Any, **options: Any) -> TrainingSet:
    annotators = () if origin == "scores" else TWO
    return derived_pair_set(EVERY, DerivedPairOptions(origin=origin, annotators=annotators, **options))


def cloud() -> TrainingSet:
    return cloud_set(EVERY, choices(origin="outcomes", annotator_kinds=()))


def solving() -> TrainingSet:
    return rl_set(EVERY, RlOptions(tasks=("solve",), solve_prompt="plain"))


def judging() -> TrainingSet:
    return rl_set(EVERY, RlOptions(tasks=("judge",), solve_prompt="plain", judge_prompt=str(JUDGE_PROMPT)))


def right_ones() -> TrainingSet:
    return sft_set(EVERY, SftOptions(prompt="plain"))


OTHERS = {"other_annotator": 6}
JUDGES = {"other_annotator_kind": 1}
ORM = {"dropped": {"duplicate": 1, "outcome_unknown": 1}}
TIE = {"tie": 1}
CHOICES = TIE | JUDGES
LEFT_OUT = {"margins_left_out": 1}
SEVERAL = {"pairs_of_several_labellers": 1}
CRITIQUES = {"dropped": {"no_prompt_for_kind": 1, "refuted": 1, "unconfirmed": 1, "unreadable": 1}}
CRITIQUE_PAIRS = {
    "more": {
        "critiques_no_prompt_for_kind": 1,
        "critiques_unconfirmed": 1,
        "critiques_unreadable": 1,
        "subjects_without_pairs": 5,
    }
}
RIGHT = {"dropped": {"duplicate": 1, "outcome_unknown": 1, "wrong": 2}}

CASES: dict[str, Case] = {
    "prm_trl": Case("prm", "trl", prm, 10, OTHERS),
    "prm_openrlhf": Case("prm", "openrlhf", prm, 10, OTHERS),
    "prm_math-shepherd": Case("prm", "math-shepherd", prm, 10, OTHERS),
    "prm_rlhflow": Case("prm", "rlhflow", prm, 10, OTHERS),
    "prm_qwen": Case("prm", "qwen", prm, 10, OTHERS),
    "prm_lightman": Case("prm", "lightman", prm, 10, OTHERS),
    "prm_processbench": Case("prm", "processbench", prm, 10, OTHERS | {"outcome_unknown": 1}),
    "prm_prmbench": Case(
        "prm", "prmbench", lambda: prm(after_first_error="all"), 10, OTHERS | {"steps_unlabelled": 1}
    ),
    "prm_prm800k": Case(
        "prm", "prm800k", lambda: prm800k_set(EVERY, LabelFilter(annotators=TWO), annotator_names=True), 10, OTHERS
    ),
    "prm_alternatives": Case(
        "prm",
        "trl",
        lambda: with_alternatives(prm(), labels=LabelFilter(annotators=TWO)),
        12,
        OTHERS,
        more={"rows_of_alternatives": 2},
    ),
    "orm_trl": Case("orm", "trl", lambda: orm_set(EVERY), 6, **ORM),
    "orm_trl-chat": Case("orm", "trl-chat", lambda: orm_set(EVERY), 6, **ORM),
    "orm_llamafactory": Case("orm", "llamafactory", lambda: orm_set(EVERY), 6, **ORM),
    "orm_rlhflow": Case("orm", "rlhflow", lambda: orm_set(EVERY), 6, **ORM),
    "best_of_n_trl": Case("best_of_n", "trl", lambda: best_of_n_set(EVERY), 2, more={"solutions_without_outcome": 1}),
    "best_of_n_rewardbench2": Case(
        "best_of_n", "rewardbench2", lambda: best_of_n_set(EVERY), 2, more={"solutions_without_outcome": 1}
    ),
    "preference_trl": Case("preference", "trl", choices, 4, CHOICES, SEVERAL),
    "preference_trl-chat": Case("preference", "trl-chat", choices, 4, CHOICES, SEVERAL),
    "preference_trl-implicit": Case("preference", "trl-implicit", choices, 4, CHOICES, SEVERAL),
    "preference_openrlhf": Case("preference", "openrlhf", choices, 4, CHOICES, SEVERAL),
    "preference_llamafactory": Case("preference", "llamafactory", choices, 4, CHOICES, LEFT_OUT | SEVERAL),
    "preference_axolotl": Case("preference", "axolotl", choices, 4, CHOICES, LEFT_OUT | SEVERAL),
    "preference_rewardbench": Case("preference", "rewardbench", choices, 4, CHOICES, LEFT_OUT | SEVERAL),
    "preference_rewardbench2": Case("preference", "rewardbench2", choices, 4, CHOICES, LEFT_OUT | SEVERAL),
    "preference_judge": Case(
        "preference", "trl", lambda: choices(annotator_kinds=("model",)), 4, {"other_annotator_kind": 3}
    ),
    "preference_scores": Case("preference", "trl", lambda: derived("scores", reward_model="orm-1"), 4, TIE),
    "preference_shared-prefix": Case(
        "preference", "trl", lambda: derived("shared-prefix"), 1, more={"labels_other_annotator": 5}
    ),
    "preference_alternatives": Case("preference", "trl", lambda: derived("alternatives"), 1),
    "critique_messages": Case("critique", "messages", lambda: critique_set(EVERY), 10, **CRITIQUES),
    "critique_prompt-completion": Case("critique", "prompt-completion", lambda: critique_set(EVERY), 10, **CRITIQUES),
    "critique_prompt-completion-chat": Case(
        "critique", "prompt-completion-chat", lambda: critique_set(EVERY), 10, **CRITIQUES
    ),
    "critique_llamafactory": Case("critique", "llamafactory", lambda: critique_set(EVERY), 10, **CRITIQUES),
    **{
        f"critique_preference_{layout}": Case(
            "critique_preference", layout, lambda: critique_preference_set(EVERY), 1, **CRITIQUE_PAIRS
        )
        for layout in ("trl", "trl-chat", "trl-implicit", "openrlhf", "llamafactory", "axolotl")
    },
    "cloud_cloud": Case("cloud", "cloud", cloud, 3, {"duplicate": 1}),
    "sft_messages": Case("sft", "messages", right_ones, 6, **RIGHT),
    "sft_prompt-completion": Case("sft", "prompt-completion", right_ones, 6, **RIGHT),
    "sft_prompt-completion-chat": Case("sft", "prompt-completion-chat", right_ones, 6, **RIGHT),
    "sft_llamafactory": Case("sft", "llamafactory", right_ones, 6, **RIGHT),
    "rl_verl": Case("rl", "verl", solving, 3),
    "rl_trl": Case("rl", "trl", solving, 3),
    "rl_judge": Case("rl", "verl", judging, 6, {"no_variant": 3, "outcome_unknown": 1}),
}


def fill(engine: sa.Engine) -> None:
    """Puts the rows into an empty database."""
    with writing(engine) as session:
        for group in _groups():
            session.add_all(group)
            session.flush()


def _groups() -> list[list[Any]]:
    eggs, product = "9 + 7 = 16", "3 × 4 = 12"
    return [
        [
            _problem(1, "Ann has 9 eggs and finds 7 more. How many has she?", "16"),
            _problem(2, "What is 2 + 3 × 4?", "14"),
            _problem(3, "What is 3 + 4 × 5?", "23", family=2, kind="template", parent_id=2, trust="template"),
            *(
                ProblemSource(problem_id=key, source="small", source_key=str(key), licence="CC0-1.0")
                for key in (1, 2, 3)
            ),
        ],
        [
            _solution(1, 1, [eggs], "16", True),
            _solution(2, 1, ["9 + 7 = 17", "So 17."], "17", False),
            _solution(3, 1, [eggs], "16", True),
            _solution(4, 2, [product, "2 + 12 = 14", 'It is "14".'], "14", True),
            _solution(5, 2, ["2 + 3 = 5", "5 × 4 = 20"], None, None),
            _solution(6, 2, [product, "2 + 12 = 15"], "15", False),
        ],
        [
            Annotator(annotator_id=1, name="annotator-1"),
            Annotator(annotator_id=2, name="annotator-2"),
            Annotator(annotator_id=3, name="checker", kind="program"),
            Annotator(annotator_id=4, name="judge-1", kind="model"),
        ],
        _labelled(1, 1, 1, [1]),
        _labelled(2, 2, 1, [-1]),
        _labelled(3, 3, 1, [1]),
        _labelled(4, 4, 1, [1, 0, 1]),
        _labelled(5, 4, 2, [1, 1, 1]),
        _labelled(6, 4, 3, [1, -1, 1]),
        _labelled(7, 5, 2, [1], finish_reason="give_up"),
        _labelled(8, 5, 1, [], finish_reason="bad_problem"),
        _labelled(10, 1, 2, [1]),
        _labelled(9, 1, 2, [-1], superseded_by_id=10),
        _labelled(11, 6, 2, [1, -1], first_error=1, duration_ms=4200),
        [WrittenStep(annotation_id=11, step_index=1, text="2 + 12 = 14")],
        _preferred(12, 1, 1, 2, "a", 2),
        _preferred(13, 1, 2, 1, "equal"),
        _preferred(14, 2, 5, 4, "b"),
        _preferred(15, 4, 2, 1, "b", 1),
        [
            _alternative(1, "3 × 4 = 12, so 2 + 12 = 14"),
            _alternative(2, "5 × 4 = 21"),
        ],
        [
            AlternativeLabel(annotation_id=7, alternative_id=1, label=1, is_chosen=True),
            AlternativeLabel(annotation_id=7, alternative_id=2, label=-1),
        ],
        [
            Score(solution_id=solution_id, reward_model="orm-1", kind="orm", value=value)
            for solution_id, value in ((1, 0.75), (2, 0.25), (3, 0.75), (4, 0.5), (5, 0.5), (6, 0.125))
        ],
        [
            _run(1, {"critic": "judge", "prompt": "Judge.\n{problem}\n{steps}"}),
            _run(
                2,
                {
                    "critic": "variant",
                    "prompt": "Apply.\n{problem}\n{steps}\n{variant}",
                    "fallback": "Step through.\n{problem}\n{steps}",
                },
            ),
            _run(3, {"critic": "meta", "prompt": "Is it right?\n{problem}\n{steps}\n{critique}\n{verdict}"}),
        ],
        [
            _critique(1, 4, 2, "judge", "All hold. \\boxed{-1}", "pass", True, run_id=1),
            _critique(2, 4, 2, "judge", "It starts wrong. \\boxed{0}", "fail", False, run_id=1),
            _critique(3, 4, 3, "variant", "Step 1: 4 × 5 = 20\nAnswer: 23\nVerdict: pass", "pass", True, run_id=2),
            _critique(4, 6, 2, "judge", "Hm.", "unreadable", None, run_id=1),
            _critique(5, 6, 2, "judge", "2 + 12 is 14. \\boxed{1}", "fail", True, run_id=1),
            _critique(6, 1, 1, "concrete", "Step 1: 9 + 7 = 16\nVerdict: pass", "pass", True, run_id=2),
            _critique(7, 2, 1, "judge", "9 + 7 is 16. \\boxed{0}", "fail", True, run_id=1),
        ],
        [
            _critique(8, 4, 2, "meta", "3 × 4 is 12.\nVerdict: fail", "fail", True, run_id=3, target_critique_id=2),
            _critique(9, 2, 1, "note", "Adds wrongly.", "fail", True, source="notes", source_key="1"),
            _critique(10, 1, 1, "judge", "Fine. \\boxed{-1}", "pass", None, run_id=1),
        ],
    ]


def _problem(
    id_: int, statement: str, answer: str, *, family: int | None = None, trust: str = "source", **more: Any
) -> Problem:
    return Problem(
        problem_id=id_,
        statement_hash=f"{id_:032x}",
        family=f"{family or id_:032x}",
        statement=statement,
        reference_answer=answer,
        reference_trust=trust,
        **({"kind": "original"} | more),
    )


def _solution(id_: int, problem_id: int, steps: list[str], answer: str | None, outcome: bool | None) -> Solution:
    return Solution(
        solution_id=id_,
        problem_id=problem_id,
        source="small",
        source_key=str(id_),
        generator=None if id_ == 6 else "model-1",
        text="\n".join(steps),
        text_hash=f"{id_:032x}",
        steps=steps,
        answer=answer,
        outcome=outcome,
        outcome_rule=None if outcome is None else "source",
        licence="CC0-1.0",
    )


def _labelled(id_: int, solution_id: int, annotator_id: int, labels: list[int], **more: Any) -> list[Any]:
    said = Annotation(
        annotation_id=id_,
        submission_id=f"submission-{id_}",
        kind="steps",
        annotator_id=annotator_id,
        solution_id=solution_id,
        mode="all_steps",
        created_at=NOON,
        **({"finish_reason": "found_error" if -1 in labels else "solution"} | more),
    )
    return [said, *(StepLabel(annotation_id=id_, step_index=i, label=label) for i, label in enumerate(labels))]


def _preferred(id_: int, annotator_id: int, a: int, b: int, choice: str, strength: int | None = None) -> list[Any]:
    return [
        Annotation(
            annotation_id=id_,
            submission_id=f"submission-{id_}",
            kind="preference",
            annotator_id=annotator_id,
            solution_id=a,
        ),
        Preference(annotation_id=id_, solution_a_id=a, solution_b_id=b, choice=choice, strength=strength),
    ]


def _alternative(id_: int, text: str) -> Alternative:
    return Alternative(
        alternative_id=id_, solution_id=5, step_index=1, source="small", source_key=f"alternative-{id_}", text=text
    )


def _run(id_: int, record: dict[str, str]) -> Run:
    told = {
        name: text if name == "critic" else {"name": f"{name}-{id_}", "text": text, "hash": ""}
        for name, text in record.items()
    }
    return Run(run_id=id_, run_key=f"{id_:032x}", kind="critiques", engine="openai", model="critic-1", record=told)


def _critique(
    id_: int,
    solution_id: int,
    problem_id: int,
    kind: str,
    text: str,
    verdict: str,
    confirmed: bool | None,
    **more: Any,
) -> Critique:
    return Critique(
        critique_id=id_,
        solution_id=solution_id,
        problem_id=problem_id,
        kind=kind,
        critic="critic-1",
        text=text,
        verdict=verdict,
        is_confirmed=confirmed,
        confirmation_rule=None if confirmed is None else "outcome",
        **more,
    )
