"""Every error that custody raises on purpose.

::

    CustodyError                    exit 2
    ├── UsageError                  a name, path or option that cannot be used
    │   ├── ScopeError              a label that cannot be part of an identity
    │   ├── SessionNotFound
    │   ├── SessionRemoved          moved away or pruned; a verified copy lies elsewhere
    │   ├── SessionFinished         finished, and not reopened by accident
    │   ├── SessionBusy             alive in another process
    │   ├── SessionEnded            a thread asks on after its session has ended
    │   ├── SeveralWritersRefused   the storage cannot keep several writers apart
    │   ├── BacklogElsewhere        calls may lie on another machine, and not in the storage yet
    │   └── NamesDisagree           the script and the command name different experiments
    ├── CallInDoubt                 sent once without an outcome on record, and not to be sent again
    ├── PluginError                 a plugin that cannot be used
    │   └── RequiredPluginMissing
    ├── BudgetError                 no further paid call; what is archived is replayed
    │   ├── BudgetExceeded          the call might cost more than is left
    │   ├── BudgetUnpriced          a budget in dollars is set, and the call has no price
    │   └── NotYet                  inside custody only: calls under way may leave enough
    ├── StorageError                exit 1: the storage refused
    │   ├── StorageNotFound         nothing is there, and it was not to be made
    │   ├── ArchiveUnavailable      no further paid call until the archive works
    │   └── AnswerNotArchived       the vendor answered, nothing could keep it; carries the answer
    ├── EngineFailed                exit 1: a cluster could not do its work
    ├── ArchiveDamaged              exit 1: bytes on disk are not what was written
    └── ReplayError                 exit 1
        ├── ReplayMiss              strict mode, and the archive has no such answer
        └── ReplayExhausted         a recorded stream was left early; the program now reads past its end

Whatever else escapes from custody is a defect in custody.
"""

from __future__ import annotations


class CustodyError(Exception):
    """Base of the tree. ``exit_code`` is what the command line exits with."""

    exit_code = 2


class UsageError(CustodyError):
    """Something the caller gave cannot be used; nothing was changed."""


class ScopeError(UsageError):
    """A scope label is not a plain value, so no identity can be made of it."""


class SessionNotFound(UsageError):
    """No session lies at the path, or under the id, that was given."""


class SessionRemoved(UsageError):
    """The session was moved away or pruned, or is about to be.

    Attributes:
        place: where it was, a path or URL.
        copy: where its verified copy is.
    """

    def __init__(self, message: str, *, place: str, copy: str) -> None:
        super().__init__(message)
        self.place, self.copy = place, copy


class SessionFinished(UsageError):
    """The experiment's newest session is finished; reopening or repeating it has to be asked for."""


class SessionBusy(UsageError):
    """Another living process has the session open."""


class SessionEnded(UsageError):
    """The session ended while this call waited to be sent, or before; nothing was sent."""


class SeveralWritersRefused(UsageError):
    """The storage cannot promise put-if-absent, so that several writers would overwrite and pay twice."""


class BacklogElsewhere(UsageError):
    """A machine has written to its own disk first, and what it has not stored yet would be paid again."""


class NamesDisagree(UsageError):
    """A script joined the session of its command, but names another project, experiment or root."""


class CallInDoubt(CustodyError):
    """A call was sent before a stop and has no outcome on record; by ``on_in_doubt`` nothing was sent again.

    Raised for that call ("skip"), or at the start of a run ("fail"). A program may handle the first.

    Attributes:
        calls: ids of the calls in doubt.
    """

    def __init__(self, message: str, *, calls: list[str]) -> None:
        super().__init__(message)
        self.calls = calls


class PluginError(CustodyError):
    """A plugin is broken, has a name twice, or cannot be loaded."""


class RequiredPluginMissing(PluginError):
    """A plugin named in ``CUSTODY_REQUIRED_PLUGINS`` is not there, so the session does not start."""


class BudgetError(CustodyError):
    """A call was not sent because of a budget."""


class BudgetExceeded(BudgetError):
    """The call might cost more than the budget has left. The message says what was spent and how to go on."""


class BudgetUnpriced(BudgetError):
    """A budget in dollars is set, and what the call costs cannot be known."""


class NotYet(BudgetError):
    """Calls under way may leave enough of the budget: the flow asks again. It never reaches a program."""


class StorageError(CustodyError):
    """The storage refused to read or write."""

    exit_code = 1


class StorageNotFound(StorageError, FileNotFoundError):
    """Nothing is at the URL, and it was not to be made. Where custody only looks, that is an answer.

    Any other error of a storage is none: a server that is silent may hold calls that would be paid again.
    """


class ArchiveUnavailable(StorageError):
    """An earlier record could not be archived, so no further paid call is sent."""


class AnswerNotArchived(StorageError):
    """The vendor answered, and neither the archive nor the spill directory could keep the answer.

    Attributes:
        status: HTTP status of the answer.
        body: the answer's raw bytes, so that it can be saved by hand.
    """

    def __init__(self, message: str, *, status: int | None, body: bytes) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class EngineFailed(CustodyError):
    """The cluster that was to do the work did not; nothing was changed."""

    exit_code = 1


class ArchiveDamaged(CustodyError):
    """A stored record fails its checksum, or its parts do not fit together."""

    exit_code = 1


class ReplayError(CustodyError):
    """The archive cannot answer as the program needs it to."""

    exit_code = 1


class ReplayMiss(ReplayError):
    """Strict mode: the request is not in the archive. The message names the nearest one and the difference."""


class ReplayExhausted(ReplayError):
    """The recorded program closed this stream early; what would have come after is not on record."""


class Abort(BaseException):
    """Carries ``error`` from a wire seam to the call seam above it.

    Not an ``Exception``: the SDKs wrap and retry every exception of their transport, and a
    deliberate refusal has to reach the caller at once; so has what the program's own provider of a
    credential raised, which the SDK would have asked before its transport.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error
