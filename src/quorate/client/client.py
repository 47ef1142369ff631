"""The client: one object for the whole API. What it does with a request is `wire`; how requests look is `ops`."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import ops, snapshot
from quorate.client.admin import AuthAdmin, ClusterAdmin, Maintenance
from quorate.client.endpoints import Endpoint, parse_endpoints
from quorate.client.errors import error_of
from quorate.client.leases import Keeper, Lease, lease_info
from quorate.client.methods import GET_ONE, RANGE_STREAM
from quorate.client.one_key import encode_get
from quorate.client.ops import Key, Sort
from quorate.client.results import (
    DeleteResult,
    GetResult,
    Header,
    KeyValue,
    LeaseInfo,
    PutResult,
    to_delete,
    to_get,
    to_header,
    to_kvs,
    to_put,
)
from quorate.client.retry import Retry
from quorate.client.session import DEFAULT_TTL, Session
from quorate.client.tls import Tls
from quorate.client.twin import translated
from quorate.client.txn import Txn
from quorate.client.watch import PROGRESS_SECONDS, Watch
from quorate.client.wire import Dial, Login, Wire
from quorate.transport.grpc import Channel, ChannelLimits, Status, unix_socket

CALL_SECONDS = 5.0
CONNECT_SECONDS = 2.0
PING_SECONDS = 10.0
"""Silence after which a member with calls under way is asked for a sign of life; members allow one in 5 s."""
PONG_SECONDS = 5.0
UNIX_NAME = "localhost"
"""As whom a member at a Unix socket is addressed, and who its certificate must be for."""
SNAPSHOT_SECONDS = 60.0
"""Between two parts of a snapshot."""


class Client:
    """A client of one cluster. Constructing does no I/O; the first call connects. Close it, or use `async with`.

    `timeout` in seconds is the deadline of every call that names none. Keys and values are bytes, or text as UTF-8.
    """

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
        if (user is None) != (password is None):
            raise ValueError("a user needs a password, and a password a user")
        login = None if user is None or password is None else Login(user, password)
        self._tls = tls
        self._encrypted = tls is not None
        self._wire = Wire(
            parse_endpoints(endpoints, self._encrypted), dial or self._dial, login, timeout, retry or Retry()
        )
        self._keeper = Keeper(self._wire)
        self.cluster = ClusterAdmin(self._wire)
        self.maintenance = Maintenance(self._wire)
        self.auth = AuthAdmin(self._wire)

    @property
    def endpoints(self) -> list[str]:
        """Those that are asked in turn, as URLs."""
        return self._wire.endpoints

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. Calls under way raise Closed; sessions that are open are kept alive no longer."""
        await self._keeper.close()
        await self._wire.close()

    async def sync_endpoints(self, timeout: float | None = None) -> list[str]:
        """Ask the cluster for its members, and ask all of those that serve clients from now on."""
        members = await self.cluster.members(timeout=timeout)
        urls = [url for member in members if not member.is_learner for url in member.client_urls]
        if urls:
            for channel in self._wire.set_endpoints(parse_endpoints(urls, self._encrypted)):
                await channel.close()
        return self.endpoints

    # Keys.

    async def get(
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
        for a `revision` that cannot be read.
        """
        others = limit or revision or min_mod_revision or max_mod_revision or min_create_revision or max_create_revision
        given = range_end is not None or prefix or sort or descending or keys_only or count_only or others
        if not given and type(self._wire) is Wire:  # the recipes' wires look into their requests
            body = encode_get(ops.to_bytes(key), serializable)
            found: GetResult = await self._wire.ask(GET_ONE, body, timeout, retry)
            return found
        request = ops.get(
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
        )
        return to_get(await self._wire.call(request, timeout=timeout, retry=retry))

    async def put(
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
        request = ops.put(
            key, value, lease=lease, prev_kv=prev_kv, ignore_value=ignore_value, ignore_lease=ignore_lease
        )
        return to_put(await self._wire.call(request, timeout=timeout, retry=retry))

    async def delete(
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
        request = ops.delete(key, range_end, prefix=prefix, prev_kv=prev_kv)
        return to_delete(await self._wire.call(request, timeout=timeout, retry=retry))

    def txn(self) -> Txn:
        """A transaction, to be filled and committed."""
        return Txn(self._wire)

    async def compact(self, revision: int, *, physical: bool = False, timeout: float | None = None) -> Header:
        """Forget what was before `revision`; with `physical`, return when the room is free. Raises EtcdError."""
        request = pb.CompactionRequest(revision=revision, physical=physical)
        return to_header((await self._wire.call(request, timeout=timeout)).header)

    @translated
    async def scan(
        self,
        key: Key,
        range_end: Key | None = None,
        *,
        prefix: bool = False,
        revision: int = 0,
        serializable: bool = False,
        keys_only: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[KeyValue]:
        """Keys as in `get`, one by one and all of one revision, however many there are. RangeStream of etcd 3.7.

        Raises EtcdError, CallError UNIMPLEMENTED from an older member.
        """
        request = ops.get(
            key, range_end, prefix=prefix, revision=revision, serializable=serializable, keys_only=keys_only
        )
        async with aclosing(self._scan(request, timeout)) as parts:
            async for kvs in parts:
                for kv in kvs:
                    yield kv

    async def _scan(self, request: Any, timeout: float | None) -> AsyncGenerator[tuple[KeyValue, ...], None]:
        """As they come, many at a time."""
        _, stream = await self._wire.stream(RANGE_STREAM, timeout=timeout)
        stream.send(request.SerializeToString())
        stream.half_close()
        try:
            while (message := await stream.receive()) is not None:
                yield to_kvs(pb.RangeStreamResponse.FromString(message).range_response.kvs)
        except Status as status:
            raise error_of(status) from None
        finally:
            stream.cancel()

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
        return Watch(
            self._wire,
            key,
            range_end,
            prefix=prefix,
            start_revision=start_revision,
            prev_kv=prev_kv,
            without=without,
            progress_seconds=progress_seconds,
        )

    # Leases.

    async def grant(self, ttl: int, lease_id: int = 0, timeout: float | None = None) -> Lease:
        """A lease that ends `ttl` seconds after it was last renewed; the member picks the id if it is 0."""
        answer = await self._wire.call(pb.LeaseGrantRequest(TTL=ttl, ID=lease_id), timeout=timeout)
        return Lease(self._wire, answer.ID, answer.TTL)

    async def revoke(self, lease_id: int, timeout: float | None = None) -> None:
        """End a lease, and with it all keys attached to it. Raises LeaseNotFound."""
        await self._wire.call(pb.LeaseRevokeRequest(ID=lease_id), timeout=timeout)

    async def lease_info(self, lease_id: int, *, keys: bool = False, timeout: float | None = None) -> LeaseInfo:
        """The time left of a lease, and what is attached to it."""
        return await lease_info(self._wire, lease_id, keys=keys, timeout=timeout)

    async def leases(self, timeout: float | None = None) -> list[int]:
        """The ids of all leases."""
        return [lease.ID for lease in (await self._wire.call(pb.LeaseLeasesRequest(), timeout=timeout)).leases]

    def session(self, ttl: int = DEFAULT_TTL, lease_id: int = 0) -> Session:
        """A lease that is kept alive, see Session; `lease_id` names one that exists already."""
        return Session(self._wire, self._keeper, ttl, lease_id)

    # Upkeep.

    async def snapshot(
        self,
        path: str | Path,
        *,
        endpoint: str | None = None,
        on_progress: Callable[[int, int], object] | None = None,
        timeout: float = SNAPSHOT_SECONDS,
    ) -> int:
        """Save the database of one member to a file, its hash checked; its size in bytes. See `snapshot.save`."""
        at = None if endpoint is None else self._wire.end_of(endpoint)
        return await snapshot.save(self._wire, path, at, on_progress, timeout)

    def _dial(self, endpoint: Endpoint) -> Channel:
        limits = ChannelLimits(
            connect_timeout=CONNECT_SECONDS, keepalive_time=PING_SECONDS, keepalive_timeout=PONG_SECONDS
        )
        context = self._context() if endpoint.encrypted else None
        name = self._tls.server_name if self._tls is not None else None
        if endpoint.port:
            return Channel(endpoint.host, endpoint.port, ssl=context, server_name=name, limits=limits)
        socket = unix_socket(endpoint.host, context, name or UNIX_NAME)
        return Channel(endpoint.host, 0, ssl=context, authority=UNIX_NAME, limits=limits, dial=socket)

    def _context(self) -> ssl.SSLContext:
        return (self._tls or Tls()).context()
