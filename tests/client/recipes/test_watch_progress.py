"""What a watch makes of progress."""

from __future__ import annotations

import pytest

from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.client import Client, Closed


def put(revision: int) -> pb.WatchResponse:
    kv = kv_pb2.KeyValue(key=b"k", value=b"%d" % revision, mod_revision=revision)
    return pb.WatchResponse(header={"revision": revision}, events=[kv_pb2.Event(kv=kv)])


async def test_events_that_come_behind_the_progress_they_belong_to_are_told_once() -> None:
    """As members before 3.5.8 send them."""
    async with Client("127.0.0.1:1") as client:
        watch = client.watch("k")
        for answer in (
            pb.WatchResponse(header={"revision": 5}, created=True),
            put(6),
            pb.WatchResponse(header={"revision": 9}, watch_id=-1),
            put(8),
            put(8),
            put(10),
        ):
            watch._take(answer)
        assert [event.revision for event in await watch.batch()] == [6, 8, 10]
        assert watch.revision == 10


async def test_a_watch_does_not_begin_behind_events_that_progress_has_overtaken() -> None:
    """The stream may break between the two."""
    async with Client("127.0.0.1:1") as client:
        watch = client.watch("k")
        watch._take(pb.WatchResponse(header={"revision": 5}, created=True))
        watch._take(pb.WatchResponse(header={"revision": 9}, watch_id=-1))
        assert (watch.revision, watch.resumes_at) == (9, 6)
        watch._take(pb.WatchResponse(header={"revision": 12}, watch_id=-1))
        assert (watch.revision, watch.resumes_at) == (12, 10)


async def test_a_batch_is_whole_revisions_or_the_news_that_there_was_nothing(client: Client, prefix: bytes) -> None:
    async with client.watch(prefix, prefix=True) as watch:
        await client.txn().then(*_puts(prefix)).commit()
        assert [event.key for event in await watch.batch()] == [prefix + b"a", prefix + b"b"]
        elsewhere = (await client.put(b"elsewhere", b"x")).header.revision
        watch.ask_progress()
        assert await watch.batch() == []
        assert watch.revision == elsewhere
        await watch.close()
        with pytest.raises(Closed):
            await watch.batch()


def _puts(prefix: bytes) -> list[pb.PutRequest]:
    return [pb.PutRequest(key=prefix + name, value=b"x") for name in (b"a", b"b")]
