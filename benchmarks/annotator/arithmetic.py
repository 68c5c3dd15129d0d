"""Checked arithmetic in steps that people labelled: what is found, and how often a step is wrong where it fails.

    python benchmarks/annotator/arithmetic.py [DATA] [--show 30]

DATA (by default the small samples in examples/data) holds the folders processbench, mr_gsm8k_critiques,
bigbench_mistake, mr_ben, stepverify and prm800k_sample, each as published, and maybe prmbench, whose labels are
machine-made and stand apart; what is missing is left out. Of solutions labelled by their first error, steps behind it
have no label. A step with a failing equation is `fails`; without one, with a checked one, `all hold`, rounded or not.
P(wrong) is the share of them labelled -1, with Wilson's 95 % interval and their number.

`--show` prints so many failing equations of steps labelled right or neutral, drawn at random, for reading.
Writes benchmarks/results/arithmetic.json.
"""

import argparse
import gzip
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepmark.arithmetic import Finding, check_arithmetic
from stepmark.intervals import Share, share

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "arithmetic.json"
EXAMPLES = ROOT / "examples" / "data"
MACHINE_MADE = "prmbench"


@dataclass(frozen=True, slots=True)
class Step:
    source: str
    text: str
    label: int | None


def rows(data: Path, pattern: str) -> Iterator[tuple[str, Any]]:
    """Each row of the files of a folder, with the file's name up to the first dot; an object's values are rows."""
    for file in sorted(data.glob(pattern)):
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
        parsed = [json.loads(line) for line in text.splitlines() if line.strip()] if ".jsonl" in file.name else None
        parsed = json.loads(text) if parsed is None else parsed
        for row in parsed.values() if isinstance(parsed, dict) else parsed:
            yield file.name.partition(".")[0], row


def labelled(source: str, steps: Sequence[str], first_error: int | None) -> Iterator[Step]:
    """Steps of a solution with its 0-based first error, or without one."""
    for index, step in enumerate(steps):
        is_known = first_error is None or index <= first_error
        yield Step(source, step, (-1 if index == first_error else 1) if is_known else None)


def read_steps(data: Path) -> Iterator[Step]:
    for part, row in rows(data, "processbench/*.json*"):
        yield from labelled(f"processbench/{part}", row["steps"], None if row["label"] == -1 else row["label"])
    seen = set[tuple[str, ...]]()
    for _, row in rows(data, "mr_gsm8k_critiques/*.json*"):
        steps = row["model_output_steps"]
        if tuple(steps) not in seen:  # one solution stands there for each critic
            seen.add(tuple(steps))
            yield from labelled("mr_gsm8k", steps, int(row["model_output_solution_first_error_step"]) - 1)
    for part, row in rows(data, "bigbench_mistake/*.jsonl*"):
        if part != "dyck_languages":  # labelled by a program
            yield from labelled(f"bigbench/{part}", row["steps"], row["mistake_index"])
    for part, solutions in rows(data, "mr_ben/*.json*"):
        for row in [] if part == "coding" else solutions:
            named = str(row["Model_Solution_First_Error_Step"]).strip()
            first_error = None if row["Model_Solution_Correctness"] == "correct" else int(named) - 1
            yield from labelled(f"mr_ben/{part}", row["Model_Solution_Steps"], first_error)
    for _, row in rows(data, "stepverify/dataset.json*"):
        yield from labelled("stepverify", row["student_incorrect_solution"], row["incorrect_index"])
    for _, row in rows(data, "prm800k_sample/*.jsonl*"):
        for step in row["label"]["steps"]:
            yield from (Step("prm800k", one["text"], one["rating"]) for one in step["completions"] or [])
    for _, row in rows(data, "prmbench/*.jsonl*"):
        for number, text in enumerate(row["modified_process"], start=1):
            yield Step(MACHINE_MADE, text, -1 if number in row["error_steps"] else 1)


def group(findings: Sequence[Finding]) -> str | None:
    results = {found.result for found in findings} - {"not checkable"}
    return None if not results else "a step fails" if "fails" in results else "all hold"


