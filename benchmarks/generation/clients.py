"""The clients that `throughput.py` compares, each in a process of its own; some in a virtual environment of theirs.

    python benchmarks/generation/clients.py NAME URL N CONCURRENCY [DATABASE_URL]

Prints a JSON object: seconds and CPU seconds of the work alone (neither imports nor making the questions), answers,
and peak memory. `stepmark` stores every answer in the database; the bare loops keep a list.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

PROMPT = "Solve the problem step by step. Write each step as `Step k:`, and the answer under `# Answer`.\n\n"
MAX_TOKENS = 512


def question(number: int) -> str:
    return (
        f"A farm has {number} hens, and each of them lays {number % 7 + 2} eggs in a week. The farmer keeps a third "
        "of the eggs for her family and sells the others at the market. How many eggs does she sell in a week?"
    )


def bare_openai(url: str, n: int, concurrency: int) -> Callable[[], int]:
    import openai

    async def work() -> int:
        # With its own limit of 5 s to connect, it fails where 500 calls begin at once on a busy machine.
        client = openai.AsyncOpenAI(base_url=url, api_key="none", timeout=600.0)
        slots = asyncio.Semaphore(concurrency)

        async def ask(number: int) -> str | None:
            async with slots:
                answer = await client.chat.completions.create(
                    model="m",
                    messages=[{"role": "user", "content": PROMPT + question(number)}],
                    max_tokens=MAX_TOKENS,
                    temperature=0.7,
                )
            return answer.choices[0].message.content

        return len(list(filter(None, await asyncio.gather(*map(ask, range(n))))))

    return lambda: asyncio.run(work())


def bare_aiohttp(url: str, n: int, concurrency: int) -> Callable[[], int]:
    import aiohttp

    async def work() -> int:
        slots = asyncio.Semaphore(concurrency)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask(number: int) -> str:
                messages = [{"role": "user", "content": PROMPT + question(number)}]
                body = {"model": "m", "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0.7}
                async with slots, session.post(f"{url}/chat/completions", json=body) as response:
                    answer = await response.json()
                text: str = answer["choices"][0]["message"]["content"]
                return text

            return len(list(filter(None, await asyncio.gather(*map(ask, range(n))))))

    return lambda: asyncio.run(work())


def stepmark(url: str, n: int, concurrency: int, database_url: str) -> Callable[[], int]:
    from contextlib import closing

    from db.bulk import bulk_insert, table_of
    from db.connect import open_database, writing
    from db.models import Problem
    from generator.engines.openai import OpenAIEngine
    from generator.solutions import generate_solutions
    from stepmark.engine import Sampling
    from stepmark.prompts import Prompt

    database = open_database(database_url, create=True)
    with writing(database) as session:
        for start in range(0, n, 1000):  # in chunks: the peak of memory that is measured is to be the run's own
            rows = [
                {"statement_hash": f"{i:032x}", "family": f"{i:032x}", "statement": question(i), "kind": "original"}
                for i in range(start, min(start + 1000, n))
            ]
            bulk_insert(session, table_of(Problem), rows)

    def work() -> int:
        with closing(OpenAIEngine("m", base_url=url, concurrency=concurrency)) as engine:
            prompt = Prompt("bench", PROMPT + "{problem}")
            sampling = Sampling(max_tokens=MAX_TOKENS)
            report = generate_solutions(database, engine, n=1, prompt=prompt, sampling=sampling)
        assert report.status == "done", report
        return report.counts["solutions"]

    return work


def curator(url: str, n: int, concurrency: int) -> Callable[[], int]:
    """Curator, which counts the tokens of each prompt.

    Its tokenizer, `cl100k_base`, it would fetch from the net. It gets one of single bytes in its place, which merges
    nothing (40 microseconds a prompt); the limits on tokens are out of reach either way.
    """
    os.environ.update(TELEMETRY_ENABLED="false", CURATOR_VIEWER="false", HF_HUB_OFFLINE="1", OPENAI_API_KEY="none")
    os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="true", CURATOR_CACHE_DIR=tempfile.mkdtemp(prefix="curator-"))
    import tiktoken.registry

    bytes_alone = tiktoken.Encoding(
        "cl100k_base", pat_str=r"\S+|\s+", mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={}
    )
    tiktoken.registry.ENCODINGS["cl100k_base"] = bytes_alone
    from bespokelabs import curator as library
    from datasets import Dataset

    class Solver(library.LLM):  # type: ignore[misc]
        def prompt(self, input: dict[str, Any]) -> str:
            return PROMPT + str(input["problem"])

        def parse(self, input: dict[str, Any], response: str) -> dict[str, Any]:
            return {"problem": input["problem"], "solution": response}

    solver = Solver(
        model_name="m",
        backend="openai",
        generation_params={"max_tokens": MAX_TOKENS, "temperature": 0.7},
        backend_params={
            "base_url": url,
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 10_000_000_000,
            "max_concurrent_requests": concurrency,
        },
    )
    problems = Dataset.from_list([{"problem": question(number)} for number in range(n)])

    def work() -> int:
        answer = solver(problems)
        return len([row for row in getattr(answer, "dataset", answer) if row["solution"]])

    return work


def distilabel(url: str, n: int, concurrency: int) -> Callable[[], int]:
    os.environ["HF_HUB_OFFLINE"] = "1"
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with Pipeline(name="bench", cache_dir=tempfile.mkdtemp(prefix="distilabel-")) as pipeline:
        problems = [{"instruction": PROMPT + question(number)} for number in range(n)]
        load = LoadDataFromDicts(data=problems, batch_size=concurrency)
        llm = OpenAILLM(model="m", base_url=url, api_key="none", generation_kwargs={"max_new_tokens": MAX_TOKENS})
        load >> TextGeneration(llm=llm, input_batch_size=concurrency)

    def work() -> int:
        made = pipeline.run(use_cache=False)["default"]["train"]
        return len([row for row in made if row["generation"]])

    return work


CLIENTS: dict[str, Callable[..., Callable[[], int]]] = {
    "openai": bare_openai,
    "aiohttp": bare_aiohttp,
    "stepmark": stepmark,
    "curator": curator,
    "distilabel": distilabel,
}


def cpu_s() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def main() -> None:
    name, url, n, concurrency, *rest = sys.argv[1:]
    work = CLIENTS[name](url, int(n), int(concurrency), *rest)
    began, cpu_before = time.perf_counter(), cpu_s()
    n_answers = work()
    measured = {
        "seconds": time.perf_counter() - began,
        "cpu_s": cpu_s() - cpu_before,
        "n_answers": n_answers,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print("\n" + json.dumps(measured))


if __name__ == "__main__":
    main()
