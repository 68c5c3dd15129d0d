"""Keeps what `stepmark demo --full` found: the page in docs/results.md, its pictures, and the figures to compare.

python benchmarks/loop/keep.py demo-full
"""

import json
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
    (ROOT / "docs" / "results.md").write_text(page, encoding="utf-8")
    rows = json.dumps(measured_rows(found), indent=2) + "\n"
    (ROOT / "benchmarks" / "results" / "loop.json").write_text(rows, encoding="utf-8")


if __name__ == "__main__":
    main()
