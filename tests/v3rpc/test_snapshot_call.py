"""The database as a client gets it: whole, in chunks, at the client's pace, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from v3rpc_support import Caller, until

from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as rpc
from quorate.server import snapshots
from quorate.server.snapshot_files import remove_leftovers
from quorate.storage import bbolt, schema
from quorate.storage.files import OsFile
from quorate.transport.grpc import Status
from quorate.transport.grpc.exchange import ClientStream
from quorate.transport.grpc.stream import Stream

CHUNK = 32_768


def ask(caller: Caller) -> ClientStream:
    stream = caller.channel.stream("/etcdserverpb.Maintenance/Snapshot")
    stream.send(rpc.SnapshotRequest().SerializeToString())
    stream.half_close()
    return stream


async def messages(stream: ClientStream) -> list[rpc.SnapshotResponse]:
    async with asyncio.timeout(20):
        return [rpc.SnapshotResponse.FromString(body) async for body in stream]


async def refusal(stream: ClientStream) -> Status:
    with pytest.raises(Status) as caught:
        await messages(stream)
    return caught.value


async def fill(caller: Caller, keys: int = 200, size: int = 5_000) -> None:
    for number in range(keys):
        await caller.call("KV/Put", key=b"k%d" % number, value=bytes(size))


def whole(got: list[rpc.SnapshotResponse]) -> bytes:
    """The file, once everything about the messages has been found right."""
    data = b"".join(message.blob for message in got[:-1])
    assert got[-1].blob == hashlib.sha256(data).digest()
    left = len(data)
    for message in got[:-1]:
        assert len(message.blob) == min(CHUNK, left)
        left -= len(message.blob)
        assert message.remaining_bytes == left
    assert left == got[-1].remaining_bytes == 0
    assert not any(message.HasField("header") for message in got)
    return data


def temporary(caller: Caller) -> list[Path]:
    return list(caller.server.config.snap_dir.glob("tmp.*"))


class Hold:
    """Exports stop when their first bite is taken, until `go` is set."""

    def __init__(self) -> None:
        self.go = False
        self.begun = 0

    def export(self, *arguments: Any) -> Generator[None, None, int]:
        with closing(EXPORT(*arguments)) as job:
            next(job)
            self.begun += 1
            while not self.go:
                yield
            return (yield from job)


EXPORT = snapshots.export


class Broken:
    """An open file; if it is one that is made for a client, one of its methods fails."""

    def __init__(self, file: Any, path: str, method: str) -> None:
        self._file = file
        self._method = method if Path(path).name.startswith("tmp.client.") else ""

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._method else getattr(self._file, name)

    def _fail(self, *_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Hold:
    made = Hold()
    monkeypatch.setattr(snapshots, "export", made.export)
    return made


async def test_the_chunks_are_a_database_with_everything_that_was_acknowledged(caller: Caller, tmp_path: Path) -> None:
    await fill(caller)
    got = await messages(ask(caller))
    assert {message.version for message in got} == {caller.server.storage_version} != {""}
    (tmp_path / "saved").write_bytes(whole(got))
    reader = bbolt.Reader.open(tmp_path / "saved")
    saved = {name: dict(reader.scan(name)) for name in reader.buckets()}
    reader.close()
    await caller.server.committed()
    assert saved == {bucket.name: dict(caller.server.backend.scan(bucket)) for bucket in schema.BUCKETS}
    assert len(saved[b"key"]) == 200
    assert not temporary(caller)


async def test_two_at_once_and_writes_meanwhile(caller: Caller, hold: Hold) -> None:
    await fill(caller)
    asked = [asyncio.ensure_future(messages(ask(caller))) for _ in range(2)]
    await until(lambda: hold.begun == 1)
    await caller.call("KV/Put", key=b"meanwhile", value=b"written")
    hold.go = True
    first, second = (whole(got) for got in await asyncio.gather(*asked))
    assert sorted(b"meanwhile" in data for data in (first, second)) == [False, True], "one is made after the other"
    assert not temporary(caller)


async def test_a_client_that_does_not_read_holds_little_in_memory(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(caller, 100, 100_000)
    pending: list[int] = []

    async def drain(stream: Stream) -> None:
        pending.append(stream.pending)
        await real(stream)

    real = Stream.drain
    monkeypatch.setattr(Stream, "drain", drain)
    stream = ask(caller)
    await until(lambda: bool(pending) and pending[-1] > 2 * CHUNK)
    for _ in range(20):
        await caller.call("KV/Put", key=b"k", value=b"goes on")
    assert len(pending) * CHUNK < 2_000_000, "most of it is still to be read from the file"
    assert len(whole(await messages(stream))) > 10_000_000
    assert max(pending) < 4 * CHUNK + 4 * 1024


async def test_a_client_that_goes_away_leaves_no_file(caller: Caller, hold: Hold, tmp_path: Path) -> None:
    await fill(caller, 50, 100_000)
    stream = ask(caller)
    await until(lambda: hold.begun == 1)
    [path] = temporary(caller)
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / path.name).touch()
    remove_leftovers(tmp_path / "left")
    assert not list((tmp_path / "left").iterdir()), "nor does a member that is killed, once it starts again"
    stream.cancel()
    await until(lambda: not temporary(caller))
    assert not caller.server.snapshots._views
    hold.go = True
    stream = ask(caller)
    await stream.receive()
    assert len(temporary(caller)) == 1, "more is to come than a client takes unasked"
    stream.cancel()
    await until(lambda: not temporary(caller))


async def test_a_member_that_stops_leaves_no_file(caller: Caller, hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.embed.member.DRAIN_GRACE", 0.1)
    await fill(caller)
    server = caller.server
    stream = ask(caller)
    await until(lambda: hold.begun == 1)
    await caller.member.stop()
    await refusal(stream)
    assert not list(server.config.snap_dir.glob("tmp.*"))
    caller.member = type(caller.member)(caller.member.config)
    await caller.member.start()


async def test_rows_replaced_meanwhile_are_told(caller: Caller, hold: Hold) -> None:
    await fill(caller)
    stream = ask(caller)
    await until(lambda: hold.begun == 1)
    caller.server.snapshots.release_views()  # as a leader's snapshot has it done
    told = await refusal(stream)
    assert (told.code, told.message) == (Code.UNAVAILABLE, "the rows were replaced by a snapshot from a leader")
    assert not temporary(caller)
    hold.go = True
    whole(await messages(ask(caller)))


async def test_a_nearly_full_disk_is_not_filled(caller: Caller, hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(caller)
    stream = ask(caller)
    await until(lambda: hold.begun == 1)
    monkeypatch.setattr(snapshots, "SPARE_BYTES", 1 << 60)
    for asked in (stream, ask(caller)):  # while it is made, and before
        told = await refusal(asked)
        assert told.code == Code.UNKNOWN
        assert "would leave too little of" in told.message
    assert not temporary(caller)
    await caller.call("KV/Put", key=b"k", value=b"goes on")


@pytest.mark.parametrize("fails", ["sync", "read"])
async def test_an_error_of_the_disk_fails_the_call_and_not_the_member(
    caller: Caller, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(caller)
    files = caller.server.world.files
    opened = files.open

    with monkeypatch.context() as inner:
        inner.setattr(type(files), "open", lambda _, path, **how: Broken(opened(path, **how), path, fails))
        told = await refusal(ask(caller))
    assert (told.code, told.message) == (Code.UNKNOWN, "cannot make a snapshot: [Errno 5] Input/output error")
    assert not temporary(caller)
    await caller.call("KV/Put", key=b"k", value=b"goes on")
    whole(await messages(ask(caller)))


async def test_letting_go_of_the_file_holds_nobody_up(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is long about it when the file is large: only the last close of a file without a name may wait for it,
    and not on the thread that everybody waits for."""
    await fill(caller)
    closed: list[tuple[bool, int]] = []
    real = OsFile.close

    def close(file: OsFile) -> None:
        if Path(file.path).name.startswith("tmp.client."):
            closed.append((Path(file.path).exists(), threading.get_ident()))
        real(file)

    monkeypatch.setattr(OsFile, "close", close)
    whole(await messages(ask(caller)))
    *others, (named, thread) = closed
    assert others and all(named for named, _ in others)
    assert not named and thread != threading.get_ident()
