"""What a machine is given when it is made, and every limit of the room."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from quorate.raft.storage import Storage

NONE = 0
"""The id of nobody: no leader, no vote."""

LOCAL_APPEND_THREAD = 2**64 - 1
"""Addressee of StorageAppend messages: whoever writes the log of this member."""

LOCAL_APPLY_THREAD = 2**64 - 2
"""Addressee of StorageApply messages: whoever applies the committed entries of this member."""

NO_LIMIT = 2**63 - 1
MAX_SIZE_PER_MESSAGE = 1 << 20
MAX_INFLIGHT_MESSAGES = 512


class ReadOnlyOption(IntEnum):
    """How a leader makes sure that it still leads before it answers a read (Raft thesis §6.4)."""

    SAFE = 0
    """Ask a quorum."""
    LEASE_BASED = 1
    """Trust the clocks: a quorum was heard within the election timeout. Needs check_quorum."""


class Logger(Protocol):
    """Where the machine tells what it does. `logging.Logger` fits."""

    def debug(self, text: str, /) -> None: ...
    def info(self, text: str, /) -> None: ...
    def warning(self, text: str, /) -> None: ...
    def error(self, text: str, /) -> None: ...


class Dice(Protocol):
    """The only source of chance: spreads election timeouts. `random.Random` fits."""

    def randrange(self, stop: int, /) -> int: ...


class Silence:
    """A logger that tells nobody."""

    def debug(self, text: str, /) -> None: ...
    def info(self, text: str, /) -> None: ...
    def warning(self, text: str, /) -> None: ...
    def error(self, text: str, /) -> None: ...


@dataclass(slots=True)
class Config:
    """Settings of one member. Times are ticks, sizes are bytes."""

    id: int
    """Own id, neither 0 nor one of the two local addressees."""
    storage: Storage
    rng: Dice
    election_tick: int = 10
    """A follower that hears no leader for this many ticks, to twice as many less one, campaigns."""
    heartbeat_tick: int = 1
    applied: int = 0
    """Last index the application has applied before a restart; entries up to it are not handed out again."""
    async_storage_writes: bool = False
    """True: storage work leaves as messages with responses to step back, and `advance` is not called."""
    max_size_per_message: int = MAX_SIZE_PER_MESSAGE
    """Entries of one Append message; one entry always fits."""
    max_committed_size_per_ready: int = 0
    """Committed entries handed out and not yet applied; 0 means max_size_per_message."""
    max_uncommitted_size: int = NO_LIMIT
    """Data of proposals a leader keeps uncommitted; one that exceeds it is dropped, unless there is no other."""
    max_inflight_messages: int = MAX_INFLIGHT_MESSAGES
    max_inflight_bytes: int = NO_LIMIT
    check_quorum: bool = False
    """A leader that does not hear from a quorum steps down, and votes are refused while a leader is heard."""
    pre_vote: bool = False
    """Ask whether an election could be won before disturbing the others with it (Raft thesis §9.6)."""
    read_only: ReadOnlyOption = ReadOnlyOption.SAFE
    disable_proposal_forwarding: bool = False
    disable_conf_change_validation: bool = False
    """Let conf changes into the log that do not fit the present configuration."""
    step_down_on_removal: bool = False
    """A leader that applies its own removal or demotion becomes a follower at once."""
    logger: Logger = field(default_factory=Silence)

    def validate(self) -> None:
        """Raise ValueError for settings that contradict themselves."""
        if self.id == NONE:
            raise ValueError("cannot use none as id")
        if self.id in (LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD):
            raise ValueError("cannot use local target as id")
        if self.heartbeat_tick <= 0:
            raise ValueError("heartbeat tick must be greater than 0")
        if self.election_tick <= self.heartbeat_tick:
            raise ValueError("election tick must be greater than heartbeat tick")
        if self.max_inflight_messages <= 0:
            raise ValueError("max inflight messages must be greater than 0")
        if self.max_inflight_bytes < self.max_size_per_message:
            raise ValueError("max inflight bytes must be >= max message size")
        if self.read_only == ReadOnlyOption.LEASE_BASED and not self.check_quorum:
            raise ValueError("CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased")
