"""What crosses folders: the demo, scores written back, rounds. Plain functions; they neither parse nor print."""
