"""Other people's data into the database, whatever its format: files, and sets on the Hub."""

from .files import default_options, import_file
from .preview import PreviewedRow, preview_file
from .report import ImportReport

__all__ = ["ImportReport", "PreviewedRow", "default_options", "import_file", "preview_file"]