def counted(found: Sequence[tuple[Step, list[Finding]]]) -> dict[str, Counter[str]]:
    """By source, and for all with people's labels: counts of steps, of equations by result, of labels by group."""
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    for step, findings in found:
        for name in {step.source, *(() if step.source == MACHINE_MADE else ("all",))}:
            counts = by_source[name]
            counts["steps"] += 1
            counts.update(one.result for one in findings)
            counts["identities"] += sum(one.result == "holds" and one.left.value is None for one in findings)
            if step.label is not None and (which := group(findings)) is not None:
                counts[which] += 1
                counts[f"{which}, wrong"] += step.label == -1
    return dict(sorted(by_source.items(), key=lambda item: (item[0] == "all", item[0])))


def wrong(counts: Counter[str], which: str) -> Share:
    return share(counts[f"{which}, wrong"], counts[which])


def shown(found: Share) -> str:
    return (
        f"{'-':>22}" if found.value is None else f"{found.value:.3f} [{found.low:.2f}, {found.high:.2f}]{found.n:>6}"
    )


def show(found: Sequence[tuple[Step, list[Finding]]], n: int) -> None:
    """Prints failing equations of steps that people did not call wrong."""
    pool = [
        (step, one)
        for step, findings in found
        if step.label in (0, 1) and step.source != MACHINE_MADE
        for one in findings
        if one.result == "fails"
    ]
    print(f"\n{min(n, len(pool))} of {len(pool)} failing equations in steps labelled right or neutral:")
    for step, one in random.Random(0).sample(pool, min(n, len(pool))):
        around = step.text[max(0, one.start - 60) : one.end + 30].replace("\n", " ")
        print(f"  {step.source}: {one.left.value} {one.relation} {one.right.value}  in: {around}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=EXAMPLES)
    parser.add_argument("--show", type=int, default=0, metavar="N")
    options = parser.parse_args()
    steps = list(read_steps(options.data))
    if not steps:
        parser.error(f"{options.data} holds none of these folders")
    started = time.process_time()
    found = [(step, check_arithmetic(step.text)) for step in steps]
    per_s = len(steps) / (time.process_time() - started)
    print(
        f"{'source':<32}{'steps':>7}{'checked a step':>16}{'fail':>7}{'rounded':>9}{'unchecked':>11}"
        f"{'P(wrong | fails)':>28}{'P(wrong | all hold)':>29}"
    )
    results: list[dict[str, Any]] = [
        {"row": "steps checked", "value": round(per_s), "unit": "1/CPU-s", "against": None, "ratio": None,
         "better": "higher"}
    ]  # fmt: skip
    for source, counts in counted(found).items():
        n_checked = counts["holds"] + counts["holds when rounded"] + counts["fails"]
        fails, holds = wrong(counts, "a step fails"), wrong(counts, "all hold")
        print(
            f"{source:<32}{counts['steps']:>7}{n_checked / counts['steps']:>16.3f}"
            f"{counts['fails'] / n_checked if n_checked else 0:>7.3f}{counts['holds when rounded']:>9}"
            f"{counts['not checkable']:>11}{shown(fails):>28}{shown(holds):>29}"
        )
        for which, measured, better in (("fails", fails, "higher"), ("all hold", holds, "lower")):
            if measured.value is not None:
                against = f"{measured.n} labelled steps"
                row = {"row": f"{source}: P(wrong | {which})", "value": round(measured.value, 3), "unit": "share"}
                results.append({**row, "against": against, "ratio": None, "better": better})
    everything = counted(found)["all"]
    print(
        f"\n{per_s:,.0f} steps a CPU-second; {everything['identities']:,} of what holds are identities with letters"
    )
    reasons = Counter(one.reason for _, findings in found for one in findings if one.reason is not None)
    print("not checkable: " + ", ".join(f"{n:,} {reason}" for reason, n in reasons.most_common()))
    if options.show:
        show(found, options.show)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
