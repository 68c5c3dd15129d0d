"""The formats that can be imported, one module each: a parser from a row of the source to records."""

from .formats import FORMATS, ImportOptions, SourceFormat
from .hub import HubSet, hub_rows
from .reading import BadRow, SourceRow, read_rows

__all__ = ["FORMATS", "BadRow", "HubSet", "ImportOptions", "SourceFormat", "SourceRow", "hub_rows", "read_rows"]
