"""A client whose keys all begin with a prefix that nobody sees, as etcd's namespace package has it.

    get("a", "\\0") ──► range "app/a" to before "app0" ──► "app/a", "app/b" ──► "a", "b"

Leases, members, users and the store's revisions are those of everybody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal, cast

from quorate.api.errors import EmptyKey
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.client import Client
from quorate.client.ops import FROM_KEY, Key, key_range, to_bytes
from quorate.client.results import Event, KeyValue
from quorate.client.watch import PROGRESS_SECONDS, Watch
from quorate.client.wire import Wire
from quorate.pkg.key_prefix import prefix_end


class Namespace(Client):
    """A client on top of another one, with all its calls. Close that one; closing this does nothing."""

    def __init__(self, client: Client, prefix: Key) -> None:
        """Raises ValueError for an empty prefix."""
        self.prefix = to_bytes(prefix)
        if not self.prefix:
            raise ValueError("a namespace needs a prefix")
        self._client = client
        self._tls = client._tls
        self._encrypted = client._encrypted
        self._wire = cast(Wire, _Prefixing(client._wire, self.prefix))
        self._keeper = client._keeper
        self.cluster = client.cluster
        self.maintenance = client.maintenance
        self.auth = client.auth

    async def close(self) -> None:
        """Nothing: the connections are those of the client below."""

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
        """As Client's."""
        first, end = inside(self.prefix, *key_range(key, range_end, prefix))
        found = self._client.scan(
            first, end, revision=revision, serializable=serializable, keys_only=keys_only, timeout=timeout
        )
        async for kv in found:
            yield kv._replace(key=kv.key[len(self.prefix) :])

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
        """As Client's. Raises EmptyKey."""
        first, end = inside(self.prefix, *key_range(key, range_end, prefix))
        return _Watch(
            len(self.prefix),
            self._client.watch(
                first,
                end,
                start_revision=start_revision,
                prev_kv=prev_kv,
                without=without,
                progress_seconds=progress_seconds,
            ),
        )


def inside(prefix: bytes, key: bytes, end: bytes) -> tuple[bytes, bytes]:
    """Key and end of a range within the namespace, as they are outside. Raises EmptyKey."""
    if not key:
        raise EmptyKey()
    if end == FROM_KEY:
        return prefix + key, prefix_end(prefix)
    return prefix + key, prefix + end if end else end


class _Watch(Watch):
    """The watch below, its keys cut. Like that one, it is opened once and read by one task at a time."""

    def __init__(self, cut: int, below: Watch) -> None:
        self._cut = cut
        self._below = below
        self._closed = False

    @property
    def revision(self) -> int:
        return self._below.revision

    @property
    def resumes_at(self) -> int:
        return self._below.resumes_at

    async def __aenter__(self) -> Watch:
        await self._below.__aenter__()
        return self

    def _pop(self) -> Event | None:
        event = self._below._pop()
        return None if event is None else self._bare(event)

    async def _advance(self) -> None:
        await self._below._advance()

    async def batch(self) -> list[Event]:
        return [self._bare(event) for event in await self._below.batch()]

    def ask_progress(self) -> None:
        self._below.ask_progress()

    def _bare(self, event: Event) -> Event:
        prev = event.prev_kv
        return Event(
            event.type,
            event.kv._replace(key=event.kv.key[self._cut :]),
            None if prev is None else prev._replace(key=prev.key[self._cut :]),
        )

    async def close(self) -> None:
        self._closed = True
        await self._below.close()


class _Prefixing:
    """The wire below; what goes out gets the prefix, what comes in loses it."""

    def __init__(self, below: Wire, prefix: bytes) -> None:
        self._below = below
        self._names = Names(prefix)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    async def call(self, request: Any, **how: Any) -> Any:
        if self._names.has_keys(request):
            copy = type(request)()
            copy.CopyFrom(request)
            self._names.put_on(copy)
            request = copy
        answer = await self._below.call(request, **how)
        self._names.take_off(answer)
        return answer


class Names:
    """The messages of a namespace, both ways: changed in place."""

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self._cut = len(prefix)

    def has_keys(self, request: Any) -> bool:
        """Whether `put_on` knows where in a request there are keys."""
        return type(request) in self._going_out

    def put_on(self, request: Any) -> None:
        """Give the keys of a request the prefix; one without keys stays as it is. Raises EmptyKey."""
        going_out = self._going_out.get(type(request))
        if going_out is not None:
            going_out(self, request)

    def take_off(self, answer: Any) -> None:
        """Take the prefix from the keys of an answer, and leave out those of others."""
        if isinstance(answer, pb.RangeResponse):
            self.bare(answer.kvs)
        elif isinstance(answer, pb.DeleteRangeResponse):
            self.bare(answer.prev_kvs)
        elif isinstance(answer, pb.PutResponse):
            if answer.HasField("prev_kv"):
                self.bare([answer.prev_kv])
        elif isinstance(answer, pb.TxnResponse):
            for op in answer.responses:
                kind = op.WhichOneof("response")
                if kind is not None:
                    self.take_off(getattr(op, kind))
        elif isinstance(answer, pb.LeaseTimeToLiveResponse):
            own = [key[self._cut :] for key in answer.keys if key.startswith(self.prefix)]
            del answer.keys[:]
            answer.keys.extend(own)

    def bare(self, kvs: Iterable[Any]) -> None:
        """Take the prefix from the keys of these."""
        for kv in kvs:
            kv.key = kv.key[self._cut :]

    def _range(self, request: Any) -> None:
        request.key, request.range_end = inside(self.prefix, request.key, request.range_end)

    def _put(self, request: pb.PutRequest) -> None:
        request.key, _ = inside(self.prefix, request.key, b"")

    def _txn(self, request: pb.TxnRequest) -> None:
        for compare in request.compare:
            self._range(compare)
        for op in (*request.success, *request.failure):
            kind = op.WhichOneof("request")
            if kind is not None:
                inner = getattr(op, kind)
                self._going_out[type(inner)](self, inner)

    _going_out = {  # noqa: RUF012
        pb.RangeRequest: _range,
        pb.DeleteRangeRequest: _range,
        pb.PutRequest: _put,
        pb.TxnRequest: _txn,
    }
