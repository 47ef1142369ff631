"""All wires to one member. Which message takes which:

    MsgApp        the msgapp stream, else the message stream, else the pipeline
    others        the message stream, else the pipeline
    MsgSnap       with its database, as a request of its own (`snapshots`)

A `Remote` is a member known only because it asked something: it is answered by the pipeline until it is a peer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from quorate.api.raftpb import Message, MessageType
from quorate.rafthttp.inlet import Inlet
from quorate.rafthttp.link import Link
from quorate.rafthttp.messages import MessageDecoder, MessageEncoder
from quorate.rafthttp.msgapp import MsgAppDecoder, MsgAppEncoder
from quorate.rafthttp.outlet import Outlet
from quorate.rafthttp.pipeline import Pipeline
from quorate.rafthttp.probing import Prober
from quorate.rafthttp.snapshots import post_snapshot
from quorate.rafthttp.streams import MESSAGE, MSGAPP, Blocks
from quorate.transport.body import BodyWriter


class Peer:
    """A member of the cluster."""

    def __init__(self, link: Link, probe_delay: float) -> None:
        self.link = link
        own_id = link.wiring.identity.member_id
        self._pipeline = Pipeline(link)
        self._messages = Outlet(link, MESSAGE, MessageEncoder)
        self._appends = Outlet(link, MSGAPP, MsgAppEncoder)
        self._inlets = (
            Inlet(link, MSGAPP, lambda: MsgAppDecoder(own_id, link.peer_id)),
            Inlet(link, MESSAGE, MessageDecoder),
        )
        self._prober = Prober(link)
        self._posting: set[asyncio.Task[bool]] = set()
        for inlet in self._inlets:
            inlet.start()
        self._prober.start(probe_delay)

    def send(self, messages: Sequence[Message], blocks: Blocks) -> None:
        """Send `messages`; each stream gets one write. Those on one wire arrive in this order, or not at all."""
        appends: list[Message] = []
        general: list[Message] = []
        posts: list[Message] = []
        appending, talking = self._appends.working, self._messages.working
        for message in messages:
            if message.type == MessageType.APP and appending:
                appends.append(message)
            elif talking:
                general.append(message)
            else:
                posts.append(message)
        if appends:
            self._appends.send(appends, blocks)
        if general:
            self._messages.send(general, blocks)
        if posts:
            self._pipeline.send(posts)

    def send_snapshot(self, message: Message, chunks: AsyncIterator[bytes], size: int) -> None:
        """Send a MsgSnap and its database. The host is told how that went, whatever becomes of this link."""
        task = self.link.wiring.spawn(post_snapshot(self.link, message, chunks, size))
        self._posting.add(task)
        task.add_done_callback(self._posted)

    def _posted(self, task: asyncio.Task[bool]) -> None:
        self._posting.discard(task)
        ok = not task.cancelled() and task.exception() is None and task.result()
        self.link.wiring.host.report_snapshot(self.link.peer_id, ok)

    def attach(self, name: str, body: BodyWriter) -> None:
        """The member has asked for the stream `name`: here is its end."""
        (self._appends if name == MSGAPP else self._messages).attach(body)

    def stop(self) -> None:
        """Hang up everywhere."""
        self.link.close()
        self._prober.stop()
        for inlet in self._inlets:
            inlet.stop()
        self._messages.close()
        self._appends.close()
        self._pipeline.stop()
        for task in self._posting:
            task.cancel()


class Remote:
    """A member that is no peer yet."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._pipeline = Pipeline(link)

    def send(self, messages: Sequence[Message], blocks: Blocks) -> None:
        self._pipeline.send(messages)

    def stop(self) -> None:
        self.link.close()
        self._pipeline.stop()
