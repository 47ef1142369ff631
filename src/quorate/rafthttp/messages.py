"""The message stream: any raft message, one after the other.

    8 bytes big-endian: size │ raftpb.Message

A sign of life is a MsgHeartbeat from nobody to nobody.
"""

from __future__ import annotations

from struct import Struct

from google.protobuf.message import DecodeError

from quorate.api.raftpb import Message, MessageType, decode_message, encode_message
from quorate.rafthttp.errors import RemoteProtocolError
from quorate.rafthttp.intake import Intake
from quorate.rafthttp.limits import MESSAGE_LIMIT
from quorate.rafthttp.streams import Blocks

_LENGTH = Struct(">Q")

WITHOUT_TERM = (MessageType.PROP, MessageType.READ_INDEX)
"""Passed on to whoever leads, in whatever term."""


def framed(message: Message) -> bytes:
    """`message` behind its size."""
    data = encode_message(message)
    return _LENGTH.pack(len(data)) + data


class MessageEncoder:
    """The sending end."""

    heartbeat = framed(Message(MessageType.HEARTBEAT))

    def encode(self, message: Message, blocks: Blocks) -> bytes:
        return framed(message)


class MessageDecoder:
    """The receiving end; `limit` is in bytes of one message."""

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self._intake = Intake()
        self._limit = limit

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that `piece` completes. Raises RemoteProtocolError."""
        messages: list[Message] = []
        data = self._intake.add(piece)
        if data is None:
            return messages
        at, end = 0, len(data)
        while True:
            need = 8
            if end - at < need:
                break
            (size,) = _LENGTH.unpack_from(data, at)
            if size > self._limit:
                raise RemoteProtocolError(f"message of {size} bytes, the limit is {self._limit}")
            need += size
            if end - at < need:
                break
            message = decoded(data[at + 8 : at + need])
            at += need
            if message.type != MessageType.HEARTBEAT or message.from_ or message.to:
                messages.append(message)
        self._intake.keep(data, at, need)
        return messages


def is_sound(message: Message) -> bool:
    """Can a member have said this? Raft takes it for granted: what it asserts of others' messages stops the member."""
    kind, entries = message.type, message.entries
    if not message.from_ or (message.term == 0) != (kind in WITHOUT_TERM):
        return False
    if kind == MessageType.APP and entries:
        return entries[0].index == message.index + 1 and entries[-1].index == message.index + len(entries)
    return kind != MessageType.READ_INDEX or len(entries) == 1


def decoded(data: bytes) -> Message:
    """The message in `data`. Raises RemoteProtocolError."""
    try:
        return decode_message(data)
    except DecodeError as error:
        raise RemoteProtocolError(f"malformed message: {error}") from error
