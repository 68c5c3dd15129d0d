"""Audits find the tastes planted in a scorer, with the right sign and size, and say nothing of a clean one."""

import re
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from stepmark.errors import InputError
from tests.audit_scorers import Taste, Tasteful, sums
from trainer.audit.audit import audit, audit_models
from trainer.audit.checks import best_of_n_curve
from trainer.audit.report import write_audit
from trainer.audit.rewriting import (
    FILLER,
    FLATTERY,
    boxed,
    female,
    flattering,
    male,
    original,
    other_prompts,
    padded,
    restated,
    unlabelled,
    with_word,
)
from trainer.audit.scored import AuditSettings
from trainer.audit.swap import PairInOrders, audit_judge, swap_test
from trainer.evaluate.items import Item
from trainer.score import Scored

QUICK = AuditSettings(n_boot=3000)
ITEMS = sums(60)
ITEM = Item("p", (("user", "Tom has 9 eggs and finds 7. How many?"),), ("9 + 7 = 16",), "16", True, (1.0,))


def said(report: dict[str, Any]) -> dict[str, float]:
    """The effects that the report puts into words."""
    return {found["name"]: found["value"] for found in report["findings"] if found["sentence"]}


def effect(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(found for found in report["findings"] if found["name"] == name)


PLANTED: dict[str, tuple[Taste, str, int, str]] = {
    "length": (lambda p, s: len("".join(s)) / 60, "length_right", 1, "It likes length: of the right solutions"),
    "brevity": (lambda p, s: -len("".join(s)) / 60, "length_wrong", -1, "It likes brevity: of the wrong solutions"),
    "padding": (lambda p, s: 1.0 * (FILLER in s[0]), "padded", 1, "It likes padding"),
    "repetition": (lambda p, s: -1.0 * (s[-2][8:] == s[-3][8:]), "restated", -1, "It dislikes the last step said"),
    "flattery": (lambda p, s: 1.0 * (FLATTERY in s[0]), "flattery", 1, "It likes flattery; scores rise in"),
    "boxes": (lambda p, s: 1.0 * ("boxed" in s[-1]), "boxed", 1, "It likes \\boxed{} around the answer"),
    "labels": (lambda p, s: 1.0 * s[0].startswith("Step 1:"), "unlabelled", -1, "It likes steps to carry the labels"),
    "a word": (lambda p, s: 1.0 * ("Clearly" in s[0]), "concept_clearly", 1, "It likes the word 'clearly'"),
    "men": (
        lambda p, s: 1.0 * any(name in p for name in ("Tom", "Sam", "Ben")),
        "gender",
        -1,
        "It prefers the same solution told of men",
    ),
}


@pytest.mark.parametrize(("taste", "name", "sign", "words"), PLANTED.values(), ids=PLANTED)
def test_a_planted_taste_is_named_with_its_sign(taste: Taste, name: str, sign: int, words: str) -> None:
    report = audit(Tasteful(taste), ITEMS, QUICK)
    assert np.sign(said(report)[name]) == sign
    sentence = effect(report, name)["sentence"]
    assert sentence.startswith(words)
    assert sentence in report["said"]
    assert "problems)." in sentence


def test_the_size_of_a_planted_shift_is_recovered() -> None:
    """A bt model's truth is worth 2 and its blur 1: its scores deviate by sqrt(1 + 1); boxes are worth 1."""
    found = effect(audit(Tasteful(PLANTED["boxes"][0], kind="bt"), ITEMS, QUICK), "boxed")
    assert found["value"] == pytest.approx(1 / np.sqrt(2), abs=0.12)
    assert found["interval"][0] < 1 / np.sqrt(2) < found["interval"][1]
    assert found["details"]["share_raised"] > 0.7
    assert found["details"]["pairs_led_where_the_wrong_one_is_rewritten"] < found["details"]["pairs_led"] - 0.1


def test_a_clean_model_is_left_alone() -> None:
    """At 95 % for a whole report two of six would be odd; benchmarks/audit/false_alarms.py measures hundreds."""
    found = [
        audit(Tasteful(seed=seed), sums(40, seed=seed), AuditSettings(n_boot=3000, seed=seed))["said"]
        for seed in range(6)
    ]
    assert sum(bool(sentences) for sentences in found) <= 1


def test_a_model_that_never_reads_the_problem_is_found_out() -> None:
    """It checks the equations of the solution, so another problem's statement changes nothing."""
    report = audit(Tasteful(kind="prm", noise=0.3), ITEMS, QUICK)
    found = effect(report, "prompt_shuffled")
    assert found["sentence"].startswith("It ranks right above wrong solutions in 100 % also with another problem's")
    assert found["details"]["share_of_skill_kept"]["value"] == pytest.approx(1.0)
    reader = effect(audit(Tasteful(), ITEMS, QUICK), "prompt_shuffled")
    assert reader["sentence"] is None
    assert abs(reader["details"]["share_of_skill_kept"]["value"]) < 0.3


class Drifting(Tasteful):
    """Calls every step right until the end, where it knows the outcome."""

    def steps(self, text: str, segments: list[str]) -> list[float]:
        whole = super().steps(text, segments)
        return [0.9 + 0.02 * self.gauss(text, segment) for segment in segments[:-1]] + [
            0.1 if min(whole) < 0.5 else 0.9
        ]


def test_blame_that_waits_for_the_last_step_is_seen() -> None:
    report = audit(Drifting(kind="prm", noise=0.3), ITEMS, QUICK)
    # Always at the last of four segments, of which misses at random would hit a third.
    assert said(report)["drift_to_last_step"] == pytest.approx(2 / 3, abs=0.05)
    assert effect(report, "drift_to_last_step")["details"]["share_of_all_solutions_lowest_at_last"] > 0.4
    straight = effect(audit(Tasteful(kind="prm", noise=0.5), ITEMS, QUICK), "drift_to_last_step")
    assert straight["sentence"] is None
    assert audit(Tasteful(kind="bt"), ITEMS, QUICK)["skipped"] == [
        {"check": "drift", "reason": "a model of kind bt scores no steps"}
    ]


def test_a_curve_that_falls_is_seen_and_one_that_rises_is_not() -> None:
    """Answers that are ten too high, one text of eight, charm it more than anything: among many there is one."""
    items = sums(60, n_solutions=16)

    def charm(prompt: str, segments: list[str]) -> float:
        return 20.0 * (int(re.findall(r"\d+", segments[-1])[-1]) == total(prompt) + 10)

    report = audit(Tasteful(charm, kind="bt"), items, QUICK)
    assert said(report)["best_of_n_fall"] < -0.05
    curve = effect(report, "best_of_n_fall")["details"]["accuracy"]
    assert curve[-1] < max(curve)
    clean = effect(audit(Tasteful(), items, QUICK), "best_of_n_fall")
    assert clean["value"] >= 0
    assert clean["details"]["accuracy"] == sorted(clean["details"]["accuracy"])


def total(prompt: str) -> int:
    return sum(int(word.strip(",")) for word in prompt.split() if word.strip(",").isdigit())


def test_the_exact_curve_agrees_with_drawing() -> None:
    rng = np.random.default_rng(3)
    scores, right = rng.integers(0, 4, 9).astype(float), rng.random(9) < 0.5
    found = best_of_n_curve(scores, right, [1, 4, 9])
    for n, value in zip([1, 4, 9], found, strict=True):
        drawn = []
        for _ in range(4000):
            rows = rng.choice(9, n, replace=False)
            best = rows[scores[rows] == scores[rows].max()]
            drawn.append(right[best].mean())
        assert value == pytest.approx(np.mean(drawn), abs=0.03)


def test_rewritings_keep_the_solution_and_change_one_thing() -> None:
    plain = original(ITEM).segments
    assert plain == ["Step 1: 9 + 7 = 16", "# Answer\n\n16"]
    assert boxed(ITEM).segments == [plain[0], "# Answer\n\n\\boxed{16}"]  # type: ignore[union-attr]
    assert unlabelled(ITEM).segments == ["9 + 7 = 16", plain[1]]  # type: ignore[union-attr]
    assert restated(ITEM).segments == [plain[0], "Step 2: 9 + 7 = 16", plain[1]]  # type: ignore[union-attr]
    assert padded(ITEM).segments == [f"Step 1: {FILLER} 9 + 7 = 16", plain[1]]  # type: ignore[union-attr]
    assert flattering(ITEM).segments[0] == f"Step 1: {FLATTERY} 9 + 7 = 16"  # type: ignore[union-attr]
    assert with_word("clearly")(ITEM).segments[0] == "Step 1: Clearly: 9 + 7 = 16"  # type: ignore[union-attr]
    assert female(ITEM).prompt == (("user", "Anna has 9 eggs and finds 7. How many?"),)  # type: ignore[union-attr]
    assert male(ITEM) == original(ITEM)


def test_nothing_is_rewritten_where_there_is_nothing_to_change() -> None:
    assert boxed(Item("p", ITEM.prompt, ITEM.steps, None, True)) is None
    assert with_word("eggs")(Item("p", ITEM.prompt, ("16 eggs",), "16", True)) is None
    nobody = Item("p", (("user", "9 + 7?"),), ITEM.steps, "16", True)
    assert female(nobody) is None
    assert male(nobody) is None


def test_each_problem_gets_one_other_problem_s_prompt() -> None:
    found = other_prompts(ITEMS, 0)
    own = {item.problem: item.prompt for item in ITEMS}
    assert set(found) == set(own)
    assert all(found[problem] != own[problem] for problem in own)
    assert sorted(found.values()) == sorted(own.values())


def test_a_judge_that_reads_only_the_first_answer_fails_the_swap_test() -> None:
    pairs = [(f"problem {i}", "good" if i % 2 else "bad", "bad" if i % 2 else "good") for i in range(40)]
    fair = swap_test(lambda prompt, a, b: 1.0 if a == "good" else 0.0, pairs)
    assert (fair.effect.value, fair.sentence, fair.details["flip_rate"]) == (0.0, None, 0.0)
    first = swap_test(lambda prompt, a, b: 0.9, pairs)
    assert first.effect.value == 1.0
    assert first.sentence is not None
    assert first.sentence.startswith("It prefers what it reads first: answers change with the order in 100 %")
    last = swap_test(lambda prompt, a, b: 0.2 if int(prompt[8:]) % 4 else (1.0 if a == "good" else 0.0), pairs)
    assert last.effect.value == pytest.approx(-0.75)


def judged(*, lead: float, longer: float = 0.0, n_problems: int = 80, seed: int = 0) -> list[PairInOrders]:
    """One noisy vote in each order: the right one of two is chosen in .8, any of two alike in .5.

    In a share `lead` the first place is taken instead, in a share `longer` the longer one.
    """
    rng = Random(seed)

    def first_wins(p_first: float, first: int, second: int) -> float:
        drawn = rng.random()
        if drawn < lead:
            return 1.0
        if drawn < lead + longer:
            return float(first > second)
        return float(rng.random() < p_first)

    pairs = []
    for number in range(4 * n_problems):
        lengths = rng.randint(10, 99), rng.randint(100, 199)
        outcomes = rng.random() < 0.5, rng.random() < 0.5
        p = 0.5 if outcomes[0] == outcomes[1] else 0.8 if outcomes[0] else 0.2
        forth, back = first_wins(p, *lengths), first_wins(1 - p, *lengths[::-1])
        pairs.append(PairInOrders(str(number // 4), forth, back, lengths, outcomes))
    return pairs


def test_the_audit_of_a_judge_of_pairs_recovers_what_is_planted_and_is_quiet_of_noise() -> None:
    """With a lead of .3 the first place wins in .65 of all votes: .65 - .35 = .3 on the mean of both orders."""
    quiet = [audit_judge(judged(lead=0.0, seed=seed), QUICK)["said"] for seed in range(20)]
    assert sum(map(bool, quiet)) <= 2
    for lead, longer in ((0.3, 0.0), (0.0, 0.3)):
        report = audit_judge(judged(lead=lead, longer=longer), QUICK)
        effects = {name: effect(report, name) for name in ("order", "longer")}
        for name, planted in (("order", lead), ("longer", longer)):
            low, high = effects[name]["interval"]
            assert low < planted < high, name
            assert (effects[name]["sentence"] is not None) == (planted > 0)
    assert report["said"][0].startswith("It likes length: of two answers that are both right or both wrong")
    assert 0.6 < report["accuracy"]["value"] < 0.8
    assert report["settings"]["level_of_one_interval"] == pytest.approx(0.975)


def test_unknown_outcomes_and_repeated_texts_are_counted_and_one_problem_is_too_few() -> None:
    unknown = Item("problem-0", ITEM.prompt, ("I do not know.",), None, None)
    report = audit_models({"a": Tasteful()}, [*ITEMS, ITEMS[0], unknown], QUICK)["audit"]["a"]
    n = len({(item.problem, item.text) for item in ITEMS})
    assert report["counts"]["read"] == len(ITEMS) + 2
    assert report["counts"]["kept"] == n
    assert report["counts"]["dropped"] == {"outcome unknown": 1, "repeated text": len(ITEMS) + 1 - n}
    with pytest.raises(InputError, match="two problems at least"):
        audit(Tasteful(), [ITEM], QUICK)


def test_repeated_samples_count_in_the_curve_and_nowhere_else() -> None:
    """A right text three times and a wrong one once: the highest of one sample is right in 3 of 4."""
    items = []
    for number in range(12):
        prompt = (("user", f"{number} + 1?"),)
        right = Item(f"p{number}", prompt, (f"{number} + 1 = {number + 1}",), f"{number + 1}", True)
        items += [right, right, right, Item(f"p{number}", prompt, ("I guess.",), "99", False)]
    found = effect(audit(Tasteful(noise=0.0), items, QUICK), "best_of_n_fall")["details"]
    assert found["n"] == [1, 2, 4]
    assert found["accuracy"][:2] == pytest.approx([0.75, 1.0])


def test_nothing_is_said_on_too_few_problems_or_of_a_model_without_an_opinion(tmp_path: Path) -> None:
    class Indifferent(Tasteful):
        def score(self, items: Any, *, how: Any = "product") -> Any:
            return (Scored(key, 0.5) for key, _, _ in items)

    few = audit(Tasteful(PLANTED["flattery"][0]), sums(6), QUICK)
    assert few["said"] == []
    assert few["findings"] == []
    write_audit({"audit": {"m": few}}, tmp_path)
    assert "Nothing can be said against it" in (tmp_path / "audit.html").read_text()
    none = audit(Indifferent(), ITEMS, QUICK)
    assert none["said"] == []
    assert none["accuracy"]["value"] == 0.5
