"""The sync twin of quorate.client.client. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from quorate.client import client as _source
from quorate.client import ops
from quorate.client.client import CALL_SECONDS, SNAPSHOT_SECONDS
from quorate.client.ops import Key, Sort
from quorate.client.results import DeleteResult, GetResult, Header, KeyValue, LeaseInfo, PutResult
from quorate.client.retry import Retry
from quorate.client.session import DEFAULT_TTL
from quorate.client.sync.admin import AuthAdmin, ClusterAdmin, Maintenance
from quorate.client.sync.base import Twin
from quorate.client.sync.leases import Lease
from quorate.client.sync.portal import Call
from quorate.client.sync.session import Session
from quorate.client.sync.txn import Txn
from quorate.client.sync.watch import Watch
from quorate.client.tls import Tls
from quorate.client.watch import PROGRESS_SECONDS
from quorate.client.wire import Dial


class Client(Twin[_source.Client]):
    """A client of one cluster. Constructing does no I/O; the first call connects. Close it, or use `with`.

    `timeout` in seconds is the deadline of every call that names none. Keys and values are bytes, or text as UTF-8."""

    def __init__(
        self,
        endpoints: str | Iterable[str] = "127.0.0.1:2379",
        *,
        user: str | None = None,
        password: str | None = None,
        tls: Tls | None = None,
        timeout: float = CALL_SECONDS,
        retry: Retry | None = None,
        dial: Dial | None = None,
    ) -> None:
        """`dial` makes channels to members that are not reached by an address. Raises ValueError."""
        self._stand_for(
            _source.Client(endpoints, user=user, password=password, tls=tls, timeout=timeout, retry=retry, dial=dial)
        )

    @property
    def cluster(self) -> ClusterAdmin:
        return ClusterAdmin._of(self._inner.cluster, self._portal)

    @property
    def maintenance(self) -> Maintenance:
        return Maintenance._of(self._inner.maintenance, self._portal)

    @property
    def auth(self) -> AuthAdmin:
        return AuthAdmin._of(self._inner.auth, self._portal)

    @property
    def endpoints(self) -> list[str]:
        """Those that are asked in turn, as URLs."""
        return self._inner.endpoints

    def __enter__(self) -> Client:
        self._portal.run(self._inner.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.run(self._inner.__aexit__(kind, error, trace))

    def close(self) -> None:
        """Close all connections. Calls under way raise Closed; sessions that are open are kept alive no longer."""
        self._portal.run(self._inner.close())

    def sync_endpoints(self, timeout: float | None = None) -> list[str]:
        """Ask the cluster for its members, and ask all of those that serve clients from now on."""
        return self._portal.run(self._inner.sync_endpoints(timeout))

    def get(
        self,
        key: Key,
        range_end: Key | None = None,
        *,
        prefix: bool = False,
        limit: int = 0,
        revision: int = 0,
        sort: Sort | None = None,
        descending: bool = False,
        serializable: bool = False,
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        timeout: float | None = None,
        retry: Retry | None = None,
    ) -> GetResult:
        """One key, or those from `key` to before `range_end` (b"\\0": to the last), or those that begin with `key`.

        `serializable` reads what the asked member has, which may be old. Raises EtcdError: Compacted, FutureRevision
        for a `revision` that cannot be read."""
        return self._portal.run(
            self._inner.get(
                key,
                range_end,
                prefix=prefix,
                limit=limit,
                revision=revision,
                sort=sort,
                descending=descending,
                serializable=serializable,
                keys_only=keys_only,
                count_only=count_only,
                min_mod_revision=min_mod_revision,
                max_mod_revision=max_mod_revision,
                min_create_revision=min_create_revision,
                max_create_revision=max_create_revision,
                timeout=timeout,
                retry=retry,
            )
        )

    def put(
        self,
        key: Key,
        value: Key = b"",
        *,
        lease: int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        timeout: float | None = None,
        retry: Retry | None = None,
    ) -> PutResult:
        """`ignore_value` and `ignore_lease` keep what the key has. Raises EtcdError; after DeadlineExceeded and
        CallError nobody knows whether it was written."""
        return self._portal.run(
            self._inner.put(
                key,
                value,
                lease=lease,
                prev_kv=prev_kv,
                ignore_value=ignore_value,
                ignore_lease=ignore_lease,
                timeout=timeout,
                retry=retry,
            )
        )

    def delete(
        self,
        key: Key,
        range_end: Key | None = None,
        *,
        prefix: bool = False,
        prev_kv: bool = False,
        timeout: float | None = None,
        retry: Retry | None = None,
    ) -> DeleteResult:
        """Keys as in `get`. Raises EtcdError as `put`."""
        return self._portal.run(
            self._inner.delete(key, range_end, prefix=prefix, prev_kv=prev_kv, timeout=timeout, retry=retry)
        )

    def txn(self) -> Txn:
        """A transaction, to be filled and committed."""
        return Txn._of(self._inner.txn(), self._portal)

    def compact(self, revision: int, *, physical: bool = False, timeout: float | None = None) -> Header:
        """Forget what was before `revision`; with `physical`, return when the room is free. Raises EtcdError."""
        return self._portal.run(self._inner.compact(revision, physical=physical, timeout=timeout))

    def scan(
        self,
        key: Key,
        range_end: Key | None = None,
        *,
        prefix: bool = False,
        revision: int = 0,
        serializable: bool = False,
        keys_only: bool = False,
        timeout: float | None = None,
    ) -> Iterator[KeyValue]:
        """Keys as in `get`, one by one and all of one revision, however many there are. RangeStream of etcd 3.7.

        Raises EtcdError, CallError UNIMPLEMENTED from an older member."""
        request = ops.get(
            key, range_end, prefix=prefix, revision=revision, serializable=serializable, keys_only=keys_only
        )
        with closing(self._scan(request, timeout)) as parts:
            for kvs in parts:
                yield from kvs

    def _scan(self, request: Any, timeout: float | None) -> Generator[tuple[KeyValue, ...], None, None]:
        """As they come, many at a time."""
        return self._portal.iterate(self._inner._scan(request, timeout))

    def watch(
        self,
        key: Key,
        range_end: Key | None = None,
        *,
        prefix: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        without: Iterable[Literal["put", "delete"]] = (),
        progress_seconds: float = PROGRESS_SECONDS,
    ) -> Watch:
        """Events of keys as in `get`, from `start_revision` on, or from now; see Watch."""
        return Watch._of(
            self._inner.watch(
                key,
                range_end,
                prefix=prefix,
                start_revision=start_revision,
                prev_kv=prev_kv,
                without=without,
                progress_seconds=progress_seconds,
            ),
            self._portal,
        )

    def grant(self, ttl: int, lease_id: int = 0, timeout: float | None = None) -> Lease:
        """A lease that ends `ttl` seconds after it was last renewed; the member picks the id if it is 0."""
        return Lease._of(self._portal.run(self._inner.grant(ttl, lease_id, timeout)), self._portal)

    def revoke(self, lease_id: int, timeout: float | None = None) -> None:
        """End a lease, and with it all keys attached to it. Raises LeaseNotFound."""
        self._portal.run(self._inner.revoke(lease_id, timeout))

    def lease_info(self, lease_id: int, *, keys: bool = False, timeout: float | None = None) -> LeaseInfo:
        """The time left of a lease, and what is attached to it."""
        return self._portal.run(self._inner.lease_info(lease_id, keys=keys, timeout=timeout))

    def leases(self, timeout: float | None = None) -> list[int]:
        """The ids of all leases."""
        return self._portal.run(self._inner.leases(timeout))

    def session(self, ttl: int = DEFAULT_TTL, lease_id: int = 0) -> Session:
        """A lease that is kept alive, see Session; `lease_id` names one that exists already."""
        return Session._of(self._inner.session(ttl, lease_id), self._portal)

    def snapshot(
        self,
        path: str | Path,
        *,
        endpoint: str | None = None,
        on_progress: Callable[[int, int], object] | None = None,
        timeout: float = SNAPSHOT_SECONDS,
    ) -> int:
        """Save the database of one member to a file, its hash checked; its size in bytes. See `snapshot.save`."""
        call = Call[int](self._portal)
        return call.run(
            self._inner.snapshot(path, endpoint=endpoint, on_progress=call.here(on_progress), timeout=timeout)
        )
