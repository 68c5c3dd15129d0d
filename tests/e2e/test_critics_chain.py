"""A model's critique on a variant, from the database to the reviewer's eyes: its chain stands beside the steps."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from db.connect import open_database, writing
from db.models import Problem, Solution
from db.subjects import SolutionSelection
from generator.asking import run_task
from generator.critiques.solutions import critiques_task
from stepmark.engine import Sampling
from stepmark.flows.evidence import evidence_of
from stepmark.flows.verdicts import verify_verdicts
from tests.scripted_engine import ScriptedEngine

from .stage import Stage
from .test_surface import press, task

HATS = "Paul has {} hats. He loses {} hats. He gives away half of the hats. How many hats are there now?"
STEPS = ["11 - 7 = 4", "4 - 2 = 2"]
"""Halves by taking two away: overfit."""
CHAIN = "Step 1: 15 - 5 = 10\nStep 2: 10 - 2 = 8\nAnswer: 8\n"
CAUGHT = CHAIN + "First error: step 2\nVerdict: fail"
FOOLED = CHAIN + "First error: none\nVerdict: pass"


def evidence_after(tmp_path: Path, words: str) -> dict[str, Any]:
    """What the server attaches once a model has said these words of the solution on a variant, and was verified."""
    database: sa.Engine = open_database(f"sqlite:///{tmp_path / 'a.db'}", create=True)
    with writing(database) as session:
        for problem_id, (has, loses) in ((1, (11, 7)), (2, (15, 5))):
            is_variant = problem_id == 2
            session.add(
                Problem(
                    problem_id=problem_id,
                    statement=HATS.format(has, loses),
                    statement_hash=f"{problem_id:032d}",
                    family="0" * 32,
                    reference_answer=str((has - loses) // 2),
                    kind="template" if is_variant else "original",
                    parent_id=1 if is_variant else None,
                    reference_trust="template" if is_variant else None,
                )
            )
            session.flush()
        session.add(
            Solution(
                solution_id=1, problem_id=1, source="made", source_key="1", text="\n".join(STEPS), text_hash="1" * 32,
                steps=STEPS, answer="2", outcome=True,
            )
        )  # fmt: skip
    engine = ScriptedEngine(lambda request, index: words, model="critic-7b")
    asked = critiques_task("variant", sampling=Sampling(), n=1, model="critic-7b", selection=SolutionSelection())
    report = run_task(database, engine, asked)  # type: ignore[arg-type]
    assert report.status == "done"
    verify_verdicts(database)
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(evidence_of(database, [1])[1])))
    database.dispose()
    return found


def after_the_answer(page: Page, stage: Stage, evidence: dict[str, Any]) -> None:
    """Shows the task, before whose answer nothing of the evidence is seen, and answers it."""
    own = {"statement": HATS.format(11, 7), "reference_answer": "2", "outcome": True}
    stage.put(page, task(steps=STEPS, answer="2", evidence=evidence, **own), task(2))
    expect(page.locator(".sm-evidence, .sm-variant, .sm-strip")).to_have_count(0)
    press(page, "3", "3", "3", "Enter")
    expect(page.locator(".sm-variant")).to_be_visible()


@pytest.mark.parametrize("is_caught", [True, False])
def test_a_models_chain_on_a_variant_stands_beside_the_steps_after_the_answer(
    page: Page, stage: Stage, tmp_path: Path, is_caught: bool
) -> None:
    evidence = evidence_after(tmp_path, CAUGHT if is_caught else FOOLED)
    by_model = [one for one in evidence["applications"] if one["kind"] == "variant"]
    assert [(one["verdict"], one["is_confirmed"]) for one in by_model] == [
        ("fail", True) if is_caught else ("pass", False)
    ]
    after_the_answer(page, stage, {**evidence, "applications": by_model})
    cards = page.locator(".sm-card")
    # The variant's text, with what is new in it.
    expect(page.locator(".sm-new-input")).to_contain_text("Paul has 15")
    expect(page.locator(".sm-variant .sm-mark-changed").first).to_have_text("15")
    # Each carried step beside its own.
    expect(cards.nth(0).locator(".sm-strip")).to_contain_text("15 - 5 = 10")
    expect(cards.nth(0).locator(".sm-shift")).to_have_text("4→10")
    expect(cards.nth(1).locator(".sm-strip")).to_contain_text("10 - 2 = 8")
    expect(cards.nth(1).locator(".sm-shift")).to_have_text("2→8")
    # Where it ended, which is not the answer there, whatever the critic says.
    expect(page.locator(".sm-answers")).to_contain_text("8")
    expect(page.locator(".sm-relation")).to_have_attribute("aria-label", "is not")
    expect(page.locator(".sm-number-expected")).to_have_text("5")
    verdict, trust = page.locator(".sm-verdict strong").first, page.locator(".sm-carried-by")
    if is_caught:
        expect(verdict).to_have_text("The critic says: the reasoning breaks at step 2.")
        expect(trust).to_contain_text("Carried over by critic-7b. Confirmed (variant answer).")
        expect(cards.nth(1).locator(".sm-strip.is-broken")).to_contain_text("breaks here")
    else:
        expect(verdict).to_have_text("The critic says: the reasoning holds on the new input.")
        expect(trust).to_contain_text("Carried over by critic-7b. Refuted by the verifier (variant answer).")
        expect(cards.nth(2).locator(".sm-strip")).to_contain_text("expected 5")
        expect(page.get_by_text("as expected", exact=True)).to_have_count(0)
    page.get_by_text("The critic's words").click()
    expect(page.locator(".sm-verdict details .sm-text")).to_contain_text("Step 2: 10 - 2 = 8")
