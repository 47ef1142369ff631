"""What the two kinds of streams have in common."""

from __future__ import annotations

from typing import Protocol

from quorate.api.raftpb import Message

MSGAPP = "msgapp"
MESSAGE = "message"
STREAMS = (MESSAGE, MSGAPP)
"""Kinds of streams, as their paths name them."""

Blocks = dict[tuple[int, int, int], bytes]
"""Encoded entries that several members get in the same turn, by first index, last index and last term. Those three name
the entries: logs that agree in one entry's index and term agree in all before it (Raft paper §5.3)."""


class Encoder(Protocol):
    """The sending end of one stream, from its first byte on."""

    heartbeat: bytes
    """A sign of life."""

    def encode(self, message: Message, blocks: Blocks) -> bytes:
        """`message` as it goes on the stream; entries that are in `blocks` already are not encoded again."""


class Decoder(Protocol):
    """The receiving end of one stream, from its first byte on."""

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that `piece` completes. Raises RemoteProtocolError."""


def title_of(name: str) -> str:
    """What the log calls a kind of stream."""
    return "stream MsgApp v2" if name == MSGAPP else "stream Message"
