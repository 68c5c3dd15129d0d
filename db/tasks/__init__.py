"""The life of a labelling task: added, claimed under a lease, answered, checked, corrected.

A task is wanted from `n_wanted` independent annotators. Answers and live leases of other annotators both count
against that number, so nobody labels what is already taken care of; tasks with a known answer never fill up. Leases
end by the database's clock; one that ran out is free again. Refusals are answers (`SubmitAnswer.status`), not
exceptions: the page must tell the annotator what became of the work. What is worth a task is decided in `db.queue`.
"""

from .adding import STEP_MODES, AddedTasks, Wanted, add_tasks
from .claims import claim_tasks, heartbeat, release
from .contents import ClaimedTask
from .opening import open_solution, open_task
from .pools import Pool, pools_of, workable_pools
from .practice import BuiltIn, practice_task
from .quality import gold_score
from .rules import COUNTING_REASONS, LABELLED_REASONS, first_error, labels_problem
from .submission import CritiqueAnswer, PairAnswer, Submission, SubmitAnswer, SubmitStatus
from .submissions import submit

__all__ = [
    "COUNTING_REASONS",
    "LABELLED_REASONS",
    "STEP_MODES",
    "AddedTasks",
    "BuiltIn",
    "ClaimedTask",
    "CritiqueAnswer",
    "PairAnswer",
    "Pool",
    "Submission",
    "SubmitAnswer",
    "SubmitStatus",
    "Wanted",
    "add_tasks",
    "claim_tasks",
    "first_error",
    "gold_score",
    "heartbeat",
    "labels_problem",
    "open_solution",
    "open_task",
    "pools_of",
    "practice_task",
    "release",
    "submit",
    "workable_pools",
]
