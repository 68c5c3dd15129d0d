"""The vocabulary of stepmark: types, steps, answers and rules that every other folder shares.

Nothing here opens a database, a socket or a model; nothing here imports another folder
(only `stepmark.cli` and `stepmark.flows`, which sit on top of everything, may).
"""

__version__ = "0.1.0"
