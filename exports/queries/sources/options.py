"""What the user may say about a file beyond its format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Settings that parsers read."""

    source: str
    """Name of the source that the rows get."""
    licence: str | None = None
    part: str = ""
    """The file's name without its endings: some sets say there which model or task it is about."""
    trust_outcomes: bool = False
    """Take a source's word for which solutions are right, where the verifier could find out itself."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """A column's name in the file, by the name that the format knows it under."""
    keys: Sequence[str] | None = None
    """The rows' own ids, in the order of the file."""
    problems: str = "gsm8k/test"
    """The source that holds the problems, for formats that name them by id alone."""
