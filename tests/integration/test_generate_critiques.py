"""Critics of every kind on both databases: what they are shown, what is stored of their words, and if it is right."""

import json
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db.annotations import ImportedAnnotation, add_annotations
from db.connect import open_database, reading, writing
from db.critiques import CritiqueSelection
from db.models import Critique, Problem, Refinement, Solution
from db.problems import add_problems
from db.solutions import add_solutions, solution_text_hash
from db.subjects import SolutionSelection
from generator.asking import Report, run_task
from generator.critiques.critiques import meta_task
from generator.critiques.refinements import refinements_task
from generator.critiques.replays import replay_solutions
from generator.critiques.solutions import critiques_task
from generator.domain import draw_problems, draw_variant, teach, teach_misread
from stepmark.cli.main import app
from stepmark.engine import Completion, EngineIdentity, Failure, Request, Sample, Sampling
from stepmark.errors import InputError
from stepmark.flows.verdicts import verify_verdicts
from stepmark.flows.verify import verify_solutions
from stepmark.problems import family_hash, statement_hash
from stepmark.records import AnnotationRecord, ProblemRecord, SolutionRecord

MODEL = str(Path(__file__).parents[2] / "examples" / "embedded" / "model")
EVERY = SolutionSelection()
SQUARE, OBLONG = "A square is 5 high and 5 wide. Its area?", "A rectangle is 4 high and 10 wide. Its area?"


class Critic:
    """Answers as its script says; keeps what it was asked."""

    def __init__(self, says: Callable[[str, int], str | Failure], model: str = "critic") -> None:
        self.identity = EngineIdentity("scripted", model)
        self.asked: list[str] = []
        self._says = says

    def answer(self, requests: Iterable[Request | None]) -> Generator[tuple[Request, Completion] | None, None, None]:
        for request in requests:
            if request is None:
                return
            prompt = request.messages[-1].content
            self.asked.append(prompt)
            said = [self._says(prompt, index) for index in request.sample_indices]
            yield (
                request,
                Completion(tuple(one if isinstance(one, Failure) else Sample(one, "stop", 5) for one in said)),
            )

    def close(self) -> None:
        pass


def saying(text: str) -> Critic:
    return Critic(lambda prompt, index: text)


def add(
    database: sa.Engine,
    statement: str,
    solutions: Iterable[tuple[tuple[str, ...], str]],
    *,
    reference: str | None = "25",
    variants: Iterable[tuple[str, str | None]] = (),
    generator: str = "writer",
    kind: str = "template",
) -> list[int]:
    """Adds a problem with solutions and variants; returns the ids of the solutions."""
    with writing(database) as session:
        record = ProblemRecord(statement, "toy", statement[:200], reference_answer=reference)
        (problem_id,) = add_problems(session, [record]).problem_ids
        records, hashes = [], []
        for number, (steps, answer) in enumerate(solutions):
            text = "\n\n".join([*steps, f"# Answer\n\n{answer}"])
            key = f"{statement[:180]}/{number}"
            records.append(SolutionRecord("toy", key, text=text, steps=steps, answer=answer, generator=generator))
            hashes.append(solution_text_hash(statement_hash(statement), text))
        added = add_solutions(session, records, problem_ids=[problem_id] * len(records), text_hashes=hashes)
        for text, answer in variants:
            variant = Problem(
                statement=text,
                statement_hash=statement_hash(text),
                family=family_hash(text),
                kind=kind,
                parent_id=problem_id,
                reference_answer=answer,
            )
            session.add(variant)
    return added.solution_ids


def label(database: sa.Engine, solution_id: int, *labels: int, by: str = "ann", kind: str = "person") -> None:
    finish = "found_error" if -1 in labels else "solution"
    record = AnnotationRecord(by, kind, labels, finish)
    with writing(database) as session:
        add_annotations(session, [ImportedAnnotation(record, solution_id, "toy", str(solution_id))])


