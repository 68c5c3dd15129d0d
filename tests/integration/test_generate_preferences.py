"""A model as judge of pairs: both orders, votes, what is stored, what is asked again, and what the audit says."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db.connect import open_database, reading, writing
from db.models import Annotation, Annotator, Preference, Problem, ProblemSource, Solution
from db.models import Request as RequestRow
from db.preferences import PairSelection, count_pairs, iterate_pairs
from db.solutions import solution_text_hash
from exports.formats import read_rows
from exports.queries.exporting import Target, export_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.selection import Selection
from generator.asking import Report, run_task
from generator.domain import draw_problems
from generator.preferences import PLACES, PreferencesTask
from stepmark.cli.main import app
from stepmark.engine import Failure, Request, Sample, Sampling
from stepmark.errors import EngineError, InputError, SettingsError
from stepmark.flows.judges import report_judges
from stepmark.problems import family_hash, statement_hash
from stepmark.prompts import Prompt, read_prompt
from tests.completion_server import CompletionServer, Fault
from tests.scripted_engine import ScriptedEngine

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "examples" / "embedded" / "model")
PROMPT = Prompt("short", "{constitution}|{problem}|{first}|{second}")
RULES = Prompt("rules", "the right one")

Verdict = Callable[[str, str, int], str]
"""From the first and the second text and a sample's index to `A`, `B`, `tie`, or a word that is none."""


def add_solutions(database: sa.Engine, outcomes: dict[str, str], generator: str = "gen-1") -> None:
    """A problem for each name, with a solution for each mark: `r` right, `w` wrong, `?` unknown."""
    with writing(database) as session:
        for name, marks in outcomes.items():
            problem = session.scalar(sa.select(Problem).where(Problem.statement_hash == statement_hash(name)))
            if problem is None:
                problem = Problem(
                    statement=name, statement_hash=statement_hash(name), family=family_hash(name), kind="original"
                )
                session.add(problem)
                session.flush()
                session.add(ProblemSource(problem_id=problem.problem_id, source="toy", source_key=name))
            for number, mark in enumerate(marks):
                text = f"{generator} {name} {number} {mark}" + "." * 7 * number
                session.add(
                    Solution(
                        problem_id=problem.problem_id,
                        source="toy",
                        source_key=text,
                        generator=generator,
                        text=text,
                        text_hash=solution_text_hash(problem.statement_hash, text),
                        steps=[text],
                        outcome={"r": True, "w": False, "?": None}[mark],
                    )
                )
                session.flush()


def judge(verdict: Verdict, **options: Any) -> ScriptedEngine:
    def reply(request: Request, index: int) -> str:
        _, _, first, second = request.messages[0].content.split("|")
        return f"Sample {index} on {first} / {second}.\nVerdict: {verdict(first, second, index)}"

    return ScriptedEngine(reply, **options)


def is_right(text: str) -> bool:
    return " r" in text


def by_outcome(first: str, second: str, index: int) -> str:
    return "tie" if is_right(first) == is_right(second) else "A" if is_right(first) else "B"


def preferences(
    database: sa.Engine, engine: ScriptedEngine, *, votes: int = 1, prompt: Prompt = PROMPT, **selection: Any
) -> Report:
    task = PreferencesTask(prompt, RULES, Sampling(), votes, PairSelection(**selection))
    return run_task(database, engine, task)


def stored(database: sa.Engine) -> list[tuple[str, str, str]]:
    """Texts of a and b, and the choice."""
    a, b = sa.orm.aliased(Solution), sa.orm.aliased(Solution)
    query = (
        sa.select(a.text, b.text, Preference.choice)
        .join(a, a.solution_id == Preference.solution_a_id)
        .join(b, b.solution_id == Preference.solution_b_id)
    )
    with reading(database) as session:
        return sorted((left, right, choice) for left, right, choice in session.execute(query))


def test_a_judge_that_knows_what_is_right_chooses_it_in_either_place(database: sa.Engine) -> None:
    add_solutions(database, {"p": "rww", "q": "wr"})
    report = preferences(database, judge(by_outcome), votes=3, per_problem=9)
    assert (report.status, report.n_items, report.n_stored) == ("done", 4, 4 * 6)
    assert report.counts == {"choices": 3, "ties": 1, "flips": 0, "unreadable votes": 0}
    dots = "." * 7
    assert stored(database) == [
        ("gen-1 p 0 r", f"gen-1 p 1 w{dots}", "a"),
        ("gen-1 p 0 r", f"gen-1 p 2 w{dots}{dots}", "a"),
        (f"gen-1 p 1 w{dots}", f"gen-1 p 2 w{dots}{dots}", "equal"),
        ("gen-1 q 0 w", f"gen-1 q 1 r{dots}", "b"),
    ]


