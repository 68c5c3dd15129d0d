"""The command `stepmark`: one module per noun; each parses, calls one function and prints."""

import sys
from pathlib import Path

# Our folders are plain top-level names (`db`, `exports`): the root goes first, before any rival in site-packages.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from .main import main

__all__ = ["main"]