def criticise(database: sa.Engine, engine: Critic, critic: str, *, n: int = 1, **options: Any) -> Report:
    options = {"selection": EVERY, **options}
    task = critiques_task(critic, sampling=Sampling(), n=n, model=engine.identity.model, **options)
    return run_task(database, engine, task)  # type: ignore[arg-type]


def rows(database: sa.Engine, *columns: str) -> list[tuple[Any, ...]]:
    with reading(database) as session:
        query = sa.select(*(getattr(Critique, name) for name in columns)).order_by(Critique.critique_id)
        return [tuple(row) for row in session.execute(query)]


def test_a_judge_sees_numbered_paragraphs_and_each_sample_is_a_critique(database: sa.Engine) -> None:
    (solution_id,) = add(database, SQUARE, [(("5 * 5 = 25", "25 + 0 = 25"), "25")])
    votes = [r"Paragraph 1 adds nothing. \boxed{1}", r"\boxed{-1}", "I cannot tell."]
    engine = Critic(lambda prompt, index: votes[index])
    report = criticise(database, engine, "judge", n=3)
    (prompt,) = engine.asked
    assert SQUARE in prompt
    assert "<paragraph_0>\n5 * 5 = 25\n</paragraph_0>\n\n<paragraph_1>\n25 + 0 = 25\n</paragraph_1>" in prompt
    assert rows(database, "solution_id", "kind", "critic", "text", "verdict", "first_error", "extra") == [
        (solution_id, "judge", "critic", votes[0], "fail", 1, None),
        (solution_id, "judge", "critic", votes[1], "pass", None, None),
        (solution_id, "judge", "critic", votes[2], "unreadable", None, {"reason": "no box"}),
    ]
    assert report.counts == {"critiques": 3, "fail": 1, "pass": 1, "unreadable: no box": 1}


CARRIED = "Step 1: 4 * 4 = 16\nAnswer: 16\nFirst error: step 1\nVerdict: fail"


def test_a_variant_critic_is_shown_the_variant_without_its_answer_and_applies_the_chain(database: sa.Engine) -> None:
    variants = [(OBLONG, "777"), ("A rectangle is 3 high and 9 wide. Its area?", "27"), ("Unknown?", None)]
    (solution_id,) = add(database, SQUARE, [(("5 * 5 = 25",), "25")], variants=variants)
    engine = saying(CARRIED)
    report = criticise(database, engine, "variant", n_variants=2)
    assert (report.status, report.n_items, report.n_stored) == ("done", 1, 2)
    assert [OBLONG in prompt for prompt in engine.asked] == [True, False]
    assert not any("777" in prompt or "27" in prompt for prompt in engine.asked)
    assert all("Step 1: 5 * 5 = 25\n\n# Answer\n\n25" in prompt for prompt in engine.asked)
    with reading(database) as session:
        ids = list(session.scalars(sa.select(Problem.problem_id).where(Problem.parent_id.is_not(None))))
    extra = {"carried": [{"step": 0, "text": "4 * 4 = 16", "value": "16"}]}
    assert rows(database, "solution_id", "problem_id", "kind", "verdict", "first_error", "answer", "extra") == [
        (solution_id, problem_id, "variant", "fail", 0, "16", extra) for problem_id in sorted(ids)[:2]
    ]


def test_without_a_variant_to_carry_it_to_the_chain_is_stepped_through(database: sa.Engine) -> None:
    add(database, SQUARE, [(("5 * 5 = 25",), "25")], variants=[("The same, in other words?", "25")], kind="rephrased")
    engine = saying("Step 1: five rows of five = 25\nAnswer: 25\nFirst error: none\nVerdict: pass")
    criticise(database, engine, "variant")
    assert "other words" not in engine.asked[0]
    assert rows(database, "kind", "verdict", "answer") == [("concrete", "pass", "25")]


