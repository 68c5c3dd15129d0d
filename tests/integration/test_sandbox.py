"""Programs that nobody trusts: what they can do in the sandbox, and that nothing of them is left."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from stepmark import sandbox as sandbox_module
from stepmark.errors import SandboxUnavailable
from stepmark.sandbox import Ran, SandboxLimits, check_sandbox, run_python

pytestmark = pytest.mark.usefixtures("sandbox")

ROOT = Path(__file__).resolve().parents[2]
SHORT = SandboxLimits(time_s=1.0)


@pytest.fixture
def marked_sleep() -> Iterator[list[str]]:
    """Arguments of a `sleep` that can be told from all others on the machine; none may be left after the test."""
    arguments = ["sleep", str(10_000_000 + uuid.uuid4().int % 10_000_000)]
    yield arguments
    deadline = time.monotonic() + 10
    while left := [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == arguments]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def _what_happens(attempts: dict[str, str]) -> dict[str, str]:
    """The value of each expression in the sandbox, or the name of the error."""
    program = f"""
import ctypes, json, os, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
happened = {{}}
for name, expression in {attempts!r}.items():
    try:
        happened[name] = str(eval(expression))
    except Exception as error:
        happened[name] = type(error).__name__
print(json.dumps(happened))
"""
    ran = run_python(program)
    assert ran.is_ok, ran
    happened: dict[str, str] = json.loads(ran.stdout)
    return happened


def _as_written(ran: Ran) -> tuple[str, str, int | None, str | None]:
    return ran.stdout, ran.stderr, ran.exit_code, ran.stopped_by


def test_a_program_reads_its_input_and_both_outputs_and_the_exit_code_come_back() -> None:
    program = "import sys\nprint(sys.stdin.read().upper())\nsys.stderr.write('é')\nsys.exit(3)"
    assert _as_written(run_python(program, stdin="grüße\n")) == ("GRÜSSE\n\n", "é", 3, None)


def test_a_long_program_with_a_long_input_comes_back_whole() -> None:
    text = "x" * 900_000
    ran = run_python(f"text = {text!r}\nprint(text == input(), end='')\nprint(text, end='')", stdin=text)
    assert _as_written(ran) == ("True" + text, "", 0, None)


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("1 +", "SyntaxError"),
        ("a = '\ud800'", "SyntaxError"),
        ("a\x00b", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_program_that_is_wrong_ends_with_pythons_own_message(program: str, error: str) -> None:
    ran = run_python(program)
    assert (ran.stdout, ran.exit_code, ran.stopped_by) == ("", 1, None)
    assert error in ran.stderr


def test_output_that_is_no_text_is_marked_as_such() -> None:
    assert run_python("import sys; sys.stdout.buffer.write(b'a\\xffb')").stdout == "a\ufffdb"


def test_the_same_program_does_the_same_again() -> None:
    program = "print(hash('a'), {'alpha', 'beta', 'gamma', 'delta'})"
    assert run_python(program).stdout == run_python(program).stdout


def test_installed_packages_are_not_on_the_path() -> None:
    assert _what_happens({"numpy": "__import__('numpy')", "sympy": "__import__('sympy')"}) == {
        "numpy": "ModuleNotFoundError",
        "sympy": "ModuleNotFoundError",
    }


def test_a_fork_bomb_reaches_the_limit_of_processes_and_ends(marked_sleep: list[str]) -> None:
    program = f"""
import os
count = 0
try:
    while True:
        if os.fork() == 0:
            os.execv('/usr/bin/sleep', {marked_sleep!r})
        count += 1
except BlockingIOError:
    print(count)
"""
    ran = run_python(program, limits=SandboxLimits(processes=20))
    assert ran.is_ok
    assert 10 < int(ran.stdout) < 20


def test_processes_that_fork_again_and_again_are_stopped_by_time() -> None:
    program = """
import os
while True:
    try:
        os.fork()
    except BlockingIOError:
        pass
