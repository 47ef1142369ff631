"""What can be wrong with a log. Every text says what, where, and what may be done about it."""

from __future__ import annotations


class WalError(Exception):
    """Root of all errors of the log. None of them is for clients: they stop the member or keep it from starting."""


class WalExists(WalError):
    """A log is to be made where there is one."""


class WalClosed(WalError):
    """The log takes nothing more: it was closed, or an earlier write failed."""


class WriteFailed(WalError):
    """The disk refused a write or a sync. What was not acknowledged before is of unknown fate."""


class FileMissing(WalError):
    """No segment, none for the wanted index, or a gap between two."""


class SnapshotNotFound(WalError):
    """No record of the snapshot from which the log is to be read."""


class Damaged(WalError):
    """A segment that cannot be read past `offset` (bytes from its start)."""

    def __init__(self, segment: str, offset: int, what: str) -> None:
        super().__init__(f"{segment}, offset {offset}: {what}")
        self.segment = segment
        self.offset = offset


class UnexpectedEof(Damaged):
    """A torn tail: the last write never reached the disk as a whole. `repair` cuts it off."""


class CrcMismatch(Damaged):
    """A record whose bytes are not those that were written, and not because a write was cut short."""


class Malformed(Damaged):
    """A record with a right checksum, or none, that makes no sense."""


class MetadataConflict(Damaged):
    """Two segments that belong to different members or clusters."""


class OutOfRange(Damaged):
    """An entry that leaves a gap behind the one before it."""


class SnapshotMismatch(Damaged):
    """The snapshot's record has another term than the snapshot."""
