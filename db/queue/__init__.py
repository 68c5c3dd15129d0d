"""The labelling queue: what to ask about next, by rule, and what waits, what was done, by whom."""

from .ranking import RankedQueue, candidates, rank_queue
from .state import Answered, Progress, QueueState, answered_how, counts_for, progress, queue_state, recently_answered
from .wanted import CRITIQUE_ORDERS, ORDERS, PAIR_ORDERS, queue_critiques, queue_pairs, queue_solutions, queue_tasks

__all__ = [
    "CRITIQUE_ORDERS",
    "ORDERS",
    "PAIR_ORDERS",
    "Answered",
    "Progress",
    "QueueState",
    "RankedQueue",
    "answered_how",
    "candidates",
    "counts_for",
    "progress",
    "queue_critiques",
    "queue_pairs",
    "queue_solutions",
    "queue_state",
    "queue_tasks",
    "rank_queue",
    "recently_answered",
]
