"""Importers into the database, and rows, filters and splits out of it."""
