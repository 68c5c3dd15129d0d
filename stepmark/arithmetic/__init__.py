"""Equations and comparisons in a step's text: found, worked out exactly, and told whether they hold.

Whatever stands between relation signs and can be read as arithmetic is a side: plain text, GSM8K's `<<16*7=112>>`,
TeX. A chain `a = b = c` is two findings.

An equation is said to fail only where nothing about it is in doubt: where units change, where it may be part of
something longer, where a sign can be read in two ways, it is not checkable. A right calculation that is called wrong
costs more trust than a wrong one that is passed over. Text is never run: sides go through `stepmark.expressions`.

`tokens` cuts the text, `reading` reads a side, `checking` finds and judges.
"""

from .checking import Finding, Relation, Result, Side, check_arithmetic

__all__ = ["Finding", "Relation", "Result", "Side", "check_arithmetic"]
