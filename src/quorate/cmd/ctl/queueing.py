"""A place in a queue of keys, as etcd's own lock and election have them: `<prefix>/<lease>`, first come first served,
and gone with the lease. `Session` keeps the lease alive.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.failures import ERROR, CallFail, Fail
from quorate.pkg.key_prefix import prefix_end

if TYPE_CHECKING:
    from types import TracebackType

    from quorate.api.plain import Message
    from quorate.cmd.ctl.rpc import Client
    from quorate.cmd.ctl.run import Run

RENEWALS = 3
ASCEND, DESCEND = 1, 2
SORT_BY_CREATION = 2
DELETED = 1


class Session:
    """A lease that lives as long as this does. `lost` is set when it does not."""

    def __init__(self, run: Run, ttl: int) -> None:
        self.client = run.client()
        reply = self.client.call("LeaseGrant", TTL=ttl)
        self.lease: int = reply.ID
        self.lost = threading.Event()
        self._closing = threading.Event()
        self._keeper = run.another_client()
        self._thread = threading.Thread(target=self._keep, args=(reply.TTL,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with contextlib.suppress(Fail):  # else it ends by itself
            self.client.call("LeaseRevoke", ID=self.lease)

    def _keep(self, ttl: int) -> None:
        failures = 0
        while not self._closing.wait(max(ttl / RENEWALS, 0.5)):
            try:
                stream = self._keeper.stream("LeaseKeepAlive", {"ID": self.lease}, last=True)
                reply = stream.receive(self._keeper.timeout)
                stream.cancel()
            except (CallFail, TimeoutError):
                failures += 1
                if failures > RENEWALS:
                    break
                continue
            failures = 0
            if reply is None or reply.TTL <= 0:
                break
        if not self._closing.is_set():
            self.lost.set()


class Place:
    """One key in the queue under `prefix`."""

    def __init__(self, session: Session, name: bytes, value: bytes) -> None:
        self._client = session.client
        self.prefix = name + b"/"
        self.key = self.prefix + b"%x" % session.lease
        not_there = {"key": self.key, "target": 1, "result": 0, "create_revision": 0}
        put = {"key": self.key, "value": value, "lease": session.lease}
        get = {"key": self.key}
        reply = self._client.call(
            "Txn",
            compare=[not_there],
            success=[{"request_put": put}],
            failure=[{"request_range": get}],
        )
        self.header: Message = reply.header
        self.revision: int = reply.header.revision
        if not reply.succeeded:
            self.revision = reply.responses[0].response_range.kvs[0].create_revision

    def wait(self) -> None:
        """Wait until all that came before have gone. Raises Fail."""
        while True:
            reply = self._client.call(
                "Range",
                key=self.prefix,
                range_end=prefix_end(self.prefix),
                limit=1,
                sort_order=DESCEND,
                sort_target=SORT_BY_CREATION,
                max_create_revision=self.revision - 1,
            )
            if not reply.kvs:
                return
            wait_deleted(self._client, reply.kvs[0].key, reply.header.revision)

    def get(self) -> Message:
        """The answer that shows the key. Raises Fail when it has gone."""
        reply = self._client.call("Range", key=self.key)
        if not reply.kvs:
            raise Fail(ERROR, "lock lost on init")
        return reply

    def leave(self) -> None:
        """Let the next one go on."""
        self._client.call("DeleteRange", key=self.key)


def first_of(client: Client, prefix: bytes) -> Message:
    """The answer that shows the key that is served, if there is one."""
    return client.call(
        "Range",
        key=prefix,
        range_end=prefix_end(prefix),
        limit=1,
        sort_order=ASCEND,
        sort_target=SORT_BY_CREATION,
    )


def wait_deleted(client: Client, key: bytes, revision: int) -> None:
    """Wait until a key is deleted after a revision. Raises CallFail."""
    for event in follow(client, {"key": key, "start_revision": revision + 1}):
        if event.type == DELETED:
            return


def follow(client: Client, request: dict[str, Any]) -> Any:
    """The events of a watch, one by one. Raises Fail when it is cancelled."""
    from quorate.cmd.ctl.watching import Watching

    watching = Watching(client)
    watching.add({"start_revision": 0, **request}, [])
    for told in watching.events():
        if told.cancelled:
            raise Fail(ERROR, told.reason)
        yield from told.message.events