@pytest.mark.parametrize("critic", ["judge", "variant", "concrete", "self", "reference"])
def test_the_same_command_asks_nothing_again_and_failures_once_more(database: sa.Engine, critic: str) -> None:
    add(
        database,
        SQUARE,
        [(("5 * 5 = 25",), "25"), (("5 + 5 = 10",), "10")],
        generator="critic",
        variants=[(OBLONG, "40")],
    )
    broken = Critic(lambda prompt, index: Failure("timeout", "late") if "5 + 5" in prompt else CARRIED)
    first = criticise(database, broken, critic)
    assert (first.n_stored, first.failures) == (1, {"timeout": 1})
    second, third = saying(CARRIED), saying(CARRIED)
    criticise(database, second, critic)
    report = criticise(database, third, critic)
    assert [len(engine.asked) for engine in (broken, second, third)] == [2, 1, 0]
    assert (report.n_items_before, report.n_items) == (2, 2)
    assert len(rows(database, "critique_id")) == 2


def test_solutions_that_a_critic_cannot_be_asked_about_are_dropped_by_reason(database: sa.Engine) -> None:
    add(
        database,
        SQUARE,
        [((), "25"), (("5 * 5 = 25" + " " * 90 + ".",), "25"), (("5 * 5 = 25",), "25")],
        reference=None,
    )
    dropped = {
        critic: criticise(database, saying("?"), critic, max_chars=90).dropped for critic in ("self", "reference")
    }
    usual = {"no steps": 1, "too long": 1}
    assert dropped == {"self": usual | {"by another model": 1}, "reference": usual | {"no reference": 1}}
    assert rows(database, "critique_id") == []


def test_a_reference_critic_sees_the_reference_and_equal_questions_are_asked_once(database: sa.Engine) -> None:
    add(database, SQUARE, [(("5 * 5 = 25",), "25"), (("5 * 5 = 25",), "25")], reference="about 25.0")
    engine = saying("Verdict: pass")
    everything = SolutionSelection(unique_texts=False)
    report = criticise(database, engine, "reference", selection=everything)
    assert (len(engine.asked), "about 25.0" in engine.asked[0]) == (1, True)
    assert report.counts == {"critiques": 1, "pass": 1, "critiques of an equal solution": 1}


def test_a_prompt_of_ones_own_must_have_the_places_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("{problem} {steps}")
    options: Any = {
        "sampling": Sampling(),
        "n": 1,
        "model": "m",
        "selection": EVERY,
        "prompt": str(tmp_path / "mine.txt"),
    }
    assert critiques_task("judge", **options).prompt.text == "{problem} {steps}"
    with pytest.raises(InputError, match=r"no place \{variant\}"):
        critiques_task("variant", **options)


def test_a_critique_is_criticised_and_refined_and_the_verifier_follows(database: sa.Engine) -> None:
    (wrong,) = add(database, SQUARE, [(("5 + 5 = 10",), "10")], variants=[(OBLONG, "40")])
    verify_solutions(database)
    criticise(database, saying("Step 1: 4 + 10 = 14\nAnswer: 14\nFirst error: step 1\nVerdict: fail"), "variant")
    criticise(database, saying(r"Fine. \boxed{-1}"), "judge")
    criticise(database, saying("no box"), "judge", selection=SolutionSelection(limit=5), n=1)

    options: Any = {"sampling": Sampling(), "n": 1, "model": "critic"}
    of_all = CritiqueSelection(EVERY)
    meta = Critic(lambda prompt, index: "Verdict: pass" if "Fine." in prompt else "Verdict: fail")
    report = run_task(database, meta, meta_task(selection=of_all, **options))  # type: ignore[arg-type]
    assert (report.n_items, report.counts) == (2, {"critiques": 2, "pass": 1, "fail": 1})
    assert [OBLONG in prompt for prompt in meta.asked] == [True, False]

    failed = CritiqueSelection(EVERY, verdict="fail")
    better = saying("Step 1: 5 * 5 = 25\n\n# Answer\n\n25")
    refined = run_task(database, better, refinements_task(selection=failed, **options))  # type: ignore[arg-type]
    assert (refined.n_items, refined.counts) == (1, {"refinements": 1, "without a readable answer": 0})
    again = run_task(database, better, refinements_task(selection=failed, **options))  # type: ignore[arg-type]
    assert (len(better.asked), again.n_items_before) == (1, 1)

    verify_solutions(database)
    found = verify_verdicts(database)
    with reading(database) as session:
        refinement = session.execute(
            sa.select(Critique.solution_id, Critique.kind, Solution.answer, Solution.outcome, Solution.generator)
            .select_from(Refinement)
            .join(Critique)
            .join(Solution, Solution.solution_id == Refinement.solution_id)
        ).one()
    assert tuple(refinement) == (wrong, "variant", "25", True, "critic")
    assert rows(database, "kind", "verdict", "is_confirmed", "confirmation_rule") == [
        ("variant", "fail", True, "outcome"),
        ("judge", "pass", False, "outcome"),
        ("meta", "fail", False, "critique judged"),
        ("meta", "pass", False, "critique judged"),
    ]
    assert (found.n_read, found.n_known) == (4, 4)
    assert found.agree == {("variant", "outcome"): 1}


