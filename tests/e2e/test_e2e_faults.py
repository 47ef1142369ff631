"""A bad disk, judged from outside: a torn or damaged log, a full disk, a failing sync. Nothing acknowledged is lost,
and where a member cannot go on it says why and ends with a status that is not zero."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_rpc import Client, wait_until

from quorate.testing.process import MemberProcess

START = Callable[..., MemberProcess]
SECTOR = 512
VALUE = 3000
WRITES = 60


@dataclass(frozen=True)
class Frame:
    """One record of a log file: where it starts, where its bytes start and where the next one starts."""

    at: int
    data: int
    end: int


def last_segment(member: MemberProcess) -> Path:
    return sorted((member.data_dir / "member" / "wal").glob("*.wal"))[-1]


def frames_of(segment: Path) -> list[Frame]:
    """Walk the frames: 8 bytes little-endian, low 56 bits the length, three bits of padding under the top bit."""
    data = segment.read_bytes()
    found, at = [], 0
    while at + 8 <= len(data):
        field = int.from_bytes(data[at : at + 8], "little")
        if field == 0:
            break
        padding = (field >> 56) & 7 if field >> 63 else 0
        end = at + 8 + (field & ((1 << 56) - 1)) + padding
        found.append(Frame(at, at + 8, end))
        at = end
    return found


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.fixture
def written(start_member: START) -> tuple[MemberProcess, dict[bytes, bytes]]:
    """A member killed after some acknowledged writes, and these writes. The last record is a large one."""
    member = start_member()
    acknowledged = {}
    with Client(member.endpoint) as client:
        for number in range(WRITES):
            key, value = b"k%03d" % number, bytes([65 + number % 26]) * VALUE
            assert client.put(key, value).ok
            acknowledged[key] = value
    member.kill()
    return member, acknowledged


def holds(member: MemberProcess, acknowledged: dict[bytes, bytes]) -> None:
    """The running member has exactly these keys, and takes a new one."""
    with Client(member.endpoint) as client:
        found = {kv.key: kv.value for kv in client.everything().kvs}
        lost = acknowledged.keys() - found.keys()
        assert not lost, f"lost {sorted(lost)[:5]} … of {len(lost)}"
        assert all(found[key] == value for key, value in acknowledged.items())
        assert client.put(b"after", b"x").ok


def refuses(member: MemberProcess, *words: str, timeout: float = 20.0) -> str:
    """It ends by itself with a bad status, and says one of these words without a stack trace."""
    member.spawn()
    return has_ended(member, *words, timeout=timeout)


def has_ended(member: MemberProcess, *words: str, timeout: float = 20.0) -> str:
    try:
        status = member.wait_exit(timeout)
    except subprocess.TimeoutExpired:
        pytest.fail(f"still running after {timeout} s\n{member.log()[-3000:]}")
    log = member.log()
    assert status not in (0, None), f"status {status}\n{log[-3000:]}"
    assert status > 0, f"ended by signal {-status}\n{log[-3000:]}"
    assert any(word.lower() in log.lower() for word in words), f"none of {words} in\n{log[-3000:]}"
    assert "Traceback (most recent call last)" not in log, log[-3000:]
    return log


@pytest.mark.parametrize("sectors", [1, 3])
def test_a_record_of_which_only_the_first_sectors_arrived_is_cut(
    written: tuple[MemberProcess, dict[bytes, bytes]], sectors: int
) -> None:
    member, acknowledged = written
    segment = last_segment(member)
    frames = frames_of(segment)
    whole = max(frames, key=lambda frame: frame.end - frame.at)
    end = frames[-1].end
    torn = segment.read_bytes()[whole.at : whole.end]
    arrived = sectors * SECTOR - end % SECTOR
    overwrite(segment, end, torn[: max(arrived, 8)])
    member.start()
    holds(member, acknowledged)
    member.kill()
    member.start()
    holds(member, acknowledged)


def test_a_record_cut_off_by_the_end_of_the_file_is_cut(written: tuple[MemberProcess, dict[bytes, bytes]]) -> None:
    member, acknowledged = written
    segment = last_segment(member)
    frames = frames_of(segment)
    whole = max(frames, key=lambda frame: frame.end - frame.at)
    torn = segment.read_bytes()[whole.at : whole.at + 700]
    os.truncate(segment, frames[-1].end)
    with segment.open("ab") as file:
        file.write(torn)
    member.start()
    holds(member, acknowledged)


def test_a_log_cut_right_behind_its_last_record_is_whole(written: tuple[MemberProcess, dict[bytes, bytes]]) -> None:
    member, acknowledged = written
    segment = last_segment(member)
    os.truncate(segment, frames_of(segment)[-1].end)
    member.start()
    holds(member, acknowledged)


def test_garbage_behind_the_last_record_loses_nothing(
    written: tuple[MemberProcess, dict[bytes, bytes]], seed: int
) -> None:
    """Either it is cut as torn, or the member refuses and says so; it never starts with less."""
    member, acknowledged = written
    segment = last_segment(member)
    overwrite(segment, frames_of(segment)[-1].end, random.Random(seed).randbytes(4000))
    member.spawn()
    ended = wait_until(lambda: not member.alive() or member.healthy(), 20) and not member.alive()
    if ended:
        has_ended(member, "wal", "crc", "log")
    else:
        member.wait_ready()
        holds(member, acknowledged)


@pytest.mark.parametrize("where", ["middle", "last"])
def test_a_flipped_bit_stops_the_start(written: tuple[MemberProcess, dict[bytes, bytes]], where: str) -> None:
    member, _ = written
    segment = last_segment(member)
    frames = frames_of(segment)
    large = [frame for frame in frames if frame.end - frame.at > VALUE]
    frame = large[len(large) // 2] if where == "middle" else large[-1]
    at = (frame.data + frame.end) // 2
    byte = segment.read_bytes()[at]
    before = sorted(p.name for p in segment.parent.iterdir())
    overwrite(segment, at, bytes([byte ^ 4]))
    refuses(member, "crc")
    assert sorted(p.name for p in segment.parent.iterdir()) == before, "a damaged log is left as it was found"
    overwrite(segment, at, bytes([byte]))
    member.start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 220 MB of its own; needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=220m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.decode()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_full_disk_stops_the_member_and_loses_nothing(
    small_disk: Path, subject_command: tuple[str, ...], tmp_path: Path
) -> None:
    member = MemberProcess(small_disk / "data", command=subject_command, log_path=tmp_path / "full.log")
    acknowledged: dict[bytes, bytes] = {}
    try:
        member.start()
        with Client(member.endpoint) as client:
            _write(client, acknowledged, 50)
            filler = small_disk / "filler"
            _fill(filler)
            _write(client, acknowledged, 3000)
        has_ended(member, "no space left", "ENOSPC", "disk full", "not enough space")
        filler.unlink()
        member.start()
        holds(member, acknowledged)
    finally:
        member.kill()


def _write(client: Client, acknowledged: dict[bytes, bytes], count: int) -> None:
    """Until one is refused."""
    for number in range(count):
        key, value = b"k%05d" % len(acknowledged), b"%d" % number * 10_000
        if not client.put(key, value).ok:
            return
        acknowledged[key] = value


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"\1" * size) == size:
                    pass
            except OSError:
                continue


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes syncs fail, compiled here."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("fault") / "fault.so"
    source = Path(__file__).with_name("e2e_fsync_fault.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


@pytest.mark.parametrize("struck", ["/wal/", "/snap/"])
def test_a_failing_sync_stops_the_member_and_loses_nothing(
    struck: str, fault_library: Path, start_member: START, subject_is_real: bool, tmp_path: Path
) -> None:
    """A write the log could not sync is never acknowledged; asking the kernel again would prove nothing."""
    if subject_is_real:
        pytest.skip("a static binary cannot be given the library")
    trigger = tmp_path / "trigger"
    member = start_member(env={"LD_PRELOAD": str(fault_library), "FSYNC_FAULT": str(trigger)})
    acknowledged: dict[bytes, bytes] = {}
    with Client(member.endpoint) as client:
        _write(client, acknowledged, 50)
        trigger.write_text(struck)
        before = len(acknowledged)
        _write(client, acknowledged, 100_000)
        if struck == "/wal/":
            assert len(acknowledged) == before, "acknowledged without a sync"
    has_ended(member, "input/output error", "EIO", "fsync", "fdatasync", "sync failed")
    trigger.unlink()
    member.start()
    holds(member, acknowledged)


def test_a_damaged_store_is_refused_with_a_reason(
    written: tuple[MemberProcess, dict[bytes, bytes]], subject_is_real: bool
) -> None:
    if subject_is_real:
        pytest.skip("real etcd panics here")
    member, _ = written
    store = member.data_dir / "member" / "snap" / "db"
    file = store / "data.mdb" if store.is_dir() else store
    overwrite(file, 0, b"\xee" * 16384)
    refuses(member, "store", "backend", "database", "lmdb", "mdb")
