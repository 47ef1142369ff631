"""What calls raise: `EtcdError` is the root, the classes are those of the server's own table (`quorate.api.errors`).

Each has `code`, `text` and, where the server named one, `revision`. Those of time-outs are `TimeoutError` as well; on
the server's side they are not, for there a TimeoutError is one of the system's.
"""

from __future__ import annotations

from quorate.api import errors
from quorate.api.errors import Code, Compacted, EtcdError, LeaseNotFound, from_status
from quorate.transport.grpc import Status

__all__ = [
    "CallError",
    "Closed",
    "Code",
    "Compacted",
    "DeadlineExceeded",
    "EtcdError",
    "LeaseNotFound",
    "SessionLost",
    "SnapshotDamaged",
    "error_of",
]


class CallError(EtcdError):
    """A status that etcd's table does not have: of gRPC, of the network, of a newer server."""

    def __init__(self, code: Code, text: str) -> None:
        self.code = code  # type: ignore[misc]
        self.text = text  # type: ignore[misc]
        super().__init__()

    def __str__(self) -> str:
        return f"{self.code.name}: {self.text}"


def _timeout(base: type[EtcdError]) -> type[EtcdError]:
    """A class of the table that is a TimeoutError, too."""
    return type(base.__name__, (base, TimeoutError), {"__doc__": base.__doc__, "__module__": __name__})


DeadlineExceeded = _timeout(errors.DeadlineExceeded)
"""There was no answer in time. What was to be written may be, or may yet be."""

_TIMEOUTS = {
    base.text: _timeout(base)
    for base in (
        errors.Timeout,
        errors.TimeoutLeaderFail,
        errors.TimeoutConnectionLost,
        errors.TimeoutWaitApplied,
        errors.TimeoutLeaderTransfer,
    )
}


class Closed(EtcdError):
    """The client is closed."""

    code = Code.CANCELLED
    text = "the client is closed"


class SessionLost(EtcdError):
    """The lease of a session has run out, or may have: nothing that it held is held any more."""

    code = Code.FAILED_PRECONDITION
    text = "the session is lost"


class SnapshotDamaged(EtcdError):
    """What arrived is not what the member sent."""

    code = Code.DATA_LOSS
    text = "the hash of the snapshot is wrong"


def error_of(status: Status) -> EtcdError:
    """The exception that a status stands for."""
    if status.code == Code.DEADLINE_EXCEEDED:
        return DeadlineExceeded()
    if timeout := _TIMEOUTS.get(status.message):
        return timeout()
    return from_status(status.code, status.message) or CallError(status.code, status.message)