def test_all_votes_are_kept_with_their_samples_and_a_rationale_of_the_stored_order(database: sa.Engine) -> None:
    add_solutions(database, {"p": "rw"})
    words = {0: "A", 1: "perhaps A", 2: "B"}

    def verdict(first: str, second: str, index: int) -> str:
        return by_outcome(first, second, index) if not is_right(first) else words[index]

    assert preferences(database, judge(verdict), votes=3).counts["unreadable votes"] == 1
    with reading(database) as session:
        annotation = session.scalars(sa.select(Annotation)).one()
        annotator = session.scalars(sa.select(Annotator)).one()
        preference = session.scalars(sa.select(Preference)).one()
        requests = {row.request_id: row for row in session.scalars(sa.select(RequestRow))}
    assert (annotator.kind, re.fullmatch(r"scripted#[0-9a-f]{7}", annotator.name) is not None) == ("model", True)
    assert (annotation.kind, annotation.solution_id) == ("preference", preference.solution_a_id)
    assert annotation.run_id is not None
    assert (preference.choice, preference.strength, preference.shown_first) == ("equal", None, None)
    assert annotation.extra is not None
    assert annotation.extra["forth"] == ["a", None, "b"]
    assert annotation.extra["back"] == ["a", "a", "a"]
    assert annotation.extra["is_flip"] is True
    told = [requests[id_].response for id_ in annotation.extra["forth_requests"]]
    assert told == [f"Sample {i} on gen-1 p 0 r / gen-1 p 1 w........\nVerdict: {words[i]}" for i in range(3)]
    assert [requests[id_].sample_index for id_ in annotation.extra["back_requests"]] == [0, 1, 2]
    assert annotation.comment == told[0]


def test_the_rationale_is_one_that_comes_to_the_choice(database: sa.Engine) -> None:
    add_solutions(database, {"p": "rw"})

    def verdict(first: str, second: str, index: int) -> str:
        return "tie" if index == 0 else by_outcome(first, second, index)

    preferences(database, judge(verdict), votes=3)
    with reading(database) as session:
        comment = session.scalars(sa.select(Annotation.comment)).one()
    assert comment == "Sample 1 on gen-1 p 0 r / gen-1 p 1 w........\nVerdict: A"


def test_a_judge_that_goes_by_place_gives_ties_only_and_its_report_says_so(database: sa.Engine) -> None:
    add_solutions(database, {"p": "rw", "q": "rw", "s": "rr"})
    report = preferences(database, judge(lambda first, second, index: "A"), votes=2)
    assert report.counts == {"choices": 0, "ties": 3, "flips": 3, "unreadable votes": 0}
    (audit,) = report_judges(database)
    assert (audit.n_pairs, audit.n_ties, audit.n_ties_of_outcomes) == (3, 3, 2)
    assert (audit.first_position.n_yes, audit.first_position.n) == (12, 12)
    assert (audit.flips.n_yes, audit.outcomes.n, audit.length.value) == (3, 0, None)


