"""`python -m stepmark` is the command `stepmark`."""

from stepmark.cli import main

main()
