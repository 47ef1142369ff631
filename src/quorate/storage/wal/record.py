"""Records: their encoding into frames with the running checksum, and the way back.

`Encoder` is where the log's contents are decided: it alone knows the checksum, the offset reached and so the moment at
which a segment is full. It touches no file, so it can run on the thread that has the entries while another writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError
from google_crc32c import extend

from quorate.api.pb import wal_pb2 as pb
from quorate.api.raftpb import (
    ConfState,
    Entry,
    HardState,
    conf_state_message,
    conf_state_value,
    encode_entries,
    encode_hard_state,
)
from quorate.storage.files import File
from quorate.storage.wal.errors import CrcMismatch, Malformed, UnexpectedEof
from quorate.storage.wal.segment import SEGMENT_BYTES, SegmentName

METADATA = 1
ENTRY = 2
STATE = 3
CRC = 4
SNAPSHOT = 5

SECTOR_BYTES = 512  # what a disk writes as a whole or not at all
_LENGTH_BYTES = 8
FIRST_BYTES = 1 << 16
TAIL_BYTES = 4096
"""A segment is read in pieces, each as large as all before. When so many bytes at the end of one are zero, it is time
to look whether the records have ended."""
_LENGTH_MASK = (1 << 56) - 1


class WalSnapshot(NamedTuple):
    """A state that exists outside of the log. `conf_state` is there whenever `index` > 0."""

    index: int = 0  # type: ignore[assignment]
    term: int = 0
    conf_state: ConfState | None = None
    replaces_log: bool = False
    """For writing: a leader sent it, and what the log held until now is void. The record is written twice, which says
    so to a reader and nothing to one of etcd's."""


class Cut(NamedTuple):
    """The segment that begins behind a batch, and its first bytes."""

    name: SegmentName
    head: bytes


class Batch(NamedTuple):
    """Records that were saved together: `data` as it goes to the file, whether it must be durable before anyone is
    answered, and the next segment when this one is full."""

    data: bytes
    sync: bool
    cut: Cut | None = None


