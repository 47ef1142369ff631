"""Defragmentation from outside: the file shrinks, requests go on, and kill -9 in the middle of it costs nothing."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e_ctl import Ctl
from e2e_rpc import Client

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import Command, MemberProcess

KEYS = 400
ROUNDS = int(os.environ.get("QUORATE_E2E_KILLS", "6"))


def fragment(client: Client, keys: int = KEYS, size: int = 10_000) -> int:
    """Write, overwrite and compact; the revision."""
    for generation in range(2):
        for number in range(keys):
            assert client.put(b"k%04d" % number, b"%d" % generation * (size if generation == 0 else 10)).ok
    revision = client.everything().header.revision
    assert client.call("Compact", pb.CompactionRequest(revision=revision, physical=True)).ok
    return int(revision)


def size_of(client: Client) -> tuple[int, int]:
    status = client.call("Status", pb.StatusRequest()).message
    return status.dbSize, status.dbSizeInUse


class Writers:
    """Four clients that put, each its own keys; what was acknowledged."""

    def __init__(self, endpoint: str) -> None:
        self.acknowledged: dict[bytes, bytes] = {}
        self.under_way: dict[bytes, bytes] = {}
        self.refused: list[str] = []
        self.longest = 0.0
        self._endpoint = endpoint
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(4)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int) -> None:
        with Client(self._endpoint) as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                key, value = b"w%d/%06d" % (writer, number), b"%d" % number * 50
                self.under_way[key] = value
                answer = client.put(key, value)
                if not answer.ok:
                    self.refused.append(answer.text)
                    return
                self.acknowledged[key] = value


def test_the_file_shrinks_while_puts_are_acknowledged_and_reads_answered(
    subject: MemberProcess, client: Client, subject_is_real: bool
) -> None:
    revision = fragment(client)
    before, _ = size_of(client)
    writers = Writers(subject.endpoint)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: client.call("Defragment", pb.DefragmentRequest()), range(3)))
        assert client.get(b"k0000").message.kvs[0].value == b"1" * 10
    writers.stop()
    assert [answer.ok for answer in answers] == [True] * 3
    assert not writers.refused
    assert writers.acknowledged
    assert client.call("Defragment", pb.DefragmentRequest()).ok
    size, _ = size_of(client)
    assert size < before / 3
    if not subject_is_real:
        assert (subject.data_dir / "member" / "snap" / "db").stat().st_size == size
        log = subject.log_path.read_text()
        assert '"msg":"defragmenting"' in log and '"msg":"finished defragmenting directory"' in log
    found = client.everything()
    assert {kv.key: kv.value for kv in found.kvs if kv.key.startswith(b"w")} == writers.acknowledged
    assert found.header.revision == revision + len(writers.acknowledged)
    subject.kill()
    subject.start()
    with Client(subject.endpoint) as after:
        assert [(kv.key, kv.value, kv.mod_revision) for kv in after.everything().kvs] == [
            (kv.key, kv.value, kv.mod_revision) for kv in found.kvs
        ]


def test_kill_9_in_the_middle_loses_nothing_and_applies_nothing_twice(
    subject: MemberProcess, client: Client, seed: int
) -> None:
    """etcd 14685, 11613."""
    dice = random.Random(seed)
    revision = fragment(client, keys=200)
    puts = 0
    for _ in range(ROUNDS):
        writers = Writers(subject.endpoint)
        stop = threading.Event()

        def defragment(stop: threading.Event = stop) -> None:
            with Client(subject.endpoint) as asking:
                while not stop.is_set():
                    if not asking.call("Defragment", pb.DefragmentRequest()).ok:
                        return

        thread = threading.Thread(target=defragment)
        thread.start()
        stop.wait(dice.uniform(0.05, 0.6))  # a moment to die in, not a condition
        subject.kill()
        stop.set()
        thread.join()
        writers.stop()
        subject.start()
        names = os.listdir(subject.data_dir / "member" / "snap")
        assert "db.tmp" not in names
        with Client(subject.endpoint) as after:
            found = after.everything()
            written = {kv.key: kv for kv in found.kvs if kv.key.startswith(b"w")}
            for key, value in writers.acknowledged.items():
                assert written[key].value == value
            assert set(written) <= set(writers.under_way)
            assert found.header.revision == revision + len(written)
            assert {kv.version for kv in written.values()} <= {1}
            deleted = after.call("DeleteRange", pb.DeleteRangeRequest(key=b"w", range_end=b"x"))
            assert deleted.message.deleted == len(written)
            revision = deleted.message.header.revision
            puts += len(written)
    assert puts > ROUNDS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a log and for a small database, and not for a second one beside them."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=180m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.real
def test_etcdctl_is_told_why_a_member_does_not_defragment(
    small_disk: Path, subject_command: Command, subject_is_real: bool, etcdctl: Path, tmp_path: Path
) -> None:
    if subject_is_real:
        pytest.skip("real etcd fills the disk")
    member = MemberProcess(small_disk / "data", command=subject_command, log_path=tmp_path / "small.log")
    member.start()
    try:
        step = Ctl(etcdctl, member).run("defrag")
        assert step.exit == 1
        assert (
            "Failed to defragment etcd member[CLIENT] (rpc error: code = Unknown desc = cannot defragment "
            in step.errors
        )
        assert "would leave too little of" in step.errors
        with Client(member.endpoint) as client:
            assert client.put(b"a", b"1").ok
    finally:
        member.kill()
