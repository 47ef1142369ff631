"""Log files that are set aside, the journal, and levels of rooms."""

from __future__ import annotations

import gzip
import logging
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quorate.pkg.journal import JournalHandler, encode
from quorate.pkg.loglevels import parse_package_levels
from quorate.pkg.logrotate import (
    DEFAULT_ROTATION,
    MEGABYTE,
    RotatingFileHandler,
    Rotation,
    RotationError,
    backup_name,
    parse_rotation,
    tidy,
)

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("quorate.x", level, "x.py", 1, text, None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "improperly formatted log rotation config: unexpected end of JSON input"),
        ("", "improperly formatted log rotation config: unexpected end of JSON input"),
        ("{]", "improperly formatted log rotation config: "),
        ('{"maxage": true}', "cannot unmarshal bool into Go struct field logRotationConfig.maxage of type int"),
        ('{"compress": 1}', "cannot unmarshal number into Go struct field logRotationConfig.compress of type bool"),
        ("[]", "invalid log rotation config: json: cannot unmarshal array"),
        ('{"maxsize": -1}', "maxsize is negative"),
    ],
)
def test_a_rotation_that_cannot_be_is_refused(text: str, words: str) -> None:
    with pytest.raises(RotationError) as caught:
        parse_rotation(text)
    assert words in str(caught.value)


def test_what_a_rotation_leaves_out_is_the_default() -> None:
    assert parse_rotation(DEFAULT_ROTATION) == Rotation(100, 0, 0, False, False)
    assert parse_rotation("{}").max_bytes == 100 * MEGABYTE
    assert parse_rotation('{"maxsize": 3, "other": []}').max_bytes == 3 * MEGABYTE


def test_no_line_is_lost_or_torn_when_files_are_set_aside(tmp_path: Path) -> None:
    handler = RotatingFileHandler(tmp_path / "logs" / "etcd.log", Rotation(maxsize=1))
    lines = [f"{number:06d} " + "x" * 10_000 for number in range(350)]
    for line in lines:
        handler.emit(record(line))
    handler.close()
    files = sorted((tmp_path / "logs").iterdir())
    assert len(files) == 4
    assert all(file.stat().st_size <= MEGABYTE for file in files)
    found = "".join(file.read_text() for file in files[:-1] + [tmp_path / "logs" / "etcd.log"] if file.exists())
    assert sorted(set(found.splitlines())) == lines


def test_a_restart_goes_on_with_the_file(tmp_path: Path) -> None:
    for text in ("one", "two"):
        handler = RotatingFileHandler(tmp_path / "etcd.log", Rotation())
        handler.emit(record(text))
        handler.close()
    assert (tmp_path / "etcd.log").read_text() == "one\ntwo\n"


def test_of_the_files_set_aside_the_newest_stay_and_are_compressed(tmp_path: Path) -> None:
    path = tmp_path / "etcd.log"
    made = []
    for days in (40, 3, 2, 1):
        backup = backup_name(path, NOW - timedelta(days=days))
        backup.write_text(f"{days} days ago")
        made.append(backup)
    foreign = tmp_path / "etcd-notes.log"
    foreign.write_text("not ours")
    tidy(path, Rotation(maxbackups=3, maxage=2, compress=True), NOW)
    left = sorted(tmp_path.iterdir())
    assert left == sorted([foreign, *(made[n].with_name(made[n].name + ".gz") for n in (2, 3))])
    assert gzip.decompress(made[3].with_name(made[3].name + ".gz").read_bytes()) == b"1 days ago"
    tidy(path, Rotation(maxbackups=1), NOW)
    assert len(list(tmp_path.iterdir())) == 2
    assert made[0].name == "etcd-2025-12-22T12-00-00.000.log"


def test_the_journal_gets_a_line_with_its_priority(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        handler = JournalHandler(str(tmp_path / "socket"))
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
            handler.emit(record("text", level))
        handler.emit(record("x" * 5_000_000))
        found = [journal.recv(1 << 20) for _ in range(6)]
        handler.close()
    assert [line.partition(b"PRIORITY=")[2][:1] for line in found[:5]] == [b"7", b"6", b"4", b"3", b"2"]
    assert found[1] == b"MESSAGE=text\nPRIORITY=6\nSYSLOG_IDENTIFIER=etcd\n"
    assert len(found[5]) < 40_000
    assert encode({"A": "x\ny"}) == b"A\n\x03\0\0\0\0\0\0\0x\ny\n"


@pytest.mark.parametrize("text", ["etcdserver", "etcdserver=LOUD", "nobody=DEBUG", "=DEBUG,x"])
def test_levels_that_name_no_room_or_no_level_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"LEVEL|no package"):
        parse_package_levels(text)


def test_an_empty_list_of_levels_is_none() -> None:
    assert parse_package_levels("") == {}
    assert parse_package_levels(" raft=debug, lease=INFO ,") == {"quorate.raft": 10, "quorate.lease": 20}
