"""What a database says of itself: `snapshot status` and `hashkv`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from google_crc32c import extend

from quorate.api import errors
from quorate.server.offline.databases import open_database
from quorate.server.offline.errors import OfflineError
from quorate.storage import schema
from quorate.storage.mvcc import HashResult, Store
from quorate.storage.mvcc.revision import parse_revision
from quorate.storage.mvcc.rows import key_of


class Status(NamedTuple):
    """`hash` is CRC-32C over all buckets, `revision` that of the newest row, `size` in bytes; `version` X.Y.0, or empty
    when the rows do not tell whose rules they follow."""

    hash: int
    revision: int
    live_keys: int
    size: int
    version: str


def status(path: Path) -> Status:
    """What is in the database at `path`. Raises OfflineError."""
    with open_database(path) as database:
        crc, revision = 0, 0
        living: set[bytes] = set()
        for name in database.buckets():
            crc = extend(crc, name)
            for key, value in database.scan(name):
                crc = extend(extend(crc, key), value)
                if name == schema.KEY.name:
                    revision, _, deleted = parse_revision(key)
                    (living.discard if deleted else living.add)(key_of(value))
        version = schema.get_storage_version(schema.Draft(database.source)) or ""
        return Status(crc, revision, len(living), database.size, version)


def hash_kv(path: Path, revision: int = 0) -> HashResult:
    """What a member with this database answers for its hash at `revision` (0: the newest). Raises OfflineError."""
    with open_database(path) as database:
        store = Store(schema.Draft(database.source), _Unattached())
        store.restore()
        try:
            job = store.hash_kv(revision)
            while True:
                next(job)
        except StopIteration as end:
            found: HashResult = end.value
            return found
        except errors.EtcdError as err:
            raise OfflineError(str(err).removeprefix("etcdserver: ")) from err


class _Unattached:
    """Which key hangs on which lease is of no interest here."""

    def attach(self, lease_id: int, key: bytes) -> None: ...

    def detach(self, lease_id: int, key: bytes) -> None: ...

    def lease_of(self, key: bytes) -> int:
        return 0
