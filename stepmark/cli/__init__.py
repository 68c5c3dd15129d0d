"""The command `stepmark`: one module per noun; each parses, calls one function and prints."""

from .main import main

__all__ = ["main"]
