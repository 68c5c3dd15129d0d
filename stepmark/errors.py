"""Every error that stepmark raises on purpose.

    StepmarkError
    ├── UserError              a mistake of the caller: one message, exit code 2
    │   ├── InputError         a file or row that cannot be read (says file, line, value)
    │   ├── SettingsError      a flag, setting or environment value that cannot be used
    │   └── DatabaseError      a database that cannot be opened or is at another schema version
    └── JobError               a job that started and could not finish: one message, exit code 1
        ├── EngineError        a model server or model that failed for good
        ├── SandboxUnavailable untrusted programs cannot be run here: there is no sandbox to run them in
        └── LimitReached       a budget or a resource (disk, memory, time) that ran out

Anything else that escapes is a bug and shows its traceback. A message says what happened with the offending
value, then what to do.
"""


class StepmarkError(Exception):
    """The root of the tree; catch it to catch whatever stepmark raises on purpose."""


class UserError(StepmarkError):
    """A mistake of the caller; the command line prints it as one message and exits 2."""


class InputError(UserError):
    """A file, line or value that cannot be read."""


class SettingsError(UserError):
    """A flag, setting or environment value that cannot be used."""


class DatabaseError(UserError):
    """A database that cannot be opened, or that stands at another schema version."""


class JobError(StepmarkError):
    """A job that started and could not finish; the command line prints it and exits 1."""


class EngineError(JobError):
    """A model server, or a model, that failed for good."""


class SandboxUnavailable(JobError):
    """Programs that nobody trusts cannot be run here, because no sandbox can be made; they are never run without."""


class LimitReached(JobError):
    """A budget or resource that ran out: money, tokens, disk, memory or time."""
