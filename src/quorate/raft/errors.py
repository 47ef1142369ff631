"""What a caller of the machine may run into; each is a fact to act on, not a fault of the machine."""

from __future__ import annotations

from quorate.api.errors import ProposalDropped

__all__ = [
    "EntriesCompacted",
    "EntriesUnavailable",
    "InvalidConfChange",
    "LocalMessage",
    "PeerNotFound",
    "ProposalDropped",
    "RaftError",
    "SnapshotOutOfDate",
    "SnapshotTemporarilyUnavailable",
]


class RaftError(Exception):
    """Root of the machine's own errors; `str()` is the text etcd prints for the same fact."""

    text = ""

    def __init__(self) -> None:
        super().__init__(self.text)


class LocalMessage(RaftError):
    """A peer sent a message that only a member may send to itself."""

    text = "raft: cannot step raft local message"


class PeerNotFound(RaftError):
    """An answer came from a node that is not in the configuration."""

    text = "raft: cannot step as peer not found"


class EntriesCompacted(RaftError):
    """The entries asked for lie before the start of the log."""

    text = "requested index is unavailable due to compaction"


class EntriesUnavailable(RaftError):
    """The entries asked for lie behind the end of the log."""

    text = "requested entry at index is unavailable"


class SnapshotOutOfDate(RaftError):
    """The snapshot handed in is not newer than the one that is there."""

    text = "requested index is older than the existing snapshot"


class SnapshotTemporarilyUnavailable(RaftError):
    """A storage raises it to say: no snapshot now, ask again later."""

    text = "snapshot is temporarily unavailable"


class InvalidConfChange(ValueError):
    """A configuration change that does not fit the configuration it would be applied to."""
