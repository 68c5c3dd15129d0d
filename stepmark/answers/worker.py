"""The process that runs Math-Verify: `python -m stepmark.answers.worker MEMORY_MB TIMEOUT_S`.

Reads one JSON array `[found, reference]` a line from stdin, answers `[result, rule, is_last]` a line on
stdout, after a first line `"ready"`. Ends at the end of stdin, or after an answer that it called its last.
Its memory, CPU time per item and written files are limited by the kernel, so that it ends even when the
process that started it is gone.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TextIO

from .comparison import Comparison
from .policy import decide

SUSPICIOUS_SHARE = 0.25
"""Share of the free memory from whose use on a negative result is not believed: Math-Verify swallows a
MemoryError, as any other error, and then says that the two sides differ."""


def main() -> None:
    """Serves comparisons until stdin ends."""
    memory_bytes, timeout_s = int(sys.argv[1]) * 2**20, float(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="ascii")
    os.dup2(2, 1)  # whatever a library prints must not pass for an answer

    from .symbolic import compare_expressions

    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    loaded = _peak_bytes()
    suspicious = loaded + (memory_bytes - loaded) * SUSPICIOUS_SHARE
    _write(answers, "ready")
    for line in sys.stdin:
        found, reference = json.loads(line)
        _limit_cpu(timeout_s)
        try:
            comparison = decide(found, reference, compare_expressions)
        except MemoryError:
            comparison = Comparison("limit", "memory")
        except RecursionError:
            comparison = Comparison("limit", "recursion")
        # What filled the memory may still be held by a cache: a fresh process takes over.
        is_last = comparison.rule == "memory" or _peak_bytes() > suspicious
        if is_last and comparison.result in ("incorrect", "unparsable"):
            comparison = Comparison("limit", "memory")
        _write(answers, [comparison.result, comparison.rule, is_last])
        if is_last:
            return


def _peak_bytes() -> int:
    """The most memory this program has held. Linux's `ru_maxrss` counts what the starting process held, too."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status names no VmHWM")


def _limit_cpu(timeout_s: float) -> None:
    """Lets the kernel end this process should one item use clearly more CPU time than its time limit."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    allowed = int(usage.ru_utime + usage.ru_stime + timeout_s) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))


def _write(answers: TextIO, value: object) -> None:
    answers.write(json.dumps(value) + "\n")


if __name__ == "__main__":
    main()
