"""Raft messages as requests of their own: for members without a stream, and while a stream is down."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from quorate.api.raftpb import Message, encode_message
from quorate.rafthttp.errors import Refused, RemovedFromCluster
from quorate.rafthttp.headers import is_of_cluster, request_headers
from quorate.rafthttp.host import Identity
from quorate.rafthttp.limits import ANSWER_TIMEOUT, PIPELINE_QUEUE, PIPELINE_WORKERS, REFUSAL_LIMIT
from quorate.rafthttp.link import Link
from quorate.transport.http1_client import HttpError, HttpReply


class Pipeline:
    """A few requests at a time to one member. They may overtake each other: raft does not mind."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._queue: deque[Message] = deque()
        self._workers = 0
        self._stopped = False

    def send(self, messages: Sequence[Message]) -> None:
        """Have `messages` sent. What finds no place is dropped, and said to be."""
        room = PIPELINE_QUEUE - len(self._queue)
        taken = messages[:room]
        self._queue.extend(taken)
        if len(messages) > room:
            self._link.full(messages[room:], "pipeline")
        if self._stopped:
            return
        # Those that work already may be stuck with what they have.
        for _ in range(min(PIPELINE_WORKERS - self._workers, len(taken))):
            self._workers += 1
            self._link.wiring.spawn(self._work())

    def stop(self) -> None:
        """Forget what waits. What is on its way may still arrive."""
        self._stopped = True
        self._queue.clear()

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._post(self._queue.popleft())
        finally:
            self._workers -= 1

    async def _post(self, message: Message) -> None:
        link = self._link
        url = link.url
        data = encode_message(message)
        headers = [*request_headers(link.wiring.identity), ("Content-Type", "application/protobuf")]
        try:
            reply = await link.wiring.client.request(
                "POST", f"{url}/raft", headers=headers, body=data, timeout=ANSWER_TIMEOUT, body_limit=REFUSAL_LIMIT
            )
            check_taken(link.wiring.identity, reply)
        except (OSError, HttpError, Refused) as error:
            link.failed(url)
            link.down("write", "pipeline", error)
            link.dropped([message])
            link.refused(error)
            return
        link.counters.sent_bytes += len(data)
        link.up()


def check_taken(identity: Identity, reply: HttpReply) -> None:
    """Raises Refused unless a member has taken what was sent to it."""
    if reply.status == 204:
        return
    if reply.status == 403 and is_of_cluster(identity, reply.header("x-etcd-cluster-id")):
        raise RemovedFromCluster
    text = reply.body.decode("utf-8", "replace").strip()
    if reply.status == 412:
        raise Refused(text)
    raise Refused(f"unexpected http status {reply.status}: {text}")