class Encoder:
    """Turns what is to be saved into frames. Single owner; calls and writes must keep the same order.

    `offset` and `crc` are the size of the segment and the running checksum behind all that was encoded, `sequence` is
    the segment's number, `last_index` the newest entry or snapshot.
    """

    def __init__(self, metadata: bytes, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.metadata = metadata
        self.segment_bytes = segment_bytes
        self.crc = 0
        self.offset = 0
        self.sequence = 0
        self.last_index = 0
        self.state = HardState()

    def begin(self) -> bytes:
        """The head of a new log."""
        head = self._head() + self._frame(SNAPSHOT, encode_snapshot(WalSnapshot()))
        self.offset = len(head)
        return head

    def encode(
        self,
        hard_state: HardState | None = None,
        entries: Sequence[Entry] = (),
        snapshot: WalSnapshot | None = None,
        *,
        sync: bool = False,
    ) -> Batch:
        """Snapshot, entries and state in this order: a state must never name an entry that a torn write lost.
        With `sync` even a commit index alone is to be durable."""
        parts: list[bytes] = []
        if snapshot is not None:
            assert snapshot.conf_state is not None or not snapshot.index
            data = encode_snapshot(snapshot)
            parts.extend([self._frame(SNAPSHOT, data) for _ in range(1 + snapshot.replaces_log)])
            self.last_index = snapshot.index if snapshot.replaces_log else max(self.last_index, snapshot.index)
            sync = True
        if entries:
            self._entries(entries, parts)
            self.last_index = entries[-1].index
            sync = True
        if hard_state is not None and hard_state != _NO_STATE:
            parts.append(self._frame(STATE, encode_hard_state(hard_state)))
            # A commit index alone may be lost: it is learned again (Raft thesis §3.8). Term and vote are promises.
            sync = sync or hard_state[:2] != self.state[:2]
            self.state = hard_state
        written = b"".join(parts)
        self.offset += len(written)
        if self.offset < self.segment_bytes:
            return Batch(written, sync)
        return Batch(written, True, self._next())

    def _next(self) -> Cut:
        self.sequence += 1
        head = self._head()
        if self.state != _NO_STATE:
            head += self._frame(STATE, encode_hard_state(self.state))
        self.offset = len(head)
        return Cut(SegmentName(self.sequence, self.last_index + 1), head)

    def _head(self) -> bytes:
        return _crc_frame(self.crc) + self._frame(METADATA, self.metadata)

    def _frame(self, kind: int, data: bytes) -> bytes:
        self.crc = extend(self.crc, data)
        return _framed(pb.Record(type=kind, crc=self.crc, data=data).SerializeToString())

    def _entries(self, entries: Sequence[Entry], parts: list[bytes]) -> None:
        """The hot path: walpb.Record around raftpb.Entry by hand, in half the time of two messages."""
        crc = self.crc
        for entry in encode_entries(entries):
            crc = extend(crc, entry)
            size = len(entry)
            head = b"\x08\x02\x10%b\x1a%b" % (_varint(crc), _varint(size))
            size += len(head)
            pad = -size & 7
            length = (size | (0x80 | pad) << 56 if pad else size).to_bytes(8, "little")
            parts.append(b"%b%b%b%b" % (length, head, entry, _PADDING[pad]))
        self.crc = crc


def encode_snapshot(snapshot: WalSnapshot) -> bytes:
    """walpb.Snapshot bytes; index and term are always written."""
    message = pb.Snapshot(index=snapshot.index, term=snapshot.term)
    if snapshot.conf_state is not None:
        message.conf_state.CopyFrom(conf_state_message(snapshot.conf_state))
    return message.SerializeToString()


def decode_snapshot(data: bytes) -> WalSnapshot:
    """The value of walpb.Snapshot bytes; raises DecodeError."""
    message = pb.Snapshot.FromString(data)
    conf_state = conf_state_value(message.conf_state) if message.HasField("conf_state") else None
    return WalSnapshot(message.index, message.term, conf_state)


def scan(segment: str, data: bytes, crc: int, *, last: bool) -> Iterator[tuple[int, bytes, int, int]]:
    """The records in `data`, the whole of a segment: (type, data, running crc behind it, offset behind it).

    `crc` is the running checksum at the start, 0 when unknown; `segment` names the file in errors. Ends at a zero
    length or the end of the file. Raises CrcMismatch, Malformed and, in the `last` segment only, UnexpectedEof:
    an earlier one was complete on disk before its successor came to be.
    """
    offset = 0
    while offset < len(data):
        field = int.from_bytes(data[offset : offset + _LENGTH_BYTES], "little")
        if not field and offset + _LENGTH_BYTES <= len(data):
            return
        start = offset + _LENGTH_BYTES
        stop = start + (field & _LENGTH_MASK)
        end = stop + (field >> 56 & 7 if field >> 63 else 0)
        if end > len(data):
            raise _short(segment, offset, end - len(data), last)
        try:
            record = _parse(data[start:stop])
        except DecodeError:
            raise _torn_or(Malformed(segment, offset, "not a record"), data, offset, end, last) from None
        kind, payload, stated = record.type, record.data, record.crc
        if kind == CRC:
            running = crc or stated  # 0: nothing read yet, the segment says where it stands
        else:
            running = extend(crc, payload)
        if running != stated:
            error = CrcMismatch(segment, offset, f"checksum is {running:08x}, the record says {stated:08x}{_HINT}")
            raise _torn_or(error, data, offset, end, last)
        crc = stated
        yield kind, payload, crc, end
        offset = end


def records_of(file: File) -> bytes:
    """What a segment holds, without the zeros that it was preallocated with: they are most of a young log.

    Ends behind the zero length that ends the records, or with the file: `scan` finds the same in both.
    """
    size = file.size()
    data = b""
    offset = 0
    while len(data) < size:
        data += file.read(len(data), min(max(len(data), FIRST_BYTES), size - len(data)))
        if any(data[-TAIL_BYTES:]):
            continue
        while offset + _LENGTH_BYTES <= len(data):
            field = int.from_bytes(data[offset : offset + _LENGTH_BYTES], "little")
            if not field:
                return data[: offset + _LENGTH_BYTES]
            offset += _LENGTH_BYTES + (field & _LENGTH_MASK) + (field >> 56 & 7 if field >> 63 else 0)
    return data


def _short(segment: str, offset: int, missing: int, last: bool) -> Malformed | UnexpectedEof:
    what = f"the file ends {missing} bytes before the record does"
    return UnexpectedEof(segment, offset, what + _TORN) if last else Malformed(segment, offset, what + _HINT)


def _torn_or(error: CrcMismatch | Malformed, data: bytes, offset: int, end: int, last: bool) -> Exception:
    """`error`, or UnexpectedEof when a sector of the record was never written: then nobody was told it was there."""
    position = offset + _LENGTH_BYTES
    while last and position < end:
        border = min(end, (position // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if not any(data[position:border]):
            return UnexpectedEof(error.segment, offset, "a sector of the record is all zeros" + _TORN)
        position = border
    return error


def _crc_frame(crc: int) -> bytes:
    return _framed(pb.Record(type=CRC, crc=crc).SerializeToString())


def _framed(record: bytes) -> bytes:
    size = len(record)
    pad = -size & 7
    return (size | (0x80 | pad) << 56 if pad else size).to_bytes(8, "little") + record + _PADDING[pad]


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _LAST[value]
    if value < 0x4000:
        return _MORE[value & 0x7F] + _LAST[value >> 7]
    out = b""
    while value > 0x7F:
        out += _MORE[value & 0x7F]
        value >>= 7
    return out + _LAST[value]


_parse = pb.Record.FromString
_NO_STATE = HardState()
_LAST = [bytes((n,)) for n in range(0x80)]
_MORE = [bytes((n | 0x80,)) for n in range(0x80)]
_PADDING = [bytes(n) for n in range(8)]
_TORN = ": the write was cut short by a crash or a full disk; repair cuts it off here"
_HINT = ": the file is damaged; restore the member from a snapshot or let it join again"
