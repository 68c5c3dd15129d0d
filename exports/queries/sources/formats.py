"""The table of import formats, by the name that the command line gives them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stepmark.records import ImportedRow

from . import (
    bigbench_mistake,
    gsm8k,
    gsm8k_cot_samples,
    gsm8k_model_solutions,
    gsm_plus,
    hh_rlhf,
    llmbar,
    math_best_of_8,
    math_shepherd,
    mr_ben,
    mr_gsm8k,
    oasst,
    openr,
    pandalm,
    prm800k,
    prmbench,
    problems,
    processbench,
    solutions,
    stepverify,
    svamp,
    training_sets,
)
from .options import ImportOptions
from .reading import Layout
from .rows import SourceRow

__all__ = ["FORMATS", "ImportOptions", "SourceFormat"]

_CC_BY_SA = "CC-BY-SA-4.0"


@dataclass(frozen=True, slots=True)
class SourceFormat:
    """How one kind of file is read."""

    name: str
    summary: str
    source: str
    """Name of the source; `{part}` stands for the file's name without its endings."""
    licence: str | None
    """Licence of the published data; None where the user must say."""
    parse: Callable[[SourceRow, ImportOptions], ImportedRow | Sequence[ImportedRow]]
    layout: Layout = "rows"


FORMATS = {
    found.name: found
    for found in (
        SourceFormat(
            "problems", "a problem each, with or without an answer", "problems/{part}", None, problems.parse
        ),
        SourceFormat("solutions", "problems with solutions of one's own", "solutions/{part}", None, solutions.parse),
        SourceFormat("gsm8k", "GSM8K: problems with worked solutions", "gsm8k/{part}", "MIT", gsm8k.parse),
        SourceFormat(
            "gsm8k-model-solutions",
            "GSM8K's example_model_solutions: four solutions a problem",
            "gsm8k-model-solutions",
            "MIT",
            gsm8k_model_solutions.parse,
        ),
        SourceFormat(
            "gsm8k-cot-samples",
            "Faithful-COT's samples of GSM8K's test questions, which they name by line",
            "gsm8k-cot-samples/{part}",
            "MIT",
            gsm8k_cot_samples.parse,
        ),
        SourceFormat(
            "gsm-plus", "GSM-Plus: eight variants of each GSM8K problem", "gsm-plus", _CC_BY_SA, gsm_plus.parse
        ),
        SourceFormat("svamp", "SVAMP: one-step problems in variations", "svamp", "MIT", svamp.parse),
        SourceFormat(
            "prm800k", "PRM800K: candidates for every step, rated by people", "prm800k/{part}", "MIT", prm800k.parse
        ),
        SourceFormat(
            "math-shepherd", "Math-Shepherd: steps with signs by rollouts", "math-shepherd", None, math_shepherd.parse
        ),
        SourceFormat(
            "processbench",
            "ProcessBench: solutions with their first wrong step, labelled by people",
            "processbench/{part}",
            "Apache-2.0",
            processbench.parse,
        ),
        SourceFormat(
            "prmbench",
            "PRMBench: solutions made wrong, with every wrong step",
            "prmbench",
            "Apache-2.0",
            prmbench.parse,
        ),
        SourceFormat(
            "mr-ben",
            "MR-Ben: exam questions, first wrong steps, reasons and rewritten steps by people",
            "mr-ben/{part}",
            "MIT",
            mr_ben.parse,
            layout="object",
        ),
        SourceFormat(
            "mr-gsm8k",
            "MR-GSM8K: models' critiques of wrong solutions, judged by people and by GPT-4",
            "mr-gsm8k",
            "MIT",
            mr_gsm8k.parse,
        ),
        SourceFormat(
            "bigbench-mistake",
            "BIG-Bench Mistake: chains of thought with their first mistake",
            "bigbench-mistake/{part}",
            "Apache-2.0",
            bigbench_mistake.parse,
        ),
        SourceFormat(
            "stepverify",
            "StepVerify: students' solutions, the first wrong step and a teacher's note",
            "stepverify",
            _CC_BY_SA,
            stepverify.parse,
        ),
        SourceFormat(
            "openr", "OpenR: values of solution prefixes, flat or as a tree", "openr/{part}", "MIT", openr.parse
        ),
        SourceFormat(
            "math-best-of-8",
            "Qwen2.5-Math's eight samples of MATH problems, with a reward model's scores",
            "math-best-of-8",
            "MIT",
            math_best_of_8.parse,
        ),
        SourceFormat("hh-rlhf", "HH-RLHF: chosen and rejected transcripts", "hh-rlhf/{part}", "MIT", hh_rlhf.parse),
        SourceFormat("pandalm", "PandaLM: pairs with three votes each", "pandalm", "Apache-2.0", pandalm.parse),
        SourceFormat("llmbar", "LLMBar: pairs with a better output by design", "llmbar/{part}", "MIT", llmbar.parse),
        SourceFormat(
            "oasst", "Open-Assistant: message trees with ranked replies", "oasst", "Apache-2.0", oasst.parse
        ),
        SourceFormat(
            "stepwise",
            "stepwise supervision (TRL, our prm): prompt, completions, labels",
            "stepwise/{part}",
            None,
            training_sets.parse_stepwise,
        ),
        SourceFormat(
            "unpaired",
            "unpaired preference (TRL's KTO, our orm): prompt, completion, label",
            "unpaired/{part}",
            None,
            training_sets.parse_unpaired,
        ),
        SourceFormat(
            "preference",
            "preference (TRL, OpenRLHF, our preference): prompt, chosen, rejected, margin",
            "preference/{part}",
            None,
            training_sets.parse_preference,
        ),
        SourceFormat(
            "best-of-n",
            "best-of-N test files: prompt, answers, labels",
            "best-of-n/{part}",
            None,
            training_sets.parse_best_of_n,
        ),
        SourceFormat(
            "openrlhf-prm",
            "OpenRLHF's PRM sets: input with a mark after each step, value",
            "openrlhf-prm/{part}",
            None,
            training_sets.parse_openrlhf,
        ),
        SourceFormat(
            "rlhflow-prm",
            "RLHFlow's PRM sets: conversations of steps and signs",
            "rlhflow-prm/{part}",
            None,
            training_sets.parse_rlhflow,
        ),
    )
}
