"""What a member touches of its machine, beside sockets and the loop's clock; a simulator hands in another."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.raft import MAX_SIZE_PER_MESSAGE
from quorate.server.snapshot_files import Load
from quorate.storage.backend import Backend, load
from quorate.storage.files import OS_FILES, Files
from quorate.storage.wal import SEGMENT_BYTES, WAL, WalWriter


@dataclass(frozen=True, slots=True)
class World:
    """The real one, unless told otherwise."""

    files: Files = OS_FILES
    rng: random.Random = field(default_factory=random.Random)
    secrets: random.Random = field(default_factory=random.SystemRandom)
    """Dice for tokens and salts, which nobody must be able to guess."""
    open_backend: Callable[..., Backend] = Backend.open
    load: Load = load
    make_writer: Callable[[WAL], WalWriter] = WalWriter
    """Who writes the log; it is started by the server."""
    segment_bytes: int = SEGMENT_BYTES
    """Size of a segment of the log."""
    message_bytes: int = MAX_SIZE_PER_MESSAGE
    """Of entries in one message to another member; a single larger entry goes alone."""
