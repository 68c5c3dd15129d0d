"""The self-verifying experiment on a tiny plan: every stage runs, and what is there is not made twice."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generator.domain import draw_problems, draw_variant
from generator.domain.carrying import carry_chain
from generator.domain.planted import PlantedKind, plant
from generator.domain.teacher import teach
from stepmark.flows.experiments.self_verifying import SelfVerifyingPlan, run_plan
from stepmark.flows.experiments.self_verifying_database import Criticised, keep_database
from stepmark.progress import Progress, silent

TINY = SelfVerifyingPlan(
    n_drills=40,
    n_taught_problems=30,
    n_rounds=1,
    n_round_problems=10,
    n_samples=2,
    n_per_kind=5,
    n_validation=10,
    n_used_problems=5,
    n_tries=2,
    reader_epochs=1,
    workers=1,
)


def test_the_experiment_runs_through_and_finds_its_stages_done_the_second_time(tmp_path: Path) -> None:
    seen: list[str] = []

    @contextmanager
    def watch(name: str) -> Iterator[Progress]:
        seen.append(name)
        yield silent

    found = run_plan(tmp_path, TINY, watch=watch)

    assert all((tmp_path / figure.file).stat().st_size > 1000 for figure in found.figures)
    verdicts = found.tables[0]
    assert [row[0] for row in verdicts.rows] == [
        "critic, before",
        "critic, taught",
        "critic, 1 variant",
        "critic, 3 variants, any fails",
        "critic, 3 variants, most fail",
        "program, 1 variant",
        "judge before",
        "judge",
        "PRM",
        "ORM",
    ]
    assert any(name.startswith("sample") for name in seen)
    assert (tmp_path / "exports" / "rl").is_dir()
    seen.clear()
    again = run_plan(tmp_path, TINY, watch=watch)
    assert not [name for name in seen if name.startswith("sample")]
    assert again.tables == found.tables
    assert again.reached == found.reached


def _criticised(kind: PlantedKind | None, n: int) -> Iterator[Criticised]:
    """Chains of one kind, None for right ones, each carried to a variant by program."""
    rng, found = random.Random(1), 0
    for problem in draw_problems(60, 3901, part="reserved"):
        made = teach(problem) if kind is None else plant(kind, problem, rng)
        if made is None or found == n:
            continue
        variant = draw_variant(problem, rng)
        carried = carry_chain(problem.statement, made.steps, made.answer, variant.statement)
        if carried.is_ambiguous:
            continue
        found += 1
        yield Criticised(problem, variant, kind or "own", made.steps, made.answer, carried.text, "a program", 1)


def test_what_the_rounds_sampled_is_exported_with_the_verifiers_word(tmp_path: Path) -> None:
    criticised = [*_criticised(None, 8), *_criticised("overfit", 8), *_criticised("fudged", 8)]

    counts = keep_database(tmp_path, criticised)

    rows = {
        config: [
            json.loads(line)
            for file in sorted((tmp_path / "exports" / config).glob("*-of-*.jsonl"))
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
        for config in ("rl", "critique")
    }
    assert counts["solutions"] == len(criticised)
    assert (counts["rows of export rl"], counts["rows of export critique"]) == tuple(map(len, rows.values()))
    judged = Counter(row["reward_model"]["ground_truth"] for row in rows["rl"] if row["ability"] == "critique")
    assert judged == {"pass": 8, "fail": len(criticised) - 8}
    said = Counter(row["messages"][-1]["content"].rpartition("Verdict: ")[2] for row in rows["critique"])
    assert said["pass"] == 8
    assert said["fail"] >= 14  # a variant may let an overfit chain through
    assert keep_database(tmp_path, criticised) == counts