def test_verdicts_are_confirmed_by_the_variant_and_labels_overrule_it(database: sa.Engine) -> None:
    area = [
        (("5 * 5 = 25",), "25"),
        (("5 * 5 = 25", "25 * 1 = 25"), "25"),
        (("Count: 25",), "25"),
        (("Guess",), "25"),
    ]
    ids = add(database, SQUARE, area, variants=[(OBLONG, "40")])
    verify_solutions(database)
    said = {
        "Step 2: 25 * 1": "Step 1: 4 * 10 = 40\nStep 2: 40 * 1 = 40\nAnswer: 40\nVerdict: pass",
        "Count": "Step 1: 4 * 10 = 30\nAnswer: 30\nVerdict: fail",
        "Guess": "Step 1: cannot be carried over: no rule\nAnswer: none\nVerdict: fail",
    }
    engine = Critic(lambda prompt, index: next((text for sign, text in said.items() if sign in prompt), CARRIED))
    criticise(database, engine, "variant")
    criticise(database, saying("What a fine solution."), "judge", selection=SolutionSelection(limit=1))
    report = verify_verdicts(database)
    expected = [
        ("fail", True, "variant answer"),
        ("pass", True, "variant answer"),
        ("fail", None, None),  # the critic, not the chain, miscalculates
        ("fail", True, "not carried"),
        ("unreadable", None, "unreadable"),
    ]
    assert rows(database, "verdict", "is_confirmed", "confirmation_rule") == expected
    assert report.unknown == {"nothing decides": 1, "unreadable": 1}
    assert verify_verdicts(database).n_read == 1  # only what nothing has decided

    label(database, ids[0], 1)
    label(database, ids[1], 1, -1)
    label(database, ids[2], -1)
    label(database, ids[3], -1, by="a model", kind="model")
    report = verify_verdicts(database, again=True)
    expected[:3] = [("fail", False, "step labels"), ("pass", False, "step labels"), ("fail", True, "step labels")]
    assert rows(database, "verdict", "is_confirmed", "confirmation_rule") == expected
    assert report.first_errors == {"none named": 1}
    quality = report.quality["variant"]
    assert (quality.n_right_failed, quality.n_wrong_passed, quality.n_wrong_failed, quality.n_right_passed) == (
        1,
        1,
        2,
        0,
    )
    assert verify_verdicts(database, again=True) == report


def test_people_outvote_each_other_and_programs_count_only_without_them(database: sa.Engine) -> None:
    ids = add(database, SQUARE, [((f"5 * 5 = {n}", "Done."), str(n)) for n in (25, 26, 27)], reference=None)
    criticise(database, saying(r"\boxed{1}"), "judge")
    label(database, ids[0], 1, 1, by="program", kind="program")
    for by, labels in {"ann": (1, -1), "bob": (-1,), "eve": (1, 1), "program": (1, 1)}.items():
        label(database, ids[1], *labels, by=by, kind="program" if by == "program" else "person")
    for by, labels in {"ann": (1, -1), "bob": (1, 1)}.items():
        label(database, ids[2], *labels, by=by)
    report = verify_verdicts(database)
    assert rows(database, "is_confirmed", "confirmation_rule") == [
        (False, "step labels"),
        (True, "step labels"),
        (None, None),
    ]
    assert report.first_errors == {"same": 1}


