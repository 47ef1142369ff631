"""What cannot be done is said in one line, with an exit code, and nothing of it is left."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from utl_support import Saved, done, names, utl

from quorate.api.internal import encode_request
from quorate.api.raftpb import Entry
from quorate.server.bootstrap import boot
from quorate.server.config import ServerConfig
from quorate.server.join import BootstrapError
from quorate.server.world import World
from quorate.storage import bbolt, wal
from quorate.storage.files import OS_FILES
from quorate.testing.process import MemberProcess

Spoil = Callable[[bytes], bytes]


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda data: data[:3000], "snapshot missing hash but --skip-hash-check=false"),
        (lambda data: data[:-4096], "expected sha256 ["),
        (lambda data: data[:-33], "snapshot missing hash but --skip-hash-check=false"),
        (lambda data: b"", "snapshot missing hash but --skip-hash-check=false"),
        (lambda data: flip(data, len(data) // 2), "expected sha256 ["),
        (lambda data: flip(data, len(data) - 1), "expected sha256 ["),
        (lambda data: data[:-32], "snapshot missing hash but --skip-hash-check=false"),
    ],
)
def test_a_file_that_is_not_what_was_saved_is_not_restored(
    spoil: Spoil, text: str, saved: Saved, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.db"
    bad.write_bytes(spoil(saved.path.read_bytes()))
    told = utl("snapshot", "restore", bad, "--data-dir", tmp_path / "new")
    assert told.code == 1 and told.error.startswith(text)
    assert names(tmp_path) == ["bad.db"]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda data: data[:3000], "is cut short"),
        (lambda data: data[:100], "is not a bbolt file: 100 bytes"),
        (lambda data: b"", "is not a bbolt file: 0 bytes"),
        (lambda data: data[:9000], "is cut short: 9000 bytes"),
        (lambda data: b"x" * 10_000, "is not a bbolt file"),
        (lambda data: data[:8192] + bytes(4096) + data[12288:-32], "integrity check failed. "),
        (lambda data: flip(data, len(data) // 2), "expected sha256 ["),
    ],
)
def test_a_damaged_file_is_not_looked_at_either(spoil: Spoil, text: str, ours: Saved, tmp_path: Path) -> None:
    bad = tmp_path / "bad.db"
    bad.write_bytes(spoil(ours.path.read_bytes()))
    for words in (("snapshot", "status", bad), ("hashkv", bad)):
        told = utl(*words)
        assert (told.code, told.out) == (1, "") and text in told.error
    if "sha256" not in text:
        told = utl("snapshot", "restore", bad, "--data-dir", tmp_path / "new", "--skip-hash-check")
        assert told.code == 1 and text in told.error
    assert names(tmp_path) == ["bad.db"]


def test_a_bbolt_file_of_somebody_else_is_told_from_a_snapshot(tmp_path: Path) -> None:
    for _ in bbolt.write(tmp_path / "other.db", [(b"containers", [(b"a", b"b")])]):
        pass
    told = utl("snapshot", "restore", tmp_path / "other.db", "--data-dir", tmp_path / "new", "--skip-hash-check")
    assert told.code == 1 and "not a database of etcd" in told.error
    for _ in bbolt.write(tmp_path / "rows.db", [(b"key", [(b"a", b"b")])]):
        pass
    told = utl("snapshot", "restore", tmp_path / "rows.db", "--data-dir", tmp_path / "new", "--skip-hash-check")
    assert told.code == 1 and "bucket key, row 61 makes no sense" in told.error
    assert names(tmp_path) == ["other.db", "rows.db"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 128, "snapshot restore requires exactly one argument"),
        (["{saved}", "x"], 128, "snapshot restore requires exactly one argument"),
        (["/nosuch"], 1, "open /nosuch: no such file or directory"),
        (["{saved}", "--name=zz"], 1, 'couldn\'t find local name "zz" in the initial cluster configuration'),
        (["{saved}", "--initial-cluster="], 1, 'couldn\'t find local name "default" in the initial cluster'),
        (["{saved}", "--initial-cluster=bogus"], 1, "no valid URLs given"),
        (["{saved}", "--initial-advertise-peer-urls=bogus"], 1, "URL scheme must be http, https, unix, or unixs"),
        (["{saved}", "--initial-advertise-peer-urls=http://a:1"], 1, "--initial-cluster has default=http://localhost"),
        (["{saved}", "--bump-revision=3"], 128, "--mark-compacted required if --revision-bump > 0"),
        (["{saved}", "--mark-compacted"], 128, "--mark-compacted required if --revision-bump > 0"),
        (["{saved}", "--bump-revision=-3"], 1, 'invalid argument "-3" for "--bump-revision" flag'),
        (["{saved}", "--wal-dir={there}"], 1, 'wal-dir "{there}" exists'),
        (["{saved}", "--wal-dir={new}/log"], 1, 'wal-dir "{new}/log" lies inside of data-dir "{new}"'),
        (["{saved}", "--data-dir={full}"], 1, 'data-dir "{full}" not empty or could not be read'),
        (["{saved}", "--data-dir={file}"], 1, 'data-dir "{file}" not empty or could not be read'),
        (["{saved}", "--data-dir={file}/x"], 1, "not empty or could not be read"),
    ],
)
def test_a_restore_that_makes_no_sense_leaves_everything_as_it_was(
    words: list[str], code: int, text: str, ours: Saved, tmp_path: Path
) -> None:
    places = {name: str(tmp_path / name) for name in ("new", "there", "full", "file")} | {"saved": str(ours.path)}
    (tmp_path / "there").mkdir()
    (tmp_path / "full" / "member").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    before = names(tmp_path)
    given = [word.format(**places) for word in words]
    where = [] if any("--data-dir" in word for word in given) else ["--data-dir", places["new"]]
    told = utl("snapshot", "restore", *given, *where)
    assert told.code == code and text.format(**places) in told.error
    assert names(tmp_path) == before


@pytest.mark.parametrize("limit", [20_000, 300_000])
def test_a_full_disk_leaves_nothing(limit: int, ours: Saved, tmp_path: Path) -> None:
    """The first limit is too small for the rows, the second for the log."""
    done("export", ours.member.data_dir, "--data-dir", tmp_path / "etcd")
    before = names(tmp_path)
    for words in (
        ("snapshot", "restore", ours.path, "--data-dir", tmp_path / "new"),
        ("snapshot", "restore", ours.path, "--data-dir", tmp_path / "new", "--wal-dir", tmp_path / "log"),
        ("import", tmp_path / "etcd", "--data-dir", tmp_path / "new"),
        ("export", ours.member.data_dir, "--data-dir", tmp_path / "new"),
        ("backup", "--data-dir", ours.member.data_dir, "--backup-dir", tmp_path / "new"),
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "quorate.cmd.utl", *map(str, words)],
            preexec_fn=lambda: limited(limit),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 1, ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.stderr.splitlines()[-1].startswith("Error: ")
        assert names(tmp_path) == before


def limited(size: int) -> None:
    """No file may become larger; that is an error, and no signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_what_an_earlier_run_left_is_in_the_way_and_nobody_starts_beside_it(ours: Saved, tmp_path: Path) -> None:
    for data_dir, leftover in (("new", "new.unfinished"), ("empty", "empty/member.unfinished")):
        (tmp_path / leftover).mkdir(parents=True)
        told = utl("snapshot", "restore", ours.path, "--data-dir", tmp_path / data_dir)
        assert told.code == 1 and "is in the way" in told.error
        peers = ["http://localhost:2380"]
        config = ServerConfig("default", tmp_path / data_dir, {"default": peers}, ["http://localhost:2379"], peers)
        with pytest.raises(BootstrapError, match="cut off"):
            boot(config, World(), None, print)
    assert names(tmp_path) == ["empty", "empty/member.unfinished", "new.unfinished"]


