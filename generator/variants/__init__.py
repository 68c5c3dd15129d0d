"""Variants: new problems made from problems by changing their inputs or their words, each with its own answer.

`task` works through the problems, for every kind alike; a module for each kind says how a problem's variants are
made and why they are trusted: `templates` (no model), `programs`, `rephrased`, `backward`. `solving` asks for
solutions of what was made.
"""

from .backward import Backward
from .programs import Programs
from .rephrased import Rephrased
from .solving import Solving
from .task import Made, VariantsTask, Way, make_variants
from .templates import Templates, read_templates

__all__ = [
    "Backward",
    "Made",
    "Programs",
    "Rephrased",
    "Solving",
    "Templates",
    "VariantsTask",
    "Way",
    "make_variants",
    "read_templates",
]
