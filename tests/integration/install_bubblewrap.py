"""Finds or installs bubblewrap, in which the tests run untrusted programs; without it those tests skip and say so."""

import os
import shutil
import subprocess
import sys


def main() -> int:
    """Returns 0, also where bubblewrap cannot be installed: everything else can still be tested."""
    if shutil.which("bwrap"):
        return 0
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment)
        subprocess.run(["apt-get", "install", "-y", "-qq", "bubblewrap"], check=False, env=environment)
    if not shutil.which("bwrap"):
        print("bubblewrap is not installed; tests that need a sandbox will skip (apt-get install bubblewrap)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
