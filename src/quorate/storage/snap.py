"""`.snap` files: where the raft log may start. And the purge of files that nobody needs any more.

A snapshot file is written whole, then named; it is small, because the state itself is in the backend. The write-ahead
log names each one in a record, written after the file: a start takes the newest that both know.

```
<term>-<index>.snap     both %016x
snappb.snapshot { 1 crc, 2 data }       crc: CRC-32C of data
data = raftpb.Snapshot { 1 data, 2 metadata { 1 conf_state, 2 index, 3 term } }
```

etcd 3.5 to 3.7 write and read these files; 3.8 does without them. A file that cannot be read is set aside as
`<name>.broken`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import closing, suppress

from google.protobuf.message import DecodeError
from google_crc32c import extend

from quorate.api.pb import raft_pb2, snap_pb2
from quorate.api.raftpb import Snapshot, conf_state_message, conf_state_value
from quorate.storage.files import FileLocked, Files

KEEP = 5  # files of a kind that a purge leaves, unless told otherwise
BROKEN = ".broken"
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.snap")
_TEMPORARY = "tmp.snap.partial"


class BadSnapshot(Exception):
    """A `.snap` file that is not what was written."""


def file_name(snapshot: Snapshot) -> str:
    return f"{snapshot.term:016x}-{snapshot.index:016x}.snap"


def save(files: Files, directory: str, snapshot: Snapshot) -> str:
    """Write `snapshot` to `directory`, durable on return under the name that is returned; raises OSError."""
    message = raft_pb2.Snapshot(data=snapshot.data)
    message.metadata.index = snapshot.index
    message.metadata.term = snapshot.term
    message.metadata.conf_state.CopyFrom(conf_state_message(snapshot.conf_state))
    data = message.SerializeToString()
    temporary, name = f"{directory}/{_TEMPORARY}", file_name(snapshot)
    with closing(files.open(temporary, create=True)) as file:
        file.truncate(0)
        file.write(snap_pb2.snapshot(crc=extend(0, data), data=data).SerializeToString(), 0)
        file.sync()
    files.rename(temporary, f"{directory}/{name}")
    files.sync_directory(directory)
    return name


def load(files: Files, path: str) -> Snapshot:
    """The snapshot in the file `path`; raises BadSnapshot, OSError."""
    with closing(files.open(path, read_only=True)) as file:
        data = file.read(0, file.size())
    try:
        wrapper = snap_pb2.snapshot.FromString(data)
        if not wrapper.data or not wrapper.crc:
            raise BadSnapshot(f"{path} is empty ({len(data)} bytes)")
        if (crc := extend(0, wrapper.data)) != wrapper.crc:
            raise BadSnapshot(f"{path}: checksum is {crc:08x}, the file says {wrapper.crc:08x}")
        message = raft_pb2.Snapshot.FromString(wrapper.data)
    except DecodeError:
        raise BadSnapshot(f"{path} is not a snapshot file") from None
    meta = message.metadata
    return Snapshot(meta.index, meta.term, conf_state_value(meta.conf_state), message.data)


def load_newest(files: Files, directory: str, known: Collection[tuple[int, int]] | None = None) -> Snapshot | None:
    """The newest readable snapshot in `directory`, None when there is none; raises OSError.

    `known` are (term, index) pairs, those that the write-ahead log vouches for: no other is taken. Files that are
    damaged are renamed to `<name>.broken`.
    """
    try:
        names = files.list(directory)
    except FileNotFoundError:
        return None
    for name in reversed(names):
        match = _NAME.fullmatch(name)
        if match is None or (known is not None and (int(match[1], 16), int(match[2], 16)) not in known):
            continue
        path = f"{directory}/{name}"
        with suppress(BadSnapshot):
            snapshot = load(files, path)
            if file_name(snapshot) == name:
                return snapshot
        files.rename(path, path + BROKEN)
        files.sync_directory(directory)
    return None


def purge(files: Files, directory: str, suffix: str, keep: int = KEEP, *, locked: bool = False) -> list[str]:
    """Delete the oldest files in `directory` that end in `suffix`, down to `keep`; the names of those deleted.

    `keep` 0 keeps all. With `locked`, for segments of the log, the first file in use ends the purge: it and all newer
    ones are needed. Each deletion is durable before the next, so that a crash leaves no gap. Raises OSError.
    """
    names = [name for name in files.list(directory) if name.endswith(suffix)]
    purged: list[str] = []
    for name in names[:-keep] if keep else ():
        path = f"{directory}/{name}"
        with closing(files.open(path)) as file:
            if locked:
                try:
                    file.lock()
                except FileLocked:
                    break
            files.unlink(path)
        files.sync_directory(directory)
        purged.append(name)
    return purged
