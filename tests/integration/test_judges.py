"""Judges beside people, from real pairs and critiques to the report: import, a scripted server, the commands."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db.connect import open_database, writing
from db.models import Annotation, Annotator, Critique, CritiqueJudgement, Preference, Solution
from db.preferences import PairSelection, count_pairs, iterate_pairs
from db.verdicts import judged_critiques
from exports.queries.importing import default_options, import_file
from exports.queries.sources import FORMATS
from stepmark.cli.main import app
from stepmark.errors import InputError
from stepmark.flows.judges import compare_judges, judges_of_critiques
from tests.completion_server import CompletionServer, Fault

DATA = Path(__file__).parents[1] / "data" / "imports"
PAIRS = {
    "hh-rlhf": "hh_rlhf_helpful/helpful-base-test.jsonl",
    "pandalm": "pandalm/testset-v1.json",
    "llmbar": "llmbar/natural.json",
    "oasst": "oasst_ranked/en_100_tree.jsonl",
}


def import_pairs(database: sa.Engine) -> None:
    for name, file in PAIRS.items():
        import_file(database, FORMATS[name], DATA / file, options=default_options(FORMATS[name], DATA / file))


def import_critiques(database: sa.Engine) -> None:
    for critic in ("Claude", "GPT3_5"):
        file = DATA / "mr_gsm8k_critiques" / f"{critic}_eval_results.json"
        import_file(database, FORMATS["mr-gsm8k"], file, options=default_options(FORMATS["mr-gsm8k"], file))


def command(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def longer_one(number: int, body: dict[str, Any]) -> Fault:
    """Answers that the longer solution is better, and the first of two of one length."""
    question = body["messages"][-1]["content"]
    first, second = (
        question[question.index(f"Solution {name}:\n\n") : question.index(f"(end of solution {name})")]
        for name in "AB"
    )
    word = "A" if len(first) >= len(second) else "B"
    message = {"role": "assistant", "content": f"It says more.\nVerdict: {word}"}
    choices = [{"index": i, "finish_reason": "stop", "message": message} for i in range(body["n"])]
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    whole = {
        "id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": usage,
    }  # fmt: skip
    return Fault(body=json.dumps(whole).encode())


def test_a_scripted_judge_of_real_pairs_stands_beside_the_people_who_compared_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    import_pairs(database)
    n = count_pairs(database, PairSelection("compared", per_problem=99), None)
    assert "nobody has chosen" not in command("judges", "compare", "--db", url, "--resamples", "0")
    with CompletionServer(fault=longer_one) as server:
        asking = ("generate", "preferences", "--db", url, "--base-url", server.base_url, "--model", "m")
        out = command(*asking, "--pairs", "compared", "--per-problem", "99", "--votes", "1")
    assert f"pairs: read {n}, kept {n}, dropped 0" in out
    report = json.loads(command("judges", "compare", "--db", url, "--json"))
    (judge,) = (one for one in report["habits"] if not one["is_person"])
    people = {one["labeller"]: one for one in report["habits"] if one["is_person"]}
    assert len(people) >= 6
    assert (judge["n_pairs"], judge["longer"]["value"]) == (n, 1.0)
    assert judge["first_position"]["n"] == 2 * n
    (beside,) = report["judges"]
    assert beside["with_most_people"]["n_things"] == n
    # Worked out from the choices themselves: people take the longer one where they agree with the judge.
    n_longer = sum(one["longer"]["n_yes"] for one in people.values())
    assert beside["with_a_person"]["decided"]["n_yes"] == n_longer
    alone = json.loads(command("judges", "compare", "--db", url, "--source", "pandalm*", "--json"))
    assert {one["labeller"] for one in alone["habits"] if one["is_person"]} == {
        f"pandalm-annotator{number}" for number in (1, 2, 3)
    }
    assert alone["people"]["n_things"] == 3 * alone["habits"][0]["n_pairs"]
    printed = command("judges", "compare", "--db", url, "--source", "pandalm*")
    assert "a person with another" in printed
    assert "votes for the first solution" in printed
    database.dispose()


def test_only_pairs_that_people_compared_are_drawn_and_each_once(database: sa.Engine) -> None:
    import_pairs(database)
    every = {
        (pair.a_id, pair.b_id)
        for chunk in iterate_pairs(database, PairSelection("compared", per_problem=99), None)
        for pair in chunk
    }
    with writing(database) as session:
        compared = {
            (min(pair), max(pair))
            for pair in session.execute(sa.select(Preference.solution_a_id, Preference.solution_b_id)).all()
        }
        texts = dict(session.execute(sa.select(Solution.solution_id, Solution.text_hash)).all())
        # A choice that was taken back is none.
        taken = min(every)
        ids = session.scalars(
            sa.select(Preference.annotation_id).where(
                Preference.solution_a_id.in_(taken), Preference.solution_b_id.in_(taken)
            )
        ).all()
        other = session.scalars(
            sa.select(Annotation.annotation_id).where(Annotation.annotation_id.not_in(ids)).limit(1)
        ).one()
        session.execute(sa.update(Annotation).where(Annotation.annotation_id.in_(ids)).values(superseded_by_id=other))
    assert every == {pair for pair in compared if texts[pair[0]] != texts[pair[1]]}
    assert count_pairs(database, PairSelection("compared", per_problem=99), None) == len(every) - 1
    one_each = PairSelection("compared", per_problem=1)
    assert 0 < count_pairs(database, one_each, None) < len(every)
    assert [*iterate_pairs(database, one_each, None)] == [*iterate_pairs(database, one_each, None)]


def test_choices_in_the_other_order_and_of_neither_are_the_pairs_own(database: sa.Engine) -> None:
    import_pairs(database)
    report = compare_judges(database, source="llmbar*", resamples=0)
    (authors,) = report.habits
    with writing(database) as session:
        [*rows] = session.execute(
            sa.select(Preference.solution_a_id, Preference.solution_b_id, Preference.choice)
            .join(Annotation, Annotation.annotation_id == Preference.annotation_id)
            .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
            .where(Annotator.name == authors.labeller)
        ).all()
        session.add(person := Annotator(name="ann"))
        session.flush()
        for number, (a_id, b_id, choice) in enumerate(rows):
            annotation = Annotation(
                submission_id=f"s{number}", kind="preference", annotator_id=person.annotator_id, solution_id=b_id
            )
            session.add(annotation)
            session.flush()
            turned = {"a": "b", "b": "a"}[choice] if number else "both_bad"
            session.add(
                Preference(
                    annotation_id=annotation.annotation_id, solution_a_id=b_id, solution_b_id=a_id, choice=turned
                )
            )
    found = compare_judges(database, source="llmbar*", resamples=0)
    assert (found.people.same.n_yes, found.people.n_things) == (len(rows) - 1, len(rows))
    assert {one.labeller: one.ties.n_yes for one in found.habits} == {authors.labeller: 0, "ann": 1}
    with pytest.raises(InputError, match="no source is named like 'nowhere'"):
        compare_judges(database, source="nowhere")


def test_gpt4_is_held_against_people_on_the_critiques_that_both_judged(database: sa.Engine) -> None:
    import_critiques(database)
    raw = [
        row
        for critic in ("Claude", "GPT3_5")
        for row in json.loads((DATA / "mr_gsm8k_critiques" / f"{critic}_eval_results.json").read_text())
    ]
    words = {"correct": True, "right": True, "incorrect": False, "wrong": False}
    told = [
        (
            words[row["gpt4_error_reason_correctness_analysis"]["Final Decision"].strip("-[]*. \n").lower()],
            words[row["error_reason_correctness"]],
        )
        for row in raw
    ]
    every, *by_critic = judges_of_critiques(database, source="mr*gsm8k*", resamples=50)
    assert (every.judge, every.critic, every.n) == ("gpt-4", None, len(raw))
    assert every.accuracy.n_yes == sum(said == people for said, people in told)
    assert every.right.n_yes == sum(people for _, people in told)
    assert {one.critic for one in by_critic} == {"claude2", "gpt3_5"}
    assert sum(one.accuracy.n_yes for one in by_critic) == every.accuracy.n_yes
    with pytest.raises(InputError, match="no source is named like 'nowhere'"):
        judges_of_critiques(database, source="nowhere")


def test_a_critique_on_which_people_are_divided_evenly_is_left_out_and_partly_right_is_wrong(
    database: sa.Engine,
) -> None:
    import_critiques(database)
    before = list(judged_critiques(database))
    with writing(database) as session:
        targets = session.scalars(
            sa.select(CritiqueJudgement.critique_id)
            .where(CritiqueJudgement.judgement == "right")
            .order_by(CritiqueJudgement.critique_id)
        ).all()
        session.add(person := Annotator(name="ann"))
        session.flush()
        solution_id = session.get_one(Critique, targets[0]).solution_id
        annotation = Annotation(
            submission_id="s", kind="critique", annotator_id=person.annotator_id, solution_id=solution_id
        )
        session.add(annotation)
        session.flush()
        session.add(
            CritiqueJudgement(annotation_id=annotation.annotation_id, critique_id=targets[0], judgement="partly")
        )
    assert len(list(judged_critiques(database))) == len(before) - 1
    with writing(database) as session:
        session.execute(
            sa.update(CritiqueJudgement).where(CritiqueJudgement.critique_id == targets[0]).values(judgement="partly")
        )
    after = list(judged_critiques(database))
    assert (len(after), sum(one.people for one in after)) == (len(before), sum(one.people for one in before) - 1)


def test_the_commands_say_what_to_do_where_there_is_nothing_and_where_flags_stand(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    assert command("judges", "compare", "--db", url).startswith("nobody has chosen between two solutions yet")
    assert command("judges", "critiques", "--db", url).startswith("no critique was judged both by a model")
    import_critiques(database)
    assert "gpt-4 on" in command("judges", "critiques", "--db", url, "--resamples", "20")
    (first, *_) = json.loads(command("judges", "critiques", "--db", url, "--json"))
    assert first["judge"] == "gpt-4"
    result = CliRunner().invoke(app, ["judges", "--db", url, "compare"])
    assert "give the options after `compare`" in str(result.exception)
    database.dispose()
