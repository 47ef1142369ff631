"""A client that owns the keys it reads, as etcd's leasing package: what it owns it reads from memory, and linearizably.

    <prefix><key>, on the session's lease     who has this key owns `key`: nobody writes `key` without asking
    <prefix><key> = "REVOKE"                  somebody wants to write: the owner forgets and deletes it

    read    owned: from memory.   Owned by nobody: own it, and read, in one transaction.   Else: ask.
    write   only if all it writes is owned by this client or by nobody; else revoke, wait until it is let go, again

All who write these keys must do so through such a client with the same prefix; an owner who is away is waited for until
its lease ends. Keys that hang on a lease themselves are never owned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, cast

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import ops
from quorate.client.client import Client
from quorate.client.errors import Closed, Compacted, EtcdError
from quorate.client.methods import repeatable
from quorate.client.ops import FROM_KEY, Key, to_bytes
from quorate.client.recipes.place import UNCERTAIN
from quorate.client.recipes.waiting import Deadline, deletion, in_time
from quorate.client.session import Session
from quorate.client.wire import Wire
from quorate.pkg.key_prefix import prefix_end

REVOKE = b"REVOKE"
BACKOFF_SECONDS = 2.0
"""How long a key that somebody wrote, or may have, is not owned again."""
RETRY_PAUSE = 0.2


class Leasing(Client):
    """A client on top of another one, with all its calls; `async with` begins to own. Close that one afterwards.

    Once the session is lost nothing is owned any more: calls go on, but all reads are asked for.
    """

    def __init__(self, client: Client, session: Session, prefix: Key) -> None:
        self._tls = client._tls
        self._encrypted = client._encrypted
        self._owner = _Owner(client, session, to_bytes(prefix))
        self._wire = cast(Wire, self._owner)
        self._keeper = client._keeper
        self.cluster = client.cluster
        self.maintenance = client.maintenance
        self.auth = client.auth

    async def __aenter__(self) -> Leasing:
        """Raises EtcdError."""
        await self._owner.open()
        return self

    async def close(self) -> None:
        """Own nothing any more. What is owned is let go with the session."""
        await self._owner.close()


class _Owned:
    """A key that is owned. While `busy` is held its value may be changing."""

    def __init__(self, revision: int, answer: pb.RangeResponse) -> None:
        self.revision = revision
        """Not before that at which it was owned."""
        self.answer: pb.RangeResponse | None = answer
        """None when it is to be asked for again."""
        self.busy = asyncio.Lock()


class _Owner:
    """The wire below; reads of what is owned never reach it."""

    def __init__(self, client: Client, session: Session, prefix: bytes) -> None:
        self._client = client
        self._below = client._wire
        self._session = session
        self._prefix = prefix
        self._owned: dict[bytes, _Owned] = {}
        self._let_go: dict[bytes, float] = {}
        """Keys that may be owned again at that time of the loop; never, while they are being let go."""
        self._revoked: dict[bytes, int] = {}
        """When that was seen."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = False
        self.backoff = BACKOFF_SECONDS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    async def open(self) -> None:
        revision = await self._catch_up()
        self._open = True
        self._spawn(self._run(revision))

    async def close(self) -> None:
        self._open = False
        self._owned.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def call(self, request: Any, *, timeout: float | None = None, retry: Any = None, at: Any = None) -> Any:
        how = {"timeout": timeout, "retry": retry, "at": at}
        if isinstance(request, pb.RangeRequest) and at is None:
            if request == pb.RangeRequest(key=request.key):
                return await self._read(request, how)
        elif isinstance(request, (pb.PutRequest, pb.DeleteRangeRequest)) or (
            isinstance(request, pb.TxnRequest) and not repeatable(request)
        ):
            seconds = self._below.timeout if timeout is None else timeout
            return await in_time(self._write(request, how), Deadline(seconds))
        return await self._below.call(request, **how)

    # Reading.

    async def _read(self, request: pb.RangeRequest, how: dict[str, Any]) -> Any:
        key = request.key
        owned = self._owned.get(key)
        if owned is not None:
            async with owned.busy:
                if owned.answer is not None and self._owns(key, owned):
                    return owned.answer
                answer = await self._below.call(request, **how)
                if _lasts(answer):
                    owned.answer = answer
                else:
                    self._forget(key)
                return answer
        now = asyncio.get_running_loop().time()
        if not self._open or not self._session.is_valid() or self._let_go.get(key, 0.0) > now:
            return await self._below.call(request, **how)
        return await self._own(request, how)

    async def _own(self, request: pb.RangeRequest, how: dict[str, Any]) -> Any:
        """Read a key, and own it if nobody does."""
        key, mark = request.key, self._prefix + request.key
        free = [ops.create_revision(mark) == 0, ops.lease(key) == 0]
        txn = ops.txn(free, [request, ops.put(mark, lease=self._session.lease)], [request, ops.get(mark)])
        before = self._let_go.get(key)
        try:
            done = await self._below.call(txn, **how)
        except BaseException:
            self._forget(key)  # it may be owned now, and nobody knows
            raise
        answer = done.responses[0].response_range
        answer.header.CopyFrom(done.header)
        mine = done.succeeded
        if not mine:
            marks = done.responses[1].response_range.kvs
            mine = bool(marks) and marks[0].lease == self._session.lease and marks[0].value != REVOKE
        undisturbed = self._let_go.get(key) == before and self._revoked.get(key, 0) <= done.header.revision
        if mine and key not in self._owned:
            if self._open and undisturbed and _lasts(answer):
                self._owned[key] = _Owned(done.header.revision, answer)
            else:
                self._forget(key)
        return answer

    def _owns(self, key: bytes, owned: _Owned) -> bool:
        return self._owned.get(key) is owned and self._session.is_valid()

    # Writing.

    async def _write(self, request: Any, how: dict[str, Any]) -> Any:
        ranges = list(_written(request))
        while True:
            for key, end in ranges:
                if end:
                    for name in [name for name in self._owned if _within(name, key, end)]:
                        self._forget(name)
            names = sorted({key for key, end in ranges if not end})
            held = {name: owned for name in names if (owned := self._owned.get(name)) is not None}
            done = await self._try(self._guarded(request, ranges, held), held, how)
            if done.succeeded:
                return _unwrapped(done)
            for response in done.responses:
                await self._revoke(response.response_range.kvs)

    async def _try(self, guarded: pb.TxnRequest, held: dict[bytes, _Owned], how: dict[str, Any]) -> pb.TxnResponse:
        """Nothing that is held is read meanwhile, and afterwards it is asked for."""
        async with AsyncExitStack() as stack:
            for owned in held.values():
                await stack.enter_async_context(owned.busy)
                owned.answer = None
            try:
                done: pb.TxnResponse = await self._below.call(guarded, **how)
            except BaseException:
                for name in held:
                    self._forget(name)  # it may yet be written, but only if the key that owns is the same then
                raise
            return done

    def _guarded(self, request: Any, ranges: list[tuple[bytes, bytes]], held: dict[bytes, _Owned]) -> pb.TxnRequest:
        """The write, if nobody else owns what it writes; else who does."""
        compares, looks = [], []
        for key, end in ranges:
            mark, marks_end = self._marks(key, end)
            mine = held[key].revision if not end and key in held else 0
            compares.append(ops.create_revision(mark, marks_end) < mine + 1)
            looks.append(ops.get(mark, marks_end))
        return ops.txn(compares, [request], looks)

    def _marks(self, key: bytes, end: bytes) -> tuple[bytes, bytes | None]:
        if not end:
            return self._prefix + key, None
        return self._prefix + key, prefix_end(self._prefix) if end == FROM_KEY else self._prefix + end

    async def _revoke(self, marks: Any) -> None:
        """Have the owners of these let go, and wait until they have."""
        for mark in marks:
            if mark.lease == self._session.lease:
                self._forget(mark.key[len(self._prefix) :])
            same = ops.create_revision(mark.key) == mark.create_revision
            ask = ops.put(mark.key, REVOKE, ignore_lease=True)
            done = await self._client.txn().when(same).then(ask).commit()
            if done:
                await deletion(self._client, mark.key, done.header.revision)

    # Letting go.

    def _forget(self, key: bytes) -> None:
        """Own a key no more, and let others know soon."""
        self._owned.pop(key, None)
        if self._let_go.get(key) != float("inf"):
            self._let_go[key] = float("inf")
            self._spawn(self._release(key))

    async def _release(self, key: bytes) -> None:
        mark = self._prefix + key
        mine = ops.lease(mark) == self._session.lease
        while True:
            try:
                await self._client.txn().when(mine).then(ops.delete(mark)).commit()
                break
            except EtcdError as error:
                if error.code not in UNCERTAIN:
                    break
            await asyncio.sleep(RETRY_PAUSE)
        loop = asyncio.get_running_loop()
        until = self._let_go[key] = loop.time() + self.backoff
        loop.call_later(self.backoff, self._may_own, key, until)

    def _may_own(self, key: bytes, until: float) -> None:
        if self._let_go.get(key) == until:
            del self._let_go[key]
            self._revoked.pop(key, None)

    # The task.

    async def _run(self, revision: int) -> None:
        """Let go of what others want to write, and forget what is not owned any more."""
        while not self._session.lost.is_set():
            try:
                async with self._client.watch(self._prefix, prefix=True, start_revision=revision + 1) as watch:
                    while True:
                        for event in await watch.batch():
                            self._seen(event.key[len(self._prefix) :], event.kv, event.is_delete)
                        revision = watch.revision
            except Closed:
                return
            except Compacted:
                self._owned.clear()
                revision = await self._catch_up()
            except EtcdError:
                self._owned.clear()
                await asyncio.sleep(RETRY_PAUSE)

    def _seen(self, key: bytes, mark: Any, deleted: bool) -> None:
        wanted = mark.value == REVOKE and mark.lease == self._session.lease
        owned = self._owned.get(key)
        if wanted or (deleted and owned is not None and owned.revision < mark.mod_revision):
            self._revoked[key] = mark.mod_revision
            self._forget(key)

    async def _catch_up(self) -> int:
        found = await self._client.get(self._prefix, prefix=True)
        for kv in found:
            self._seen(kv.key[len(self._prefix) :], kv, False)
        return found.header.revision

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _unwrapped(done: pb.TxnResponse) -> Any:
    """The answer to the write alone."""
    response = done.responses[0]
    answer = getattr(response, str(response.WhichOneof("response")))
    answer.header.CopyFrom(done.header)
    return answer


def _lasts(answer: pb.RangeResponse) -> bool:
    """Not so a key that hangs on a lease: that goes without being written."""
    return not answer.kvs or not answer.kvs[0].lease


def _written(request: Any) -> Iterator[tuple[bytes, bytes]]:
    """Key and end of all that a request may write."""
    if isinstance(request, pb.PutRequest):
        yield request.key, b""
    elif isinstance(request, pb.DeleteRangeRequest):
        yield request.key, request.range_end
    elif isinstance(request, pb.TxnRequest):
        for op in (*request.success, *request.failure):
            yield from _written(getattr(op, str(op.WhichOneof("request"))))


def _within(key: bytes, start: bytes, end: bytes) -> bool:
    return key >= start and (end == FROM_KEY or key < end)
