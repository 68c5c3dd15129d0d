"""Runs a program and then its tests, in one process inside the sandbox, and says how that went.

Standard input begins with a token of `TOKEN_BYTES` that nobody can guess; the program and the tests follow as
JSON. The token stands neither in this source nor in memory while the program runs: it is read again for the one
line that is written at the end, so that a program which leaves early or prints a verdict of its own says nothing.
"""

import builtins
import json
import os
import sys
import types

TOKEN_BYTES = 32


def main() -> None:
    """Writes the token and one word: tests_unreadable, syntax, ended_early, error, memory, failed or passed."""
    # What the program replaces must not be what is called afterwards.
    read_again, write, leave = os.pread, os.write, os._exit
    token_file, report_file = os.dup(0), os.dup(1)
    os.lseek(0, TOKEN_BYTES, os.SEEK_SET)
    with open(0, "rb", closefd=False) as rest:
        program, tests = json.loads(rest.read())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    verdict = run(program, tests)
    write(report_file, b"\n" + read_again(token_file, TOKEN_BYTES, 0) + verdict.encode() + b"\n")
    leave(0)


def run(program: str, tests: str) -> str:
    """Runs both in one module, the tests with Python's own built-in names."""
    # Without the `site` module Python has neither.
    vars(builtins).update(exit=sys.exit, quit=sys.exit)
    names, built_in = vars(builtins), dict(vars(builtins))
    sys.modules["__main__"] = module = types.ModuleType("__main__")
    namespace = vars(module)
    stages = (("tests_unreadable", tests, "<tests>"), ("syntax", program, "<solution>"))
    codes = []
    for verdict, source, name in stages:
        try:
            codes.append(compile(source, name, "exec"))
        except (SyntaxError, ValueError, RecursionError):
            return verdict
        except MemoryError:
            return "memory"
    for verdict, code in (("error", codes[1]), ("failed", codes[0])):
        try:
            exec(code, namespace)
        except MemoryError:
            return "memory"
        except SystemExit:
            return "ended_early"
        except BaseException:
            return verdict
        sys.settrace(None)
        sys.setprofile(None)
        names.update(built_in)
    return "passed"


if __name__ == "__main__":
    main()
