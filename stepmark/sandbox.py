"""Runs Python programs that nobody trusts, such as those that language models write, by bubblewrap.

A program sees the machine's `/usr` and the Python that runs stepmark, read-only, an empty `/tmp` of limited size,
and nothing else: no network, no other process, no `/proc`, no environment, no file of the user. Time, output,
memory, processes and file size are limited, and whatever it started ends with it. Where bubblewrap cannot give all
of that the program is refused, never run unguarded.

What it does not guard against: an error in the kernel. `memory_mb` holds for each process, not for their sum.
"""

import contextlib
import json
import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stepmark.errors import SandboxUnavailable

HOW_TO_INSTALL = (
    "programs run only on Linux, in bubblewrap 0.8 or newer (apt-get install bubblewrap), "
    "and the system must let ordinary users make user namespaces"
)
TOOLS = ("bwrap", "prlimit")
ROOT_TOOLS = ("setpriv",)
"""Needed as well where stepmark runs as root."""
NOBODY = "65534"
"""User and group of the program. As root, nothing limits the processes of a user that is root outside."""

_PLACE = "/tmp/python"
"""Where the interpreter is put for `NOBODY`, who cannot enter root's home; in a mount namespace of its own."""
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one program may use."""

    time_s: float = 5.0
    """Wall-clock seconds, the start of the sandbox (some 30 ms) included."""
    memory_mb: int = 512
    """Address space of each process, in MiB."""
    processes: int = 20
    """Processes and threads at once, two of them the sandbox's own first process and the program."""
    output_bytes: int = 1 << 20
    """Bytes on standard output and standard error together."""
    files_mb: int = 16
    """All files in `/tmp` together, in MiB; they are gone afterwards."""


