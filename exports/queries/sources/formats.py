"""The table of import formats, by the name that the command line gives them."""

from collections.abc import Callable
from dataclasses import dataclass

from stepmark.records import ImportedRow

from . import gsm8k, gsm8k_model_solutions, problems, processbench
from .options import ImportOptions
from .reading import SourceRow

__all__ = ["FORMATS", "ImportOptions", "SourceFormat"]


@dataclass(frozen=True, slots=True)
class SourceFormat:
    """How one kind of file is read."""

    name: str
    summary: str
    source: str
    """Name of the source; `{part}` stands for the file's name without its endings."""
    licence: str | None
    """Licence of the published data; None where the user must say."""
    parse: Callable[[SourceRow, ImportOptions], ImportedRow]


FORMATS = {
    found.name: found
    for found in (
        SourceFormat("problems", "JSON lines with a problem each", "problems/{part}", None, problems.parse),
        SourceFormat("gsm8k", "GSM8K: problems with worked solutions", "gsm8k/{part}", "MIT", gsm8k.parse),
        SourceFormat(
            "gsm8k-model-solutions",
            "GSM8K's example_model_solutions: four solutions a problem",
            "gsm8k-model-solutions",
            "MIT",
            gsm8k_model_solutions.parse,
        ),
        SourceFormat(
            "processbench",
            "ProcessBench: solutions with their first wrong step, labelled by people",
            "processbench/{part}",
            "Apache-2.0",
            processbench.parse,
        ),
    )
}