@pytest.mark.parametrize("command", ["defrag", "migrate", "backup", "export"])
def test_a_member_that_runs_is_left_alone(
    command: str, ours: Saved, tmp_path: Path, running: list[MemberProcess]
) -> None:
    data_dir = tmp_path / "data"
    done("snapshot", "restore", ours.path, "--data-dir", data_dir)
    member = MemberProcess(data_dir, name="default")
    running.append(member)
    member.start()
    words = {
        "defrag": ["--data-dir", data_dir],
        "migrate": ["--data-dir", data_dir, "--target-version=3.6"],
        "backup": ["--data-dir", data_dir, "--backup-dir", tmp_path / "new"],
        "export": [data_dir, "--data-dir", tmp_path / "new"],
    }[command]
    told = utl(command, *words, "--timeout=100ms")
    assert told.code == 1 and "is in use by another process" in told.error
    assert not (tmp_path / "new").exists()
    assert member.alive()


def test_a_directory_of_the_other_kind_is_told_apart(ours: Saved, tmp_path: Path) -> None:
    done("export", ours.member.data_dir, "--data-dir", tmp_path / "etcd")
    told = utl("import", ours.member.data_dir, "--data-dir", tmp_path / "new")
    assert told.code == 1 and "is a data directory of this program already" in told.error
    for words in (
        ("export", tmp_path / "etcd", "--data-dir", tmp_path / "new"),
        ("defrag", "--data-dir", tmp_path / "etcd"),
    ):
        told = utl(*words)
        assert told.code == 1 and "is a bbolt file as etcd writes it" in told.error
    told = utl("import", tmp_path / "nosuch", "--data-dir", tmp_path / "new")
    assert told.code == 1 and "is not the data directory of an etcd" in told.error
    peers = ["http://localhost:2380"]
    config = ServerConfig("default", tmp_path / "etcd", {"default": peers}, ["http://localhost:2379"], peers)
    with pytest.raises(BootstrapError, match="etcdutl import"):
        boot(config, World(), None, print)
    assert "new" not in names(tmp_path)