def test_planted_rules_are_exposed_by_replay_once_and_for_all(database: sa.Engine) -> None:
    rng = random.Random(2)
    expected: Counter[str] = Counter()
    for problem in draw_problems(12, 961):
        misread = [teach_misread(problem, frozenset([index])) for index in range(len(problem.events))]
        solutions = [teach(problem), *(one for one in misread if one is not None)]
        variant = draw_variant(problem, rng)
        add(
            database,
            problem.statement,
            [(one.steps, one.answer) for one in solutions],
            reference=problem.answer,
            variants=[(variant.statement, variant.answer)],
        )
        expected["solutions"] += len(solutions)
    add(database, SQUARE, [(("5 * 5 = 25",), "25"), ((), "25")], variants=[(OBLONG, "40")])
    add(database, "No variant?", [(("5 * 5 = 25",), "25")])
    report = replay_solutions(database, EVERY)
    assert report.n_read == expected["solutions"] + 3
    assert report.dropped == {"no steps": 1, "no variant": 1}
    assert report.counts["critiques"] == report.n_replayed == expected["solutions"] + 1
    assert report.counts["pass"] > 5
    assert report.counts["fail"] > 5
    assert report.counts["unreadable: ambiguous operand"] >= 1  # the square
    assert replay_solutions(database, EVERY).counts == {"critiques": 0}

    verify_solutions(database)
    verdicts = verify_verdicts(database)
    assert verdicts.disagree == {}
    assert verdicts.quality["replay"].false_alarm_rate == 0
    with reading(database) as session:
        passed = session.execute(
            sa.select(Solution.outcome).join(Critique).where(Critique.verdict == "pass", Critique.kind == "replay")
        ).all()
    assert {outcome for (outcome,) in passed} == {True}


def test_the_embedded_model_cannot_criticise_and_its_words_are_stored_as_unreadable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    rng = random.Random(3)
    for problem in draw_problems(4, 962, part="reserved"):
        variant = draw_variant(problem, rng)
        add(database, problem.statement, [], reference=problem.answer, variants=[(variant.statement, variant.answer)])

    def command(*words: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, [*words, "--db", url, "--json"])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    asking = ("--engine", "transformers", "--model", MODEL, "--source", "toy", "--max-tokens")
    command("generate", "solutions", "--prompt", "plain", "--n", "4", *asking, "96")
    (tmp_path / "short.txt").write_text("{problem} {steps} {variant}")
    for kind in ("judge", "variant", "self"):
        # The model reads 512 tokens: the prompt for variants is longer.
        own = ("--prompt", str(tmp_path / "short.txt")) if kind == "variant" else ()
        report = command("generate", "critiques", "--kind", kind, *own, *asking, "32")
        assert report["counts"]["critiques"] == report["n_items"] >= 4
        again = command("generate", "critiques", "--kind", kind, *own, *asking, "32")
        assert (again["n_stored"], again["n_items_before"]) == (0, report["n_items"])
    replayed = command("generate", "replays")
    assert replayed["n_replayed"] == replayed["n_read"]
    verified = command("verify")["verdicts"]
    found = rows(database, "kind", "verdict", "is_confirmed", "extra")
    by_model = [row for row in found if row[0] != "replay"]
    assert {(verdict, confirmed) for _, verdict, confirmed, _ in by_model} == {("unreadable", None)}
    assert {extra["reason"] for *_, extra in by_model} <= {"no box", "no verdict", "truncated"}
    assert verified["unknown"]["unreadable"] >= len(by_model)
    assert verified["quality"]["replay"]["n_right_failed"] == 0
    database.dispose()
