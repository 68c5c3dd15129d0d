"""Texts of a model for an experiment that needs no database: each different question asked once."""

from collections.abc import Iterable
from pathlib import Path

from generator.engines.transformers import TransformersEngine
from stepmark.engine import Failure, Message, Request, Sample, Sampling
from stepmark.errors import JobError
from stepmark.progress import Progress, silent


def sample_texts(
    model: Path, questions: Iterable[str], sampling: Sampling, *, n: int, progress: Progress = silent
) -> dict[str, list[Sample]]:
    """Samples `n` answers to each question on one thread; by question.

    Raises:
        JobError: The model could not answer.
    """
    requests = [
        Request(question, (Message("user", question),), sampling, tuple(range(n)))
        for question in dict.fromkeys(questions)
    ]
    found: dict[str, list[Sample]] = {}
    engine = TransformersEngine(str(model), threads=1, workers=1)
    try:
        for answered in engine.answer(requests):
            if answered is None:
                continue
            request, completion = answered
            samples = found[request.key] = []
            for sample in completion.samples:
                if isinstance(sample, Failure):
                    raise JobError(f"{model} could not answer {request.key[:80]!r}: {sample.message}")
                samples.append(sample)
            progress(len(found), len(requests))
    finally:
        engine.close()
    return found
