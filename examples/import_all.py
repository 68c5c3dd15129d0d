"""Every public set that a folder holds, into one database; a table of what came of their rows, and what they share.

    python examples/import_all.py FOLDER --db sqlite:///all.db --json all.json

FOLDER holds one folder for each set, named as in `SETS`, with the files as published, gzipped or not; what is
missing is passed over. Running it again changes nothing. After the imports it looks for near-duplicates, as
`stepmark filter duplicates` does, and joins their families.
"""

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.connect import open_database, reading
from db.counts import table_counts
from db.models import Problem, ProblemSource
from exports.queries.importing import default_options, import_file
from exports.queries.sources import FORMATS
from stepmark.errors import UserError
from stepmark.flows.filters import flag_duplicates


@dataclass(frozen=True)
class Set:
    """The files of one set."""

    folder: str
    files: str
    """A pattern."""
    format: str
    licence: str | None = None
    """Where it is not that of the format."""
    keys: str | None = None
    """File with the rows' own ids."""


SETS = (
    Set("gsm8k", "train.jsonl*", "gsm8k"),
    Set("gsm8k", "test.jsonl*", "gsm8k", keys="test.source_lines.txt"),
    Set("gsm8k_model_solutions", "*.jsonl*", "gsm8k-model-solutions"),
    Set("gsm8k_cot_samples", "*.jsonl*", "gsm8k-cot-samples"),
    Set("gsm_plus", "*.jsonl*", "gsm-plus"),
    Set("svamp", "*.json*", "svamp"),
    Set("prm800k_sample", "*.jsonl*", "prm800k"),
    Set("processbench", "*.json*", "processbench"),
    Set("prmbench", "*.jsonl*", "prmbench"),
    Set("mr_ben", "*.json*", "mr-ben"),
    Set("mr_gsm8k_critiques", "*.json*", "mr-gsm8k"),
    Set("bigbench_mistake", "*.jsonl*", "bigbench-mistake"),
    Set("stepverify", "*.json*", "stepverify"),
    Set("openr_math_aps", "*.jsonl*", "openr"),
    Set("math_best_of_8", "*.jsonl*", "math-best-of-8"),
    Set("hh_rlhf_helpful", "*.jsonl*", "hh-rlhf"),
    Set("pandalm", "*.json*", "pandalm"),
    Set("llmbar", "[an]*.json*", "llmbar"),
    Set("llmbar", "mt_bench_majority.json*", "llmbar", licence="CC-BY-4.0"),
    Set("oasst_ranked", "*.jsonl*", "oasst"),
)


def import_sets(engine: sa.Engine, folder: Path) -> list[dict[str, Any]]:
    """Imports what the folder holds; one row of the table for each set."""
    table: list[dict[str, Any]] = []
    for one in SETS:
        paths = sorted((folder / one.folder).glob(one.files))
        if not paths:
            print(f"{one.folder}/{one.files}: not there", file=sys.stderr)
            continue
        keys = None if one.keys is None else (folder / one.folder / one.keys).read_text(encoding="utf-8").split()
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        started = time.perf_counter()
        for path in paths:
            options = default_options(FORMATS[one.format], path, licence=one.licence, keys=keys)
            report = import_file(engine, FORMATS[one.format], path, options=options, skip_bad=True)
            counts["rows"].update(read=report.n_read, kept=report.n_kept, already_there=report.n_already_there)
            counts["dropped"].update(report.dropped)
            counts["left_out"].update(report.left_out)
            counts["stored"].update(report.stored)
        seconds = round(time.perf_counter() - started, 2)
        row = {"set": f"{one.folder}/{one.files.rstrip('*')}", "files": len(paths), "seconds": seconds}
        table.append({**row, **{name: {k: n for k, n in found.items() if n} for name, found in counts.items()}})
    return table


def shared_between(engine: sa.Engine) -> list[dict[str, Any]]:
    """For each two sets that share families: how many, and how many problems are the very same."""
    families: dict[str, set[str]] = defaultdict(set)
    problems: dict[str, set[int]] = defaultdict(set)
    query = sa.select(ProblemSource.source, Problem.problem_id, Problem.family).join(
        Problem, Problem.problem_id == ProblemSource.problem_id
    )
    with reading(engine) as session:
        for source, problem_id, family in session.execute(query.execution_options(yield_per=10_000)):
            name = source if source.startswith("gsm8k/") else source.partition("/")[0]
            families[name].add(family)
            problems[name].add(problem_id)
    return [
        {
            "sets": [a, b],
            "families": len(families[a] & families[b]),
            "same_problems": len(problems[a] & problems[b]),
        }
        for a, b in combinations(sorted(families), 2)
        if families[a] & families[b]
    ]


def main() -> None:
    """Imports, looks for near-duplicates, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--db", default="sqlite:///all.db", metavar="URL")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    asked = parser.parse_args()
    try:
        engine = open_database(asked.db, create=True)
        table = import_sets(engine, asked.folder)
        near = flag_duplicates(engine)
    except UserError as err:
        sys.exit(str(err))
    print("| set | read | kept | there | dropped | kept beside only | stored |\n|---|---|---|---|---|---|---|")
    for row in table:
        cells = [row["set"], *(row["rows"].get(name, 0) for name in ("read", "kept", "already_there"))]
        cells += [
            ", ".join(f"{n} {name}" for name, n in sorted(row[kind].items())) or "-"
            for kind in ("dropped", "left_out", "stored")
        ]
        print("| " + " | ".join(map(str, cells)) + " |")
    shared = shared_between(engine)
    with reading(engine) as session:
        n_families = session.scalar(sa.select(sa.func.count(Problem.family.distinct())))
    print(f"\n{n_families} families of problems; {near.dropped.total()} near-duplicates: {dict(near.dropped)}")
    print("\n| sets | families in both | the same problems |\n|---|---|---|")
    for pair in shared:
        print(f"| {' and '.join(pair['sets'])} | {pair['families']} | {pair['same_problems']} |")
    totals = {name: count for name, count in table_counts(engine).items() if count}
    print("\n" + ", ".join(f"{count:,} {name}" for name, count in totals.items()))
    if asked.json is not None:
        found = {
            "sets": table,
            "families": n_families,
            "near_duplicates": dict(near.dropped),
            "families_joined": near.n_families_joined,
            "shared": shared,
            "tables": totals,
        }
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    engine.dispose()


if __name__ == "__main__":
    main()
