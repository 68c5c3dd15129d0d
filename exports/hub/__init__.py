"""Sets and reward models to and from the Hub, in one commit each, by `huggingface_hub`. No database, no torch.

`plan_push` and `plan_pull` look and change nothing; what they found is shown, and `push` and `pull` do it.
"""

from .folders import Kind
from .pull import PullPlan, PullReport, plan_pull, pull
from .push import PushPlan, PushReport, plan_push, push
from .status import RepoStatus, status

__all__ = [
    "Kind",
    "PullPlan",
    "PullReport",
    "PushPlan",
    "PushReport",
    "RepoStatus",
    "plan_pull",
    "plan_push",
    "pull",
    "push",
    "status",
]
