"""Training sets on disk, one module each: columns, files, manifest, card, and the set as a whole. No database."""

from .sets import SetWriter, read_counts, read_rows

__all__ = ["SetWriter", "read_counts", "read_rows"]
