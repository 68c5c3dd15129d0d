"""Training sets: importers and rows in `queries`, writers and readers in `formats`."""
