"""The conditions of variants on real pairs: problems of GSM8K and their variants in GSM-Plus, written by people."""

import json
from pathlib import Path

from stepmark.variants import Posed, refuse_new_numbers, refuse_new_words

PAIRS = Path(__file__).parents[1] / "data" / "gsm_plus" / "pairs.jsonl"


def test_each_pair_passes_or_is_refused_for_what_is_wrong_with_it() -> None:
    found = []
    for line in PAIRS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        parent, variant = Posed(row["seed_question"], row["seed_answer"]), Posed(row["question"], row["answer"])
        is_rewritten = row["perturbation_type"] == "problem understanding"
        refusal = (
            refuse_new_words(parent.statement, variant.statement)
            if is_rewritten
            else refuse_new_numbers(parent, variant)
        )
        found.append((row["question"].split()[1], "words" if is_rewritten else "numbers", refusal))
    assert found == [
        ("of", "numbers", "answer_not_whole"),  # 3 and 4.33
        ("a", "words", None),
        ("bumper", "numbers", None),
        ("a", "words", None),
        ("posted", "numbers", None),
        ("uploaded", "words", "numbers_changed"),  # `after 1 week` became `in the first week`
        ("fills", "numbers", "not_derived"),  # `It cost` became `It costs`
        ("received", "numbers", "numbers_equal"),  # three scores of 80 in the place of two
        ("trader", "numbers", "answer_unchanged"),  # every number doubled
    ]