DEFAULT_LIMITS = SandboxLimits()


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended and what it wrote."""

    stdout: str
    """Bytes that are not UTF-8 stand as U+FFFD."""
    stderr: str
    exit_code: int | None
    """128 + n where signal n ended it; None where it was stopped."""
    stopped_by: Literal["time", "output"] | None
    """The limit at which it was stopped; None: it ended by itself."""
    duration_s: float

    @property
    def is_ok(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.exit_code == 0


def run_python(program: str, *, stdin: str = "", limits: SandboxLimits = DEFAULT_LIMITS) -> Ran:
    """Runs a program and waits for its end; several threads may do so at once.

    The interpreter is the one stepmark runs on, with its standard library and no installed packages; string hashes
    are not randomised, so that the same program does the same again.

    Args:
        program: The source.
        stdin: What it can read.
        limits: What it may use; beyond a limit of memory, processes or files its own calls fail, as on a full disk.

    Raises:
        SandboxUnavailable: No sandbox can be made here; the program was not run.
    """
    check_sandbox()
    return _run(program, stdin, limits)


_check_lock = threading.Lock()
_is_checked = False


def check_sandbox() -> None:
    """Makes sure, once per process, that programs can be run here by running one.

    Raises:
        SandboxUnavailable: They cannot, and why.
    """
    global _is_checked
    with _check_lock:
        if _is_checked:
            return
        ran = _run("print(6 * 7)", "", SandboxLimits(time_s=30.0))
        if (ran.stdout, ran.exit_code) != ("42\n", 0):
            said = ran.stderr.strip() or f"exit code {ran.exit_code}, stopped by {ran.stopped_by}"
            raise SandboxUnavailable(f"Python does not start in the sandbox: {said}; {HOW_TO_INSTALL}")
        _is_checked = True


def _run(program: str, stdin: str, limits: SandboxLimits) -> Ran:
    started = time.monotonic()
    with _file_of(program) as program_file, _file_of(stdin) as stdin_file, _pipe() as (status_read, status_write):
        command = _command(program_file, status_write, limits)
        try:
            process = subprocess.Popen(
                command,
                stdin=stdin_file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", os.defpath)},
                cwd="/",
                start_new_session=True,
                pass_fds=(program_file, status_write),
            )
        except OSError as err:
            raise SandboxUnavailable(f"{command[0]} cannot be started ({err}); {HOW_TO_INSTALL}") from err
        with process:
            try:
                outputs, stopped_by = _collect(process, started + limits.time_s, limits.output_bytes)
            finally:
                _end(process)
        os.set_blocking(status_read, False)
        exit_code = None if stopped_by else _exit_code(status_read)
    stdout, stderr = (bytes(output).decode("utf-8", "replace") for output in outputs)
    if exit_code is None and not stopped_by:
        raise SandboxUnavailable(f"bubblewrap cannot make a sandbox: {stderr.strip()}; {HOW_TO_INSTALL}")
    return Ran(stdout, stderr, exit_code, stopped_by, time.monotonic() - started)


# The command


def _command(program_file: int, status_file: int, limits: SandboxLimits) -> list[str]:
    """What is started: for root, first a change of user; then bubblewrap, then the limits, then Python."""
    is_root = os.geteuid() == 0
    for tool in (*TOOLS, *(ROOT_TOOLS if is_root else ())):
        if shutil.which(tool) is None:
            raise SandboxUnavailable(f"{tool} is not installed; {HOW_TO_INSTALL}")
    files_bytes = limits.files_mb << 20
    python, mounts = _interpreter(_PLACE if is_root else None)
    command = _become_nobody() if is_root else []
    command += ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
    command += ["--uid", NOBODY, "--gid", NOBODY, "--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv"]
    command += ["--ro-bind", "/usr", "/usr", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", *mounts]
    for name in ("bin", "lib", "lib64"):
        # Symbolic links into /usr on most systems, folders on older ones.
        path = Path("/", name)
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            command += ["--ro-bind", str(path), str(path)]
    for name in ("null", "zero", "random", "urandom"):
        command += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    command += ["--perms", "0444", "--file", str(program_file), "/program.py"]
    command += [
        "--size",
        str(files_bytes),
        "--perms",
        "0700",
        "--tmpfs",
        "/tmp",
        "--chdir",
        "/tmp",
        "--remount-ro",
        "/",
    ]
    for name, value in {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}.items():
        command += ["--setenv", name, value]
    command += ["--json-status-fd", str(status_file), "--", "prlimit", f"--nproc={limits.processes}"]
    command += [f"--as={limits.memory_mb << 20}", f"--fsize={files_bytes}", f"--cpu={math.ceil(limits.time_s) + 1}"]
    command += ["--nofile=64", "--core=0", "--memlock=0", "--msgqueue=0"]
    # As isolated mode (-I), which would not read the hash seed: the environment is ours.
    return [*command, python, "-P", "-s", "-S", "-B", "-X", "utf8", "/program.py"]


def _become_nobody() -> list[str]:
    # A process namespace, because a process of `NOBODY` would outlive a killed parent that is root without rights.
    return [
        *("bwrap", "--die-with-parent", "--unshare-pid", "--dev-bind", "/", "/"),
        *("--tmpfs", "/tmp", "--ro-bind", sys.base_prefix, _PLACE),
        *("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"),
    ]


def _interpreter(prefix_outside: str | None) -> tuple[str, list[str]]:
    """The path of Python in the sandbox, and the mounts that put it there.

    A Python under `/usr` is there already. Any other (pyenv, conda, uv) may stand in somebody's home: its program
    and libraries are shown elsewhere, not the folder around them.

    Args:
        prefix_outside: Where its folder is found, if not at its own place.
    """
    prefix = Path(sys.base_prefix)
    name = f"python{sysconfig.get_python_version()}"
    if prefix.is_relative_to("/usr"):
        return str(prefix / "bin" / name), []
    mounts = []
    for part in (f"bin/{name}", *dict.fromkeys(("lib", sys.platlibdir))):
        mounts += ["--ro-bind", f"{prefix_outside or prefix}/{part}", f"/python/{part}"]
    return f"/python/bin/{name}", [*mounts, "--setenv", "LD_LIBRARY_PATH", "/python/lib"]


# The process


@contextlib.contextmanager
def _file_of(text: str) -> Iterator[int]:
    """A file without a name that holds a text, gone when it is closed."""
    descriptor = os.memfd_create("stepmark")
    try:
        # What is not Unicode text stays what it is: Python refuses such a program, and says so.
        with open(descriptor, "wb", closefd=False) as file:
            file.write(text.encode("utf-8", "surrogatepass"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    read_end, write_end = os.pipe()
    try:
        yield read_end, write_end
    finally:
        os.close(read_end)
        os.close(write_end)


def _collect(
    process: subprocess.Popen[bytes], deadline: float, output_bytes: int
) -> tuple[tuple[bytearray, bytearray], Literal["time", "output"] | None]:
    """Reads both outputs until the process has ended, or the time or the room for output is used up."""
    assert process.stdout is not None
    assert process.stderr is not None
    outputs = (bytearray(), bytearray())
    room = output_bytes
    with selectors.DefaultSelector() as selector:
        for stream, output in zip((process.stdout, process.stderr), outputs, strict=True):
            selector.register(stream, selectors.EVENT_READ, output)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return outputs, "time"
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                key.data.extend(data[:room])
                if len(data) > room:
                    return outputs, "output"
                room -= len(data)
            if time.monotonic() > deadline:
                return outputs, "time"
    # A program may close its outputs and go on.
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return outputs, "time"
    return outputs, None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills bubblewrap if it still runs; all in the sandbox dies with it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _exit_code(status_file: int) -> int | None:
    """The program's exit code as bubblewrap wrote it down; None where the program was never started."""
    try:
        lines = os.read(status_file, _CHUNK).splitlines()
    except BlockingIOError:
        return None
    codes = [json.loads(line).get("exit-code") for line in lines]
    return next((code for code in codes if isinstance(code, int)), None)
