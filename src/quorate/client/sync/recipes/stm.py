"""The sync twin of quorate.client.recipes.stm. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import ops
from quorate.client.errors import Compacted, DeadlineExceeded
from quorate.client.ops import Key, to_bytes
from quorate.client.recipes.place import kv_of
from quorate.client.recipes.stm import Isolation, T
from quorate.client.recipes.waiting import Deadline
from quorate.client.results import KeyValue
from quorate.client.sync.client import Client


class StmTxn:
    """One attempt. Of what it has written itself, it reads what it has written."""

    def __init__(self, client: Client, isolation: Isolation, fresh: bool, deadline: Deadline) -> None:
        self._client = client
        self._isolation = isolation
        self._fresh = fresh
        self._deadline = deadline
        self._one_revision = isolation in (Isolation.SERIALIZABLE_SNAPSHOT, Isolation.SERIALIZABLE)
        self._revision = 0
        "That of the first read."
        self._reads: dict[bytes, KeyValue | None] = {}
        self._writes: dict[bytes, Any] = {}
        self.outdated = False
        "The revision of the first read was compacted before all was read."

    def get(self, key: Key) -> bytes | None:
        """The value of a key; None when it is not there. Raises EtcdError."""
        name = to_bytes(key)
        written = self._writes.get(name)
        if written is not None:
            return written.value if isinstance(written, pb.PutRequest) else None
        kv = self._read(name)
        return None if kv is None else kv.value

    def rev(self, key: Key) -> int:
        """The revision of the last write of a key before this transaction; 0 when it is not there. Raises EtcdError."""
        kv = self._read(to_bytes(key))
        return 0 if kv is None else kv.mod_revision

    def put(self, key: Key, value: Key, *, lease: int = 0) -> None:
        """To be written when all is done."""
        self._writes[to_bytes(key)] = ops.put(key, value, lease=lease)

    def delete(self, key: Key) -> None:
        """To be deleted when all is done."""
        self._writes[to_bytes(key)] = ops.delete(key)

    def fetch(self, keys: Iterable[Key]) -> None:
        """Read several keys by one call, so that `get` need not ask for each. Raises EtcdError.

        A member of etcd before 3.5.5 may crash when such a call of several keys is cancelled."""
        names = [name for name in dict.fromkeys(map(to_bytes, keys)) if name not in self._reads]
        if not names:
            return
        revision = self._revision if self._one_revision else 0
        gets = [ops.get(name, revision=revision, serializable=not self._fresh) for name in names]
        try:
            seen = self._client.txn().then(*gets).commit(timeout=self._deadline.left())
        except Compacted:
            self.outdated = True
            raise
        self._revision = self._revision or seen.header.revision
        for name, result in zip(names, seen.results, strict=True):
            self._reads[name] = kv_of(result)

    def commit(self) -> bool:
        """Write all, unless somebody interfered; whether it was written. Raises EtcdError."""
        compares = self._conflicts()
        if not compares and (not self._writes):
            return True
        txn = self._client.txn().when(*compares).then(*self._writes.values())
        return bool(txn.commit(timeout=self._deadline.left()))

    def _read(self, name: bytes) -> KeyValue | None:
        if name not in self._reads:
            revision = self._revision if self._one_revision else 0
            try:
                seen = self._client.get(
                    name, revision=revision, serializable=not self._fresh, timeout=self._deadline.left()
                )
            except Compacted:
                self.outdated = True
                raise
            self._revision = self._revision or seen.header.revision
            self._reads[name] = seen.kv
        return self._reads[name]

    def _conflicts(self) -> list[pb.Compare]:
        if self._isolation is Isolation.READ_COMMITTED:
            return []
        compares = [
            ops.mod_revision(name) == (0 if kv is None else kv.mod_revision) for name, kv in self._reads.items()
        ]
        if self._isolation is Isolation.SERIALIZABLE_SNAPSHOT and self._revision:
            compares += [
                ops.mod_revision(name) < self._revision + 1 for name in self._writes if name not in self._reads
            ]
        return compares


def stm(
    client: Client,
    fn: Callable[[StmTxn], T],
    *,
    isolation: Isolation = Isolation.SERIALIZABLE_SNAPSHOT,
    timeout: float | None = None,
) -> T:
    """What `fn` returns in the attempt that is committed. It is called anew for each attempt, and may raise to give up.

    `timeout` is for all attempts. Raises DeadlineExceeded, EtcdError, and what `fn` raises."""
    deadline = Deadline(timeout)
    fresh = isolation in (Isolation.SERIALIZABLE_SNAPSHOT, Isolation.SERIALIZABLE)
    while True:
        if deadline.left() == 0.0:
            raise DeadlineExceeded()
        txn = StmTxn(client, isolation, fresh, deadline)
        try:
            result = fn(txn)
        except Compacted:
            if not txn.outdated:
                raise
            continue
        if txn.commit():
            return result
        fresh = True
