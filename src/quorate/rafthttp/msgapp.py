"""The msgapp stream: appends alone, the usual ones without what both ends know already (codec v2).

    0                                                       sign of life
    1 │ n │ n × ( size │ raftpb.Entry ) │ commit            append that goes on where the last one ended
    2 │ size │ raftpb.Message                               any other append

The kind is one byte, each number 8 bytes big-endian. Both ends keep (term, index), at first zero: the last append's
term and last entry. An append goes on there when its previous entry has this index and this term, which is its own too.
"""

from __future__ import annotations

from struct import Struct

from google.protobuf.message import DecodeError

from quorate.api.raftpb import Entry, Message, MessageType, decode_entry, encode_entries, encode_message
from quorate.rafthttp.errors import RemoteProtocolError
from quorate.rafthttp.intake import Intake
from quorate.rafthttp.limits import ENTRIES_LIMIT, MESSAGE_LIMIT
from quorate.rafthttp.messages import decoded
from quorate.rafthttp.streams import Blocks

LINK_HEARTBEAT = 0
APPEND_ENTRIES = 1
APPEND = 2

_LENGTH = Struct(">Q")
_HEAD = Struct(">BQ")
_pack = _LENGTH.pack


class MsgAppEncoder:
    """The sending end."""

    heartbeat = bytes((LINK_HEARTBEAT,))

    def __init__(self) -> None:
        self._term = self._index = 0

    def encode(self, message: Message, blocks: Blocks) -> bytes:
        assert message.type == MessageType.APP
        term, index, entries = message.term, message.index, message.entries
        if index == self._index and message.log_term == self._term == term:
            self._index += len(entries)
            body = _block(entries, blocks) if entries else b""
            return b"%b%b%b" % (_HEAD.pack(APPEND_ENTRIES, len(entries)), body, _pack(message.commit))
        self._term = term
        self._index = entries[-1].index if entries else index
        data = encode_message(message)
        return _HEAD.pack(APPEND, len(data)) + data


def _block(entries: list[Entry], blocks: Blocks) -> bytes:
    last = entries[-1]
    key = (entries[0].index, last.index, last.term)
    block = blocks.get(key)
    if block is None:
        block = b"".join([part for entry in encode_entries(entries) for part in (_pack(len(entry)), entry)])
        blocks[key] = block
    return block


class MsgAppDecoder:
    """The receiving end, at member `to`, of a stream from member `from_`; `limit` is in bytes of one append."""

    def __init__(self, to: int, from_: int, limit: int = MESSAGE_LIMIT) -> None:
        self._to = to
        self._from = from_
        self._limit = limit
        self._term = self._index = 0
        self._intake = Intake()
        self._entries: list[Entry] | None = None
        """Of the append being read; None between two."""
        self._left = 0
        self._size = 0

    def feed(self, piece: bytes) -> list[Message]:
        """The appends that `piece` completes. Raises RemoteProtocolError."""
        messages: list[Message] = []
        data = self._intake.add(piece)
        if data is None:
            return messages
        at, end = 0, len(data)
        need = 1
        while end - at >= need:
            if self._entries is not None and self._left:
                at, need = self._read_entries(data, at)
            elif self._entries is not None:
                at, need = self._finish(data, at, messages)
            elif data[at] == LINK_HEARTBEAT:
                at, need = at + 1, 1
            elif data[at] == APPEND_ENTRIES:
                at, need = self._begin(data, at)
            elif data[at] == APPEND:
                at, need = self._read_whole(data, at, messages)
            else:
                raise RemoteProtocolError(f"unhandled message type {data[at]}")
        self._intake.keep(data, at, need)
        return messages

    def _begin(self, data: bytes, at: int) -> tuple[int, int]:
        """The head of an append that goes on. Returns where reading goes on, and how many bytes it takes."""
        if len(data) - at < 9:
            return at, 9
        (count,) = _LENGTH.unpack_from(data, at + 1)
        if count > ENTRIES_LIMIT:
            raise RemoteProtocolError(f"append of {count} entries, the limit is {ENTRIES_LIMIT}")
        self._entries, self._left, self._size = [], count, 0
        return at + 9, 8

    def _read_entries(self, data: bytes, at: int) -> tuple[int, int]:
        """As many entries as there are."""
        assert self._entries is not None
        end = len(data)
        need = 8
        try:
            while self._left:
                need = 8
                if end - at < need:
                    break
                (size,) = _LENGTH.unpack_from(data, at)
                need += size
                if self._size + need > self._limit:
                    raise RemoteProtocolError(f"append of more than {self._limit} bytes")
                if end - at < need:
                    break
                self._entries.append(decode_entry(data[at + 8 : at + need]))
                at += need
                self._size += need
                self._left -= 1
                need = 8
        except DecodeError as error:
            raise RemoteProtocolError(f"malformed entry: {error}") from error
        return at, need

    def _finish(self, data: bytes, at: int, messages: list[Message]) -> tuple[int, int]:
        """The commit index behind the entries."""
        assert self._entries is not None
        if len(data) - at < 8:
            return at, 8
        (commit,) = _LENGTH.unpack_from(data, at)
        entries, self._entries = self._entries, None
        messages.append(
            Message(
                MessageType.APP,
                to=self._to,
                from_=self._from,
                term=self._term,
                log_term=self._term,
                index=self._index,
                entries=entries,
                commit=commit,
            )
        )
        self._index += len(entries)
        return at + 8, 1

    def _read_whole(self, data: bytes, at: int, messages: list[Message]) -> tuple[int, int]:
        if len(data) - at < 9:
            return at, 9
        (size,) = _LENGTH.unpack_from(data, at + 1)
        if size > self._limit:
            raise RemoteProtocolError(f"append of {size} bytes, the limit is {self._limit}")
        if len(data) - at < 9 + size:
            return at, 9 + size
        message = decoded(data[at + 9 : at + 9 + size])
        self._term = message.term
        self._index = message.entries[-1].index if message.entries else message.index
        messages.append(message)
        return at + 9 + size, 1
