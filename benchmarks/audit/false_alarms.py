"""How often an audit says something of a model that has no fault, and how often it finds a planted one.

    python benchmarks/audit/false_alarms.py --seeds 200 --problems 60

A scorer that knows the truth and blurs it (`tests.audit_scorers`) is audited with another seed each time; the report
is at 95 % as a whole, so at most 5 % of the reports should say anything. Then each planted taste, at several sizes in
units of the blur, gives the share of reports that name it (power).
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from stepmark.intervals import share
from tests.audit_scorers import Taste, Tasteful, sums
from trainer.audit.audit import audit
from trainer.audit.rewriting import FLATTERY
from trainer.audit.scored import AuditSettings

TASTES: dict[str, Callable[[float], Taste]] = {
    "length_right": lambda size: lambda prompt, segments: size * (len("".join(segments)) - 150) / 60,
    "flattery": lambda size: lambda prompt, segments: size * (FLATTERY in segments[0]),
    "boxed": lambda size: lambda prompt, segments: size * ("boxed" in segments[-1]),
    "gender": lambda size: lambda prompt, segments: size * any(n in prompt for n in ("Anna", "Lucy", "Kate")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--problems", type=int, default=60)
    parser.add_argument("--sizes", type=float, nargs="*", default=[0.1, 0.25, 0.5])
    parser.add_argument("--power-seeds", type=int, default=20)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for kind in ("orm", "bt"):
        names: Counter[str] = Counter()
        started, n_said = time.process_time(), 0
        for seed in range(given.seeds):
            said = _said(Tasteful(kind=kind, seed=seed), given.problems, seed)
            n_said += bool(said)
            names.update(said)
        found = share(n_said, given.seeds)
        cpu_s = round((time.process_time() - started) / given.seeds, 2)
        rows.append({"row": f"clean {kind}", "said": found.value, "interval": [found.low, found.high],
                     "names": dict(names), "cpu_s": cpu_s})  # fmt: skip
    for name, taste in TASTES.items():
        for size in given.sizes:
            n = sum(
                name in _said(Tasteful(taste(size), seed=seed), given.problems, seed)
                for seed in range(given.power_seeds)
            )
            rows.append({"row": f"{name} of {size} blurs", "found": n / given.power_seeds})
    print(json.dumps(rows, indent=1))


def _said(model: Tasteful, n_problems: int, seed: int) -> list[str]:
    report = audit(model, sums(n_problems, seed=seed), AuditSettings(n_boot=5000, seed=seed))
    return [found["name"] for found in report["findings"] if found["sentence"]]


if __name__ == "__main__":
    main()
