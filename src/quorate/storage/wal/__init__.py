"""The write-ahead log: what a member has promised, on disk before it answers for it.

Knows the format of the log, byte for byte etcd's (3.5 to 3.8): either reads what the other wrote. Refuses to know what
an entry means, when something must be saved, and who waits for it.

A log is a directory of segments, `<sequence>-<first index>.wal`, both %016x. A segment is preallocated to 64,000,000
bytes and filled with frames; the zeros behind the last frame end it.

```
frame    | length, 8 bytes little-endian | walpb.Record | padding to a multiple of 8 |
         | low 56 bits: bytes of the record; top bit set: bits 56-58 are the number of pad bytes |
record   { 1 type, 2 crc, 3 data }       crc: CRC-32C over the data of all records since the log began, this included

type     1 metadata   who the member is; the same bytes in every segment
         2 entry      raftpb.Entry; an index seen before replaces everything from there on
         3 state      raftpb.HardState; the last one counts
         4 crc        no data; the running checksum carried over from the segment before
         5 snapshot   walpb.Snapshot: a state up to this index exists elsewhere

first segment    crc 0, metadata, snapshot {0, 0}, then entries and states as they come
later segments   crc, metadata, state, then the same
```

A write that was under way when the machine stopped leaves a torn tail: a record reaching beyond the file, or one with
a 512-byte sector that is all zeros. Only there is the log cut (`repair`); any other damage is a hard error with file
and offset, because records that were promised stand behind it.

After a failed write or sync the log is closed for good. Whether the bytes reached the disk is unknown and asking
again proves nothing; the next start reads what is there.

- `WAL.create`, `WAL.open`, `repair`, `read_only`, `valid_snapshots`, `newest_snapshot`, `exists`
- `WalWriter` the thread that writes: everything queued goes into one write and one sync
- `WalError` and its kinds

Source: Raft thesis §3.8 (persisted state), §10.2.1 (writing to the disk in parallel); RFC 3720 appendix B.4 (CRC-32C).
"""

from quorate.storage.wal.errors import (
    CrcMismatch,
    FileMissing,
    Malformed,
    MetadataConflict,
    OutOfRange,
    SnapshotMismatch,
    SnapshotNotFound,
    UnexpectedEof,
    WalClosed,
    WalError,
    WalExists,
    WriteFailed,
)
from quorate.storage.wal.log import WAL
from quorate.storage.wal.reader import WalContents, newest_snapshot, read_only, repair, valid_snapshots
from quorate.storage.wal.record import Batch, WalSnapshot
from quorate.storage.wal.segment import SEGMENT_BYTES, exists
from quorate.storage.wal.writer import WalWriter

__all__ = [
    "SEGMENT_BYTES",
    "WAL",
    "Batch",
    "CrcMismatch",
    "FileMissing",
    "Malformed",
    "MetadataConflict",
    "OutOfRange",
    "SnapshotMismatch",
    "SnapshotNotFound",
    "UnexpectedEof",
    "WalClosed",
    "WalContents",
    "WalError",
    "WalExists",
    "WalSnapshot",
    "WalWriter",
    "WriteFailed",
    "exists",
    "newest_snapshot",
    "read_only",
    "repair",
    "valid_snapshots",
]
