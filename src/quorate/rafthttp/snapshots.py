"""A MsgSnap and the database behind it, as the body of one request.

8 bytes big-endian: size │ raftpb.Message │ database, to the end of the body
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from quorate.api.raftpb import Message
from quorate.pkg.jsonlog import get_log
from quorate.rafthttp.errors import Refused, RemoteProtocolError
from quorate.rafthttp.headers import request_headers
from quorate.rafthttp.limits import REFUSAL_LIMIT, SNAPSHOT_ANSWER_TIMEOUT, SNAPSHOT_MESSAGE_LIMIT
from quorate.rafthttp.link import Link
from quorate.rafthttp.messages import decoded, framed
from quorate.rafthttp.pipeline import check_taken
from quorate.transport.http1_client import HttpError

log = get_log(__name__)


async def post_snapshot(link: Link, message: Message, chunks: AsyncIterator[bytes], size: int) -> bool:
    """Send `message` and the `size` bytes of `chunks`; True when the member has stored them."""
    url = link.url
    snapshot_index = message.snapshot.index if message.snapshot is not None else 0
    started_at = link.wiring.loop.time()
    head = framed(message)
    link.counters.snapshots_leaving += 1
    headers = [*request_headers(link.wiring.identity), ("Content-Type", "application/octet-stream")]
    try:
        reply = await link.wiring.client.request(
            "POST",
            f"{url}/raft/snapshot",
            headers=headers,
            body=_body(head, chunks),
            size=len(head) + size,
            timeout=SNAPSHOT_ANSWER_TIMEOUT,
            body_limit=REFUSAL_LIMIT,
        )
        check_taken(link.wiring.identity, reply)
    except (OSError, HttpError, Refused) as error:
        log.warn(
            "failed to send database snapshot",
            snapshot_index=snapshot_index,
            remote_peer_id=f"{link.peer_id:x}",
            error=str(error) or type(error).__name__,
        )
        link.failed(url)
        link.down("post", "snapshot", error)
        link.lost()
        link.refused(error)
        link.counters.snapshots_failed += 1
        return False
    finally:
        link.counters.snapshots_leaving -= 1
        aclose = getattr(chunks, "aclose", None)
        if aclose is not None:
            await aclose()
    link.counters.snapshots_sent += 1
    link.counters.snapshot_send_seconds.observe(link.wiring.loop.time() - started_at)
    link.counters.sent_bytes += len(head) + size
    link.up()
    log.info(
        "sent database snapshot",
        snapshot_index=snapshot_index,
        remote_peer_id=f"{link.peer_id:x}",
        bytes=size,
        took_seconds=round(link.wiring.loop.time() - started_at, 3),
    )
    return True


async def split_message(chunks: AsyncIterator[bytes]) -> tuple[Message, AsyncIterator[bytes]]:
    """The message at the start of a body, and what follows it. Raises RemoteProtocolError, ConnectionError."""
    data = await _take(chunks, b"", 8)
    size = int.from_bytes(data[:8], "big")
    if size > SNAPSHOT_MESSAGE_LIMIT:
        raise RemoteProtocolError(f"message of {size} bytes, the limit is {SNAPSHOT_MESSAGE_LIMIT}")
    data = await _take(chunks, data[8:], size)
    return decoded(data[:size]), _rest(data[size:], chunks)


async def _take(chunks: AsyncIterator[bytes], data: bytes, size: int) -> bytes:
    """`data` and as many chunks more as it takes to have `size` bytes."""
    pieces, have = [data], len(data)
    while have < size:
        try:
            piece = await anext(chunks)
        except StopAsyncIteration:
            raise RemoteProtocolError("unexpected EOF") from None
        pieces.append(piece)
        have += len(piece)
    return b"".join(pieces)


async def _rest(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in chunks:
        yield chunk


async def _body(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk
