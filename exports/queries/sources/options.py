"""What the user may say about a file beyond its format."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Settings that parsers read."""

    source: str
    """Name of the source that the rows get."""
    licence: str | None = None
    trust_outcomes: bool = False
    """Take a source's word for which solutions are right, where the verifier could find out itself."""
    statement_field: str | None = None
    answer_field: str | None = None
    solution_field: str | None = None
    key_field: str | None = None