def test_the_audit_finds_a_judge_that_goes_by_place_and_one_that_goes_by_length_and_no_clean_one(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    add_solutions(database, {f"p{number}": "rwwr" for number in range(40)})

    def by_place(first: str, second: str, index: int) -> str:
        return "A" if int(re.findall(r"p(\d+)", first)[0]) % 3 else by_outcome(first, second, index)

    def by_length(first: str, second: str, index: int) -> str:
        return "A" if len(first) > len(second) else "B"

    for name, verdict in (("clean", by_outcome), ("place", by_place), ("length", by_length)):
        preferences(database, judge(verdict, model=name), per_problem=6)
    out = tmp_path / "out"
    words = ["audit", "--judges", "--db", url, "--boot", "500", "--out", str(out)]
    report = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["audit"]
    clean, place, length = report.values()
    assert (clean["said"], clean["counts"]["kept"], clean["n_problems"]) == ([], 240, 40)
    assert (clean["accuracy"]["value"], clean["findings"][0]["details"]["flip_rate"]) == (1.0, 0.0)
    order, longer = place["findings"]
    assert order["sentence"].startswith("It prefers what it reads first: answers change with the order in 65 % of")
    assert order["value"] == pytest.approx(26 / 40)
    assert 0.4 < order["interval"][0] < order["value"] < order["interval"][1] < 0.85
    assert longer["sentence"] is None
    assert place["accuracy"]["value"] == pytest.approx((14 + 26 / 2) / 40)
    order, longer = length["findings"]
    assert (order["sentence"], order["value"], longer["value"]) == (None, 0.0, 1.0)
    assert longer["sentence"].startswith("It likes length: of two answers that are both right or both wrong")
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert told.stdout.count("240 pairs of 40 problems") == 3
    assert "Nothing can be said against it" in told.stdout
    assert "A judge of pairs on 240 pairs of 40 problems." in (out / "audit.html").read_text()
    assert (out / "effects.png").exists()
    with pytest.raises(SettingsError, match="name a reward model"):
        CliRunner().invoke(app, ["audit", "--db", url], catch_exceptions=False)
    database.dispose()


def test_the_audit_of_judges_says_where_there_is_too_little(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    with pytest.raises(InputError, match="no model has judged a pair yet"):
        CliRunner().invoke(app, ["audit", "--judges", "--db", url], catch_exceptions=False)
    add_solutions(database, {"p": "rw", "q": "rw"})
    preferences(database, judge(lambda first, second, index: "A"))
    told = CliRunner().invoke(app, ["audit", "--judges", "--db", url])
    assert "Not checked, swap: fewer than 10 problems have a judged pair." in told.stdout
    database.dispose()


def test_an_unreadable_judge_stores_nothing_and_is_not_asked_again(database: sa.Engine) -> None:
    add_solutions(database, {"p": "rw", "q": "rw"})

    def verdict(first: str, second: str, index: int) -> str:
        return "A" if "q" in first and is_right(first) else "hm"

    report = preferences(database, judge(verdict), votes=2)
    assert (report.status, report.dropped, report.n_items_done) == ("done", {"unreadable": 2}, 0)
    again = judge(by_outcome)
    assert preferences(database, again, votes=2).dropped == {"unreadable": 2}
    assert again.asked == Counter()
    assert stored(database) == []
    assert report_judges(database) == []


def test_a_verdict_of_a_text_that_was_cut_off_is_no_vote(database: sa.Engine) -> None:
    add_solutions(database, {"p": "rw"})
    engine = ScriptedEngine(lambda request, index: Sample("It may be that\nVerdict: A", "length", 10))
    assert preferences(database, engine).dropped == {"unreadable": 1}


def test_a_second_run_asks_nothing_and_adds_nothing(database: sa.Engine) -> None:
    add_solutions(database, {f"p{number}": "rwrw" for number in range(6)})
    first = preferences(database, judge(by_outcome), votes=2, per_problem=3)
    before = stored(database)
    again = judge(by_outcome)
    second = preferences(database, again, votes=2, per_problem=3)
    assert (first.n_items, second.n_items, second.run_id) == (18, 0, first.run_id)
    assert again.asked == Counter()
    # Another rule meets pairs that this judge has judged: they are not asked again, and stand once.
    other = judge(by_outcome)
    third = preferences(database, other, votes=2, per_problem=99)
    assert (third.run_id != first.run_id, third.n_items) == (True, 18)
    assert len(stored(database)) == 36
    assert set(before) < set(stored(database))
    assert other.asked.total() == 18 * 4


def test_another_prompt_or_number_of_votes_is_another_judge(database: sa.Engine) -> None:
    add_solutions(database, {"p": "rw"})
    other = Prompt("other", PROMPT.text.replace("|", " |", 1))
    for options in ({}, {"prompt": other}, {"votes": 2}):
        assert preferences(database, judge(by_outcome), **options).counts["choices"] == 1  # type: ignore[arg-type]
    with reading(database) as session:
        names = session.scalars(sa.select(Annotator.name)).all()
    assert (len(set(names)), len(report_judges(database))) == (3, 3)


def test_a_stopped_run_resumes_and_a_failed_sample_is_asked_again(database: sa.Engine) -> None:
    add_solutions(database, {f"p{number}": "rw" for number in range(10)})
    n = Counter[str]()

    def reply(request: Request, index: int) -> str | Failure:
        n["asked"] += 1
        if n["asked"] == 14:
            raise KeyboardInterrupt
        return Failure("timeout", "late") if n["asked"] == 5 else "Right.\nVerdict: A"

    first = preferences(database, ScriptedEngine(reply))
    assert (first.status, first.n_stored, first.dropped) == ("stopped", 12, {"failed sample": 1})
    engine = ScriptedEngine(lambda request, index: "Right.\nVerdict: A")
    second = preferences(database, engine)
    assert (second.status, second.n_retried, set(engine.asked.values())) == ("done", 1, {1})
    assert engine.asked.total() == 20 - 12
    assert len(stored(database)) == 10


def test_pairs_follow_the_rule_and_no_text_stands_against_itself(database: sa.Engine) -> None:
    add_solutions(database, {"p": "rrww?", "q": "rr", "s": "w"})
    add_solutions(database, {"p": "r"}, generator="gen-2")
    with writing(database) as session:
        first = session.scalars(sa.select(Solution).order_by(Solution.solution_id)).first()
        assert first is not None
        twin = {name: getattr(first, name) for name in ("problem_id", "text", "text_hash", "steps", "outcome")}
        session.add(Solution(**twin, source="twin", source_key="1", generator="gen-1"))

    def pairs(**options: Any) -> int:
        selection = PairSelection(**{"per_problem": 99, **options})
        found = [pair for chunk in iterate_pairs(database, selection, None) for pair in chunk]
        assert all(pair.a_id < pair.b_id and pair.a_text != pair.b_text for pair in found)
        assert len(found) == count_pairs(database, selection, None)
        return len(found)

    assert pairs(rule="outcome") == 3 * 2
    assert pairs(rule="near") == 3 + 1 + 1
    assert pairs(rule="random") == 15 + 1
    assert pairs(rule="random", generator="gen-1") == 10 + 1
    assert pairs(rule="random", per_problem=2) == 3
    assert pairs(rule="random", limit=5) == 5
    with pytest.raises(InputError, match="no source is named like 'nowhere'"):
        pairs(rule="random", source="nowhere")
    with pytest.raises(SettingsError, match="'best' is no rule"):
        pairs(rule="best")


def test_more_problems_than_one_chunk_are_all_paired(database: sa.Engine) -> None:
    add_solutions(database, {f"p{number}": "rw" for number in range(230)})
    selection = PairSelection("outcome")
    chunks = list(iterate_pairs(database, selection, None))
    statements = [pair.statement for chunk in chunks for pair in chunk]
    assert (len(chunks), len(statements), len(set(statements))) == (3, 230, 230)
    assert count_pairs(database, PairSelection("outcome", limit=105), None) == 105


def test_the_audit_compares_with_people_and_tells_the_judges_own_family(database: sa.Engine) -> None:
    add_solutions(database, {"p": "r", "q": "r"}, generator="scripted-8b")
    add_solutions(database, {"p": "w", "q": "w"}, generator="other")
    preferences(database, judge(by_outcome))
    with writing(database) as session:
        a_id, b_id = session.execute(
            sa.select(Preference.solution_a_id, Preference.solution_b_id).order_by(Preference.annotation_id).limit(1)
        ).one()
        session.add(person := Annotator(name="ann"))
        session.flush()
        # The pair in the other order: its b is right.
        for number, choice in enumerate(("b", "both_bad")):
            annotation = Annotation(
                submission_id=f"s{number}",
                kind="preference",
                annotator_id=person.annotator_id,
                solution_id=b_id,
            )
            session.add(annotation)
            session.flush()
            session.add(
                Preference(
                    annotation_id=annotation.annotation_id, solution_a_id=b_id, solution_b_id=a_id, choice=choice
                )
            )
    (audit,) = report_judges(database)
    assert audit.model == "scripted"
    assert (audit.people.n_yes, audit.people.n) == (1, 2)
    assert (audit.own.n_yes, audit.own.n, audit.own_same_outcome.n) == (2, 2, 0)
    assert (audit.outcomes.n_yes, audit.outcomes.n) == (2, 2)


def test_a_models_preferences_are_exported_and_told_from_peoples(database: sa.Engine, tmp_path: Path) -> None:
    add_solutions(database, {"p": "rw", "q": "ww"})
    preferences(database, judge(by_outcome))

    def exported(*kinds: str) -> tuple[int, list[dict[str, Any]]]:
        folder = tmp_path / "-".join(("set", *kinds))
        options = PreferenceOptions(annotator_kinds=kinds, text="written")
        report = export_set(database, Target(folder, shares={"train": 1.0}), preference_set(Selection(), options))
        return report.dropped.get("tie", 0), list(read_rows(folder, "preference", "train"))

    row = {"prompt": "p", "chosen": "gen-1 p 0 r", "rejected": "gen-1 p 1 w......."}
    assert exported() == exported("model") == (1, [row])
    with pytest.raises(InputError, match="no row to export: read 2, dropped 2 other_annotator_kind"):
        exported("person")


def test_a_prompt_lacks_no_place_and_the_one_that_comes_along_shows_all_it_is_given(tmp_path: Path) -> None:
    prompt, rules = read_prompt("judge_pair", places=PLACES), read_prompt("constitution", places=())
    values = {"constitution": rules.text, "problem": "PROBLEM", "first": "FIRST", "second": "SECOND"}
    filled = prompt.fill(values)
    assert [filled.count(value) for value in values.values()] == [1, 1, 1, 1]
    assert filled.index("FIRST") < filled.index("SECOND") < filled.index("Verdict: A")
    (tmp_path / "mine.txt").write_text("{constitution} {problem} {first}")
    with pytest.raises(InputError, match=r"no place \{second\}"):
        read_prompt(str(tmp_path / "mine.txt"), places=PLACES)


# ------------------------------------------------------------ the commands


def command(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_ask_a_server_under_my_own_rules_and_report(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    add_solutions(database, {"p": "rw", "q": "wr"})
    (tmp_path / "rules.txt").write_text("Be kind.\n")

    def answer(number: int, body: dict[str, Any]) -> Fault:
        question = body["messages"][-1]["content"]
        first, second = (question.index(mark) for mark in ("Solution A:", "Solution B:"))
        word = "A" if is_right(question[first:second]) else "B"
        choices = [
            {
                "index": i,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": f"So:\nVerdict: {word}"},
            }
            for i in range(body["n"])
        ]
        usage = {"prompt_tokens": 9, "completion_tokens": 5 * len(choices), "total_tokens": 9 + 5 * len(choices)}
        return Fault(
            body=json.dumps(
                {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "m",
                    "choices": choices,
                    "usage": usage,
                }
            ).encode()
        )

    with CompletionServer(fault=answer) as server:
        words = ("generate", "preferences", "--db", url, "--base-url", server.base_url, "--model", "m")
        options = ("--pairs", "outcome", "--constitution", str(tmp_path / "rules.txt"))
        out = command(*words, *options)
        assert "pairs: read 2, kept 2, dropped 0" in out
        assert "stored: 2 choices, 0 ties, 0 flips, 0 unreadable votes" in out
        asked = len(server.asked)
        assert all("Be kind." in body["messages"][-1]["content"] for body in server.asked)
        assert "pairs: read 0, kept 0" in command(*words, *options)
        assert len(server.asked) == asked == 4
    (report,) = json.loads(command("judges", "--db", url, "--json"))
    assert (report["n_pairs"], report["outcomes"]["n_yes"], report["first_position"]["value"]) == (2, 2, 0.5)
    printed = command("judges", "--db", url)
    assert re.search(r"right over wrong \(ties: 0\) +1\.000  \[0\.342, 1\.000\]  \(of 2\)", printed)
    database.dispose()


def test_the_embedded_model_is_no_judge_and_nothing_is_stored_of_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    with writing(database) as session:
        for problem in draw_problems(3, 3, part="reserved"):
            session.add(
                Problem(
                    statement=problem.statement,
                    statement_hash=statement_hash(problem.statement),
                    family=family_hash(problem.statement),
                    kind="original",
                )
            )
    own = ("--db", url, "--engine", "transformers", "--model", MODEL)
    command("generate", "solutions", *own, "--prompt", "plain", "--n", "3", "--max-tokens", "128")
    n_pairs = count_pairs(database, PairSelection(), None)
    assert n_pairs > 0
    (tmp_path / "short.txt").write_text("{problem} {first} {second} {constitution}")
    (tmp_path / "rules.txt").write_text("Which?")
    judging = ("generate", "preferences", *own, "--votes", "2", "--max-tokens", "24", "--constitution")
    with pytest.raises(EngineError, match=f"every sample failed .{4 * n_pairs} too_long"):
        command(*judging, "constitution")
    rules = (str(tmp_path / "rules.txt"), "--prompt", str(tmp_path / "short.txt"))
    report = json.loads(command(*judging, *rules, "--json"))
    assert (report["n_items"], report["n_items_done"]) == (n_pairs, 0)
    assert report["dropped"] == {"unreadable": n_pairs}
    assert report["n_stored"] == 4 * n_pairs
    assert stored(database) == []
    assert command("judges", "--db", url).startswith("no model has judged a pair yet")
    database.dispose()