"""
    before = psutil.Process().children()
    assert run_python(program, limits=SHORT).stopped_by == "time"
    assert psutil.Process().children() == before


@pytest.mark.parametrize(
    "program",
    [
        "bytearray(10 << 30)",
        "held = []\nwhile True:\n    held.append(bytearray(1 << 20))",
        "import mmap\nmmap.mmap(-1, 10 << 30)",
        "import os\nos.ftruncate(os.memfd_create('a'), 10 << 30)",
    ],
    ids=["at_once", "bit_by_bit", "mapped", "file_in_memory"],
)
def test_ten_gigabytes_are_not_to_be_had(program: str) -> None:
    ran = run_python(program, limits=SandboxLimits(memory_mb=200))
    assert not ran.is_ok
    assert ran.stopped_by is None


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_endless_output_is_cut_where_the_room_ends(stream: str) -> None:
    program = f"import sys\nwhile True:\n    sys.{stream}.write('x' * 1000)"
    ran = run_python(program, limits=SandboxLimits(output_bytes=50_000))
    assert (ran.stopped_by, ran.exit_code, getattr(ran, stream)) == ("output", None, "x" * 50_000)


def test_output_that_just_fits_is_whole() -> None:
    ran = run_python("print('x' * 999)", limits=SandboxLimits(output_bytes=1000))
    assert _as_written(ran) == ("x" * 999 + "\n", "", 0, None)


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time; time.sleep(1000)",
        "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(1000)",
        "import signal\nfor n in {*range(1, 32)} - {9, 19}:\n    signal.signal(n, signal.SIG_IGN)\nwhile True: pass",
    ],
    ids=["busy", "asleep", "silent", "deaf"],
)
def test_a_program_that_does_not_end_is_stopped(program: str) -> None:
    ran = run_python("print('begun', flush=True)\n" + program, limits=SHORT)
    assert _as_written(ran) == ("begun\n", "", None, "time")
    assert not ran.is_ok


def test_a_daemon_ends_with_the_program_that_left_it(marked_sleep: list[str]) -> None:
    program = f"""
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for n in range({{closed}}):
            os.close(n)
        os.execv('/usr/bin/sleep', {marked_sleep!r})
    os._exit(0)
os.wait()
print('left')
"""
    for closed in (0, 3):
        ran = run_python(program.replace("{closed}", str(closed)))
        assert _as_written(ran) == ("left\n", "", 0, None)


def test_a_network_server_on_this_machine_is_not_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = server.getsockname()
        with socket.create_connection(address):
            accepted, _ = server.accept()
            accepted.close()
        assert _what_happens(
            {
                "loopback": f"socket.create_connection({address!r}, timeout=2)",
                "outside": "socket.create_connection(('192.0.2.1', 80), timeout=2)",
                "interfaces": "[name for _, name in socket.if_nameindex()]",
                "name": "socket.gethostbyname('example.org')",
            }
        ) == {"loopback": "ConnectionRefusedError", "outside": "OSError", "interfaces": "['lo']", "name": "gaierror"}
        with pytest.raises(BlockingIOError):
            server.accept()


def test_nothing_outside_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the user")
    monkeypatch.setenv("STEPMARK_SECRET", "of the user")
    places = [
        "/etc/shadow",
        "/etc/passwd",
        str(ROOT / "pyproject.toml"),
        str(Path.home()),
        str(secret),
        "/proc",
        "/sys",
    ]
    places += ["/root", "/home", "/var", "/run", "/dev/mem", "/dev/sda", f"/proc/{os.getpid()}/environ"]
    attempts = {place: f"os.stat({place!r})" for place in places}
    assert _what_happens(attempts) == dict.fromkeys(places, "FileNotFoundError")
    assert _what_happens({"environment": "sorted(os.environ)", "input": "os.read(0, 10)"}) == {
        "environment": str(
            sorted(
                {"HOME", "LANG", "PATH", "PWD", "PYTHONHASHSEED"} | ({"LD_LIBRARY_PATH"} if _is_moved() else set())
            )
        ),
        "input": "b''",
    }


def _is_moved() -> bool:
    return not Path(sys.base_prefix).is_relative_to("/usr")


def test_nothing_is_open_but_input_and_outputs() -> None:
    program = """
