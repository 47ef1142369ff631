"""The receiving end of a stream: who wants messages asks for them, and asks again whenever the stream ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.pkg.jsonlog import get_log
from quorate.rafthttp.errors import Refused, RemoteProtocolError, RemovedFromCluster
from quorate.rafthttp.headers import INCOMPATIBLE_VERSION, is_of_cluster, parse_version, stream_headers
from quorate.rafthttp.limits import REDIAL
from quorate.rafthttp.link import Link
from quorate.rafthttp.streams import Decoder, title_of
from quorate.transport.http1_client import ClientStream, HttpError

log = get_log(__name__)

OLDEST_SERVER = (2, 1)
"""The first release with both kinds of streams."""


class Inlet:
    """The stream of one kind (`name` as in its path) from one member."""

    def __init__(self, link: Link, name: str, decoder: Callable[[], Decoder]) -> None:
        self._link = link
        self._loop = link.wiring.loop
        self._name = name
        self._make_decoder = decoder
        self._heard = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Ask for the stream, for as long as there is somebody to ask."""
        self._task = self._link.wiring.spawn(self._run())

    def stop(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            asked_at = self._loop.time()
            try:
                await self._read()
            except (OSError, HttpError, Refused) as error:
                self._link.refused(error)
            await asyncio.sleep(max(0.0, asked_at + REDIAL - self._loop.time()))

    async def _read(self) -> None:
        """One stream, from the request to its end. Raises OSError, HttpError, Refused when there is none."""
        decoder = self._make_decoder()
        ended: asyncio.Future[Exception | None] = self._loop.create_future()

        def closed(error: Exception | None) -> None:
            if not ended.done():
                ended.set_result(error)

        stream = await self._dial(lambda piece: self._received(decoder, piece), closed)
        try:
            self._heard = self._loop.time()  # the answer: what it took to come is no silence
            log.info("established TCP streaming connection with remote peer", **self._names())
            self._link.up()
            error = await self._end_of(ended)
        finally:
            stream.close()
        if isinstance(error, RemoteProtocolError):
            self._link.counters.received_failures += 1
        if error is not None:
            self._link.down("read", title_of(self._name), error)
        log.warn("lost TCP streaming connection with remote peer", error=str(error or "EOF"), **self._names())

    async def _dial(
        self, received: Callable[[bytes], None], closed: Callable[[Exception | None], None]
    ) -> ClientStream:
        wiring, url = self._link.wiring, self._link.url
        try:
            stream = await wiring.client.stream(
                "GET",
                f"{url}/raft/stream/{self._name}/{wiring.identity.member_id:x}",
                headers=stream_headers(wiring.identity, self._link.peer_id),
                received=received,
                closed=closed,
                timeout=wiring.patience,
            )
            try:
                self._check(stream)
            except Refused:
                stream.close()
                raise
        except (OSError, HttpError, Refused) as error:
            self._link.failed(url)
            self._link.down("dial", title_of(self._name), error)
            raise
        return stream

    def _check(self, stream: ClientStream) -> None:
        """Raises Refused unless this is the stream that was asked for."""
        text = stream.reply.decode("utf-8", "replace").strip()
        if stream.status == 200:
            version = parse_version(stream.header("x-server-version") or "")
            if version is not None and version >= OLDEST_SERVER:
                return
            raise Refused("unsupported stream type")
        if stream.status == 410 and is_of_cluster(self._link.wiring.identity, stream.header("x-etcd-cluster-id")):
            raise RemovedFromCluster
        if stream.status == 404:
            member_id = self._link.wiring.identity.member_id
            raise Refused(f"peer {self._link.peer_id:x} failed to find local node {member_id:x}")
        if stream.status == 412:
            why = "server version incompatibility" if text == INCOMPATIBLE_VERSION else text
            log.warn(f"request sent was ignored by remote peer due to {why}", **self._names())
            raise Refused(text)
        raise Refused(f"unhandled http status {stream.status}")

    def _received(self, decoder: Decoder, piece: bytes) -> None:
        self._heard = self._loop.time()
        self._link.counters.received_bytes += len(piece)
        receive = self._link.wiring.receive
        for message in decoder.feed(piece):
            receive(message)

    async def _end_of(self, ended: asyncio.Future[Exception | None]) -> Exception | None:
        """What the stream ends with; silence ends it too."""
        while True:
            patience = self._link.wiring.read_timeout
            quiet = self._loop.time() - self._heard
            if quiet >= patience:
                return TimeoutError("i/o timeout")
            done, _ = await asyncio.wait([ended], timeout=patience - quiet)
            if done:
                return ended.result()

    def _names(self) -> dict[str, object]:
        return {
            "stream_reader_type": title_of(self._name),
            "local_member_id": f"{self._link.wiring.identity.member_id:x}",
            "remote_peer_id": f"{self._link.peer_id:x}",
        }
