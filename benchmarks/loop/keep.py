"""Keeps what `stepmark demo --full` found: the page in docs/results.md, its pictures, and the figures to compare.

python benchmarks/loop/keep.py demo-full

Of experiments that were not run there (`--only`), what was kept before stays.
"""

import json
import re
import shutil
import sys
from pathlib import Path

from stepmark.flows.experiments.findings import Findings
from stepmark.flows.experiments.running import measured_rows, results_page

ROOT = Path(__file__).resolve().parents[2]
INTRODUCTION = (
    "Experiments on the embedded model, two CPU cores. What was tried before, and changed after a first look, is in\n"
    "[the log](log.md)."
)
IMAGES = ROOT / "docs" / "images" / "results"


def main() -> None:
    out = Path(sys.argv[1])
    kept = json.loads((out / "results.json").read_text(encoding="utf-8"))
    found = {name: Findings.from_json(findings) for name, findings in kept.items()}
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, findings in found.items():
        for figure in findings.figures:
            shutil.copyfile(out / name / figure.file, IMAGES / figure.file)
    page = results_page(found, images="images/results/").replace("# Results\n", f"# Results\n\n{INTRODUCTION}\n", 1)
    file = ROOT / "docs" / "results.md"
    file.write_text(merged_page(file.read_text(encoding="utf-8") if file.exists() else "", page), encoding="utf-8")
    file = ROOT / "benchmarks" / "results" / "loop.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    rows = {row["row"]: row for row in (*before, *measured_rows(found))}
    file.write_text(json.dumps(list(rows.values()), indent=2) + "\n", encoding="utf-8")


def merged_page(before: str, new: str) -> str:
    r"""The new page, with the sections that only the earlier one has; in the earlier one's order.

    >>> merged_page("# R\n\nold\n\n## A\n\n1\n\n## B\n\n2\n", "# R\n\nnew\n\n## B\n\n3\n")
    '# R\n\nnew\n\n## A\n\n1\n\n## B\n\n3\n'
    """
    (_, *old), (head, *sections) = (re.split(r"^(?=## )", text, flags=re.MULTILINE) for text in (before, new))
    found = {section.partition("\n")[0]: section.rstrip("\n") for section in (*old, *sections)}
    return "\n\n".join([head.rstrip("\n"), *found.values()]) + "\n"


if __name__ == "__main__":
    main()
