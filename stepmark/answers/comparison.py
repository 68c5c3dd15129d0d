"""The result of comparing an answer with a reference answer: a type, nothing else."""

from dataclasses import dataclass
from typing import Literal

Result = Literal["correct", "incorrect", "unparsable", "limit"]
"""`unparsable` and `limit` say nothing about the answer: they are an unknown outcome, never a false one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out of one comparison, and why.

    >>> Comparison("correct", "number").outcome, Comparison("limit", "time").outcome
    (True, None)
    """

    result: Result
    """correct, incorrect, unparsable (a side cannot be read) or limit (refused, or stopped halfway)."""
    rule: str
    """The rule that decided, such as `number`, `bracket_differs`, `math_verify` or `time`."""

    @property
    def outcome(self) -> bool | None:
        """The outcome as it is stored: true, false, or None where nothing is known."""
        return {"correct": True, "incorrect": False}.get(self.result)