import os
for n in range(64):
    try:
        os.fstat(n)
        print(n)
    except OSError:
        pass
"""
    with open(__file__) as file:
        os.set_inheritable(file.fileno(), True)
        assert run_python(program).stdout.split() == ["0", "1", "2"]


def test_nothing_outside_can_be_written() -> None:
    places = ["/a", "/usr/a", "/usr/lib/a", "/dev/a", "/dev/shm/a", "/etc/a", "/program.py", "/python/a", "/bin/a"]
    attempts = {place: f"open({place!r}, 'w')" for place in places}
    places.append("standard library")
    happened = _what_happens({**attempts, "standard library": "open(os.__file__, 'a')"})
    assert set(happened.values()) <= {"OSError", "FileNotFoundError", "PermissionError"}
    assert set(happened) == set(places)


def test_symbolic_and_hard_links_lead_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the user")
    attempts = {
        "link": f"[os.symlink({str(secret)!r}, 'a'), open('a').read()]",
        "shadow": "[os.symlink('/etc/shadow', 'b'), open('b').read()]",
        "upwards": f"open('/tmp/' + '../' * 30 + {str(secret)!r}[1:]).read()",
        "other root": "[os.symlink('/proc/1/root/etc/shadow', 'c'), open('c').read()]",
        "hard link": "os.link('/usr/bin/env', 'd')",
        "new root": "os.chroot('/tmp')",
        "descriptor": "os.open('..', os.O_RDONLY, dir_fd=os.open('/', os.O_RDONLY)) and os.listdir('..')",
    }
    happened = _what_happens(attempts)
    seen = happened.pop("descriptor")
    assert happened == {
        "link": "FileNotFoundError",
        "shadow": "FileNotFoundError",
        "upwards": "FileNotFoundError",
        "other root": "FileNotFoundError",
        "hard link": "OSError",
        "new root": "PermissionError",
    }
    assert "home" not in seen
    assert "root" not in seen


def test_no_rights_are_to_be_had() -> None:
    attempts = {
        "user": "os.setuid(0)",
        "groups": "os.setgroups([0])",
        "new user namespace": "libc.unshare(0x10000000)",
        "new mount namespace": "libc.unshare(0x00020000)",
        "mount": "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)",
        "remount": "libc.mount(b'none', b'/', None, 0x20 | 0x1000, None)",
        "unmount": "libc.umount(b'/usr')",
        "limit": "__import__('resource').setrlimit(__import__('resource').RLIMIT_NPROC, (1000, 1000))",
        "who": "(os.getuid(), os.geteuid(), os.getgid())",
        "set-user-id": "subprocess.run(['/usr/bin/su', '-c', 'id'], capture_output=True).returncode == 0",
        "host name": "socket.gethostname()",
    }
    assert _what_happens(attempts) == {
        "user": "OSError",  # root does not exist in there
        "groups": "PermissionError",
        "new user namespace": "-1",
        "new mount namespace": "-1",
        "mount": "-1",
        "remount": "-1",
        "unmount": "-1",
        "limit": "ValueError",
        "who": "(65534, 65534, 65534)",
        "set-user-id": "False",
        "host name": "sandbox",
    }


def test_files_have_room_up_to_the_limit_and_no_more() -> None:
    limits = SandboxLimits(files_mb=2)
    one = "with open('a', 'wb') as file:\n    for _ in range({n}):\n        file.write(bytes(1 << 20))"
    assert run_python(one.format(n=1), limits=limits).is_ok
    assert not run_python(one.format(n=100), limits=limits).is_ok
    many = "for n in range(100):\n    open(str(n), 'wb').write(bytes(1 << 20))"
    ran = run_python(many, limits=limits)
    assert "No space left on device" in ran.stderr
    assert run_python("import os; print(os.listdir())").stdout == "[]\n"


def test_signals_reach_nothing_outside(marked_sleep: list[str]) -> None:
    become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
    with subprocess.Popen([*become, *marked_sleep]) as victim:
        program = f"""
