"""A client's stream of watches on a simulated cluster, with all that it was told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.workload import WATCH
from quorate.transport.grpc import Channel, Status


class Watch:
    """A stream of watches; `answers` are all that came, `ended` why no more do."""

    def __init__(self, channel: Channel) -> None:
        self.answers: list[pb.WatchResponse] = []
        self.ended = ""
        self.reads = asyncio.Event()
        """Cleared, the client takes nothing more from the stream."""
        self.reads.set()
        self._channel = channel
        self._unsent: list[bytes] = []
        self._send: Callable[[bytes], object] = self._unsent.append

    def create(self, **fields: Any) -> None:
        """Ask for one more watch."""
        self._send(pb.WatchRequest(create_request=pb.WatchCreateRequest(**fields)).SerializeToString())

    def ask_progress(self) -> None:
        self._send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()).SerializeToString())

    @property
    def events(self) -> list[tuple[int, bytes, bytes | None]]:
        """(revision, key, value), None for a delete."""
        return [
            (event.kv.mod_revision, event.kv.key, None if event.type == event.DELETE else event.kv.value)
            for answer in self.answers
            for event in answer.events
        ]

    @property
    def revisions(self) -> list[int]:
        return [event[0] for event in self.events]

    @property
    def progress(self) -> list[int]:
        """The revisions of all answers that say nothing but how far things are."""
        return [a.header.revision for a in self.answers if not (a.events or a.created or a.canceled)]

    def check_progress(self) -> None:
        """Nothing comes behind the word that all up to it has come."""
        told = 0
        for answer in self.answers:
            if not (answer.events or answer.created or answer.canceled):
                told = max(told, answer.header.revision)
            assert all(event.kv.mod_revision > told for event in answer.events), (told, answer)

    @property
    def canceled(self) -> list[pb.WatchResponse]:
        return [answer for answer in self.answers if answer.canceled]

    async def run(self) -> None:
        stream = self._channel.stream(WATCH)
        self._send = stream.send
        for message in self._unsent:
            stream.send(message)
        try:
            while (message := await stream.receive()) is not None:
                self.answers.append(pb.WatchResponse.FromString(message))
                await self.reads.wait()
        except Status as status:
            self.ended = str(status)
