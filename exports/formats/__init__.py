"""Training sets on disk, one module each: rows, writers, readers, card. No database."""