import os, signal
for target in ({victim.pid}, {os.getpid()}, os.getppid(), 1, -1, 0):
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.kill(target, signal.SIGTERM if target == 0 else signal.SIGKILL)
    except OSError as error:
        print(type(error).__name__)
print('alive')
"""
        ran = run_python(program)
        assert victim.poll() is None
        victim.kill()
    assert ran.stopped_by is None
    assert ran.stdout.split()[:2] == ["ProcessLookupError", "ProcessLookupError"]


def test_programs_run_beside_each_other_and_leave_nothing() -> None:
    """In a process of its own: what other tests left to the collector would close its files meanwhile."""
    program = """
import os, psutil
from concurrent.futures import ThreadPoolExecutor
from stepmark.sandbox import run_python

files = set(os.listdir('/proc/self/fd'))
with ThreadPoolExecutor(8) as pool:
    print(*pool.map(lambda n: run_python(f'print({n} ** 2)').stdout.strip(), range(40)))
print(psutil.Process().children(), set(os.listdir('/proc/self/fd')) ^ files)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [" ".join(str(n**2) for n in range(40)), "[] set()"]


def test_each_program_has_the_processes_of_its_own_limit() -> None:
    """The limit is the sandbox's own, not one for all programs of the user."""
    program = """
import subprocess
sleeps = [subprocess.Popen(['/usr/bin/sleep', '1']) for _ in range(10)]
print([sleep.wait() for sleep in sleeps])
"""
    with ThreadPoolExecutor(4) as pool:
        assert [ran.stdout for ran in pool.map(run_python, [program] * 4)] == [f"{[0] * 10}\n"] * 4


def test_an_interrupted_run_ends_its_program(marked_sleep: list[str]) -> None:
    """A killed stepmark leaves no program behind: bubblewrap dies with it."""
    script = f"""
from stepmark.sandbox import SandboxLimits, run_python
run_python("import os; os.execv('/usr/bin/sleep', {marked_sleep!r})", limits=SandboxLimits(time_s=600))
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as run:
        deadline = time.monotonic() + 30
        while not any(process.info["cmdline"] == marked_sleep for process in psutil.process_iter(["cmdline"])):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.kill()


def test_where_bubblewrap_is_missing_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox_module, "_is_checked", False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match=r"bwrap is not installed.*apt-get install bubblewrap"):
        run_python("print(1)")


TRY = """
import sys
from stepmark.errors import SandboxUnavailable
from stepmark.sandbox import run_python
try:
    print(run_python("import os; print(os.getuid(), 6 * 7)"))
except SandboxUnavailable as error:
    print("refused:", error)
"""


def test_where_user_namespaces_are_off_nothing_is_run() -> None:
    """Inside a bubblewrap that switches them off, as an administrator may for the whole machine."""
    outside = ["bwrap", "--unshare-user", "--disable-userns", "--dev-bind", "/", "/"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*outside, sys.executable, "-c", TRY], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("refused: ")
    assert "user namespaces" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_runs_programs_too() -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if (
        python is None
        or subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode
    ):
        pytest.skip("no Python 3.11 or newer that every user can start")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        package = Path(folder, "stepmark")
        package.mkdir(mode=0o755)
        for name in ("__init__.py", "errors.py", "sandbox.py"):
            shutil.copy(ROOT / "stepmark" / name, package / name)
        become = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
        done = subprocess.run(
            [*become, python, "-B", "-c", TRY], cwd=folder, env={"PATH": os.defpath}, capture_output=True, text=True
        )
    assert done.stdout.startswith("Ran(stdout='65534 42\\n', stderr='', exit_code=0, stopped_by=None"), done


def test_the_check_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_sandbox()
    monkeypatch.setenv("PATH", str(tmp_path))
    check_sandbox()