def test_a_log_that_lost_entries_or_is_damaged_is_not_imported(ours: Saved, tmp_path: Path) -> None:
    source = tmp_path / "etcd"
    done("export", ours.member.data_dir, "--data-dir", source)
    [segment] = (source / "member" / "wal").iterdir()
    whole = segment.read_bytes()
    start = wal.newest_snapshot(OS_FILES, str(segment.parent), 2**63)
    assert start is not None and start.index > 0
    for spoiled, text in (
        (flip(whole, 40), "checksum is"),
        (whole[:32] + bytes(len(whole) - 32), "offset 16: not a record"),
        (b"", "the log"),
    ):
        segment.write_bytes(spoiled)
        told = utl("import", source, "--data-dir", tmp_path / "new")
        assert told.code == 1 and text in told.error, told.err
    segment.unlink()
    told = utl("import", source, "--data-dir", tmp_path / "new")
    assert told.code == 1 and "no segment of a write-ahead log" in told.error
    assert not [name for name in names(tmp_path) if name.startswith("new")]


@pytest.mark.parametrize(("ended_by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_told_to_end_leaves_nothing(ended_by: signal.Signals, code: int, ours: Saved, tmp_path: Path) -> None:
    """In the middle of the rows: the rest of the file is not read yet."""
    script = (
        "import sys, time\nfrom quorate.cmd.utl.main import main\nfrom quorate.server.offline import restore\n"
        "def slowly(rows):\n    print('reading', flush=True)\n    time.sleep(60)\n    yield from rows\n"
        "restore.checked_rows = slowly\nmain()\n"
    )
    words = ["snapshot", "restore", str(ours.path), "--data-dir", str(tmp_path / "new")]
    with subprocess.Popen(
        [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reading\n"
        assert "new.unfinished" in names(tmp_path)
        process.send_signal(ended_by)
        assert process.wait(20) == code
    assert names(tmp_path) == []


def test_a_held_file_is_waited_for(ours: Saved, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    shutil.copytree(ours.member.data_dir, data_dir)
    script = (
        "import sys, time\nfrom quorate.storage import schema\nfrom quorate.storage.backend import Backend\n"
        "backend = Backend.open(sys.argv[1], schema.BUCKETS)\nprint('held', flush=True)\nsys.stdin.read(1)\n"
        "backend.close()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(data_dir / "member" / "snap" / "db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        assert utl("defrag", "--data-dir", data_dir, "--timeout=50ms").code == 1
        holder.stdin.write(b"x")
        holder.stdin.flush()
        told = utl("defrag", "--data-dir", data_dir, "--timeout=0")
        assert told.code == 0, told.err
    assert json.loads(done("hashkv", data_dir / "member" / "snap" / "db", "-w", "json"))["hash"] == ours.picture.hash[0]


@pytest.mark.parametrize(
    ("data", "words", "text"),
    [
        (encode_request("cluster_version_set", b"\n\x053.7.0", 9), ["--target-version=3.5"], "raises the cluster's"),
        (encode_request("cluster_version_set", b"\n\x053.7.0", 9), ["--target-version=3.7"], ""),
        (b"\xff\xff", ["--target-version=3.7"], "cannot be applied here"),
    ],
)
def test_an_entry_that_the_new_member_could_not_apply_is_found_before(
    data: bytes, words: list[str], text: str, ours: Saved, tmp_path: Path
) -> None:
    source = tmp_path / "data"
    shutil.copytree(ours.member.data_dir, source)
    path = str(source / "member" / "wal")
    start = wal.newest_snapshot(OS_FILES, path, 2**63)
    assert start is not None
    opened, contents = wal.WAL.open(OS_FILES, path, start)
    last = contents.entries[-1]
    opened.save(contents.hard_state._replace(commit=last.index + 1), [Entry(last.term, last.index + 1, data)])
    opened.close()
    told = utl("export", source, "--data-dir", tmp_path / "etcd", *words)
    if text:
        assert told.code == 1 and text in told.error and f"entry {last.index + 1}" in told.error
        assert not (tmp_path / "etcd").exists()
    else:
        done("import", tmp_path / "etcd", "--data-dir", tmp_path / "back")


def test_a_member_that_never_had_a_state_has_nothing_to_export(tmp_path: Path) -> None:
    peers = ["http://localhost:2380"]
    config = ServerConfig("default", tmp_path / "data", {"default": peers}, ["http://localhost:2379"], peers)
    booted = boot(config, World(), None, print)
    booted.wal.close()
    booted.backend.close()
    told = utl("export", tmp_path / "data", "--data-dir", tmp_path / "etcd", "--target-version=3.5")
    assert told.code == 1 and "holds no state yet" in told.error
