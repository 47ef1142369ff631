"""Damaged logs: a torn tail is cut off, everything else stops the reader, and nothing is ever invented."""

import shutil
from pathlib import Path

import pytest

from quorate.api.pb import wal_pb2
from quorate.api.raftpb import ConfState, Entry, HardState
from quorate.storage.files import OsFiles
from quorate.storage.wal import (
    WAL,
    CrcMismatch,
    FileMissing,
    Malformed,
    MetadataConflict,
    OutOfRange,
    SnapshotMismatch,
    UnexpectedEof,
    WalError,
    WalSnapshot,
    read_only,
    repair,
    valid_snapshots,
)
from quorate.storage.wal.record import SECTOR_BYTES, Encoder, _framed

FILES = OsFiles()
START = WalSnapshot()
SMALL = 16384
FIRST = "0000000000000000-0000000000000000.wal"


def run(first: int, last: int, size: int) -> list[Entry]:
    return [Entry(1, index, bytes([index % 255 + 1]) * size) for index in range(first, last + 1)]


def log_of(directory: Path, batches: list[list[Entry]]) -> list[int]:
    """A closed log of `batches`; the offset in its only segment behind each."""
    wal = WAL.create(FILES, str(directory), b"member", segment_bytes=SMALL)
    ends = [wal.encoder.offset]
    for batch in batches:
        wal.save(None, batch)
        ends.append(wal.encoder.offset)
    wal.close()
    return ends


def repaired(directory: Path) -> list[Entry]:
    """Read as a starting member does: repair once, then read again."""
    try:
        wal, contents = WAL.open(FILES, str(directory), START, segment_bytes=SMALL)
    except UnexpectedEof:
        assert repair(FILES, str(directory))
        wal, contents = WAL.open(FILES, str(directory), START, segment_bytes=SMALL)
    wal.close()
    return contents.entries


def test_a_tail_cut_at_any_byte_loses_nothing_before_it(tmp_path: Path) -> None:
    entries = run(1, 4, 280)
    ends = log_of(tmp_path / "wal", [[entry] for entry in entries])
    path = tmp_path / "wal" / FIRST
    whole = path.read_bytes()
    for cut in range(ends[2], ends[4] + 1):
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends[1:])
        assert read_only(FILES, str(tmp_path / "wal"), START).entries == entries[:kept]
        with_end_at_border = cut in ends
        if not with_end_at_border:
            with pytest.raises(UnexpectedEof, match=f"{FIRST}, offset {ends[kept]}: "):
                WAL.open(FILES, str(tmp_path / "wal"), START, segment_bytes=SMALL)
        assert repaired(tmp_path / "wal") == entries[:kept]


def test_any_sectors_of_the_last_record_may_be_missing(tmp_path: Path) -> None:
    entries = run(1, 3, 1800)
    ends = log_of(tmp_path / "wal", [[entry] for entry in entries])
    path = tmp_path / "wal" / FIRST
    whole = path.read_bytes()
    sectors = range(ends[2] // SECTOR_BYTES + 1, (ends[3] - 1) // SECTOR_BYTES + 1)
    assert len(sectors) >= 3
    for missing in range(1, 1 << len(sectors)):
        torn = bytearray(whole)
        for bit, sector in enumerate(sectors):
            if missing >> bit & 1:
                torn[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = bytes(SECTOR_BYTES)
        path.write_bytes(torn)
        assert repaired(tmp_path / "wal") == entries[:2]


def test_zeros_from_any_byte_on_never_invent_a_record(tmp_path: Path) -> None:
    entries = run(1, 3, 600)
    ends = log_of(tmp_path / "wal", [[entry] for entry in entries])
    path = tmp_path / "wal" / FIRST
    whole = path.read_bytes()
    for cut in range(ends[2], ends[3] + 1):
        path.write_bytes(whole[:cut] + bytes(len(whole) - cut))
        kept = 3 if cut > ends[3] - 8 and not any(whole[cut : ends[3]]) else 2
        try:
            assert read_only(FILES, str(tmp_path / "wal"), START).entries == entries[:kept]
        except CrcMismatch:
            assert cut % SECTOR_BYTES, "a disk tears at sectors"


def test_repair_keeps_the_torn_segment_and_is_done_once(tmp_path: Path) -> None:
    ends = log_of(tmp_path / "wal", [run(1, 2, 300)])
    path = tmp_path / "wal" / FIRST
    torn = path.read_bytes()[: ends[1] - 1] + b""
    path.write_bytes(torn)
    assert repair(FILES, str(tmp_path / "wal"))
    assert (tmp_path / "wal" / (FIRST + ".broken")).read_bytes() == torn
    assert path.stat().st_size < len(torn)
    assert not repair(FILES, str(tmp_path / "wal"))
    assert repaired(tmp_path / "wal") == run(1, 1, 300)


def test_a_log_is_written_on_behind_a_repair(tmp_path: Path) -> None:
    ends = log_of(tmp_path / "wal", [run(1, 2, 300), run(3, 3, 2000)])
    path = tmp_path / "wal" / FIRST
    torn = bytearray(path.read_bytes())
    torn[ends[1] + 600 : ends[1] + 1700] = bytes(1100)
    path.write_bytes(torn)
    assert repaired(tmp_path / "wal") == run(1, 2, 300)
    wal, _ = WAL.open(FILES, str(tmp_path / "wal"), START, segment_bytes=SMALL)
    wal.save(HardState(1, 1, 2), run(3, 4, 10))
    wal.close()
    assert repaired(tmp_path / "wal") == run(1, 2, 300) + run(3, 4, 10)


def test_pieces_behind_the_end_are_cleared_before_anything_is_written(tmp_path: Path) -> None:
    ends = log_of(tmp_path / "wal", [run(1, 2, 300), run(3, 3, 2000)])
    path = tmp_path / "wal" / FIRST
    torn = bytearray(path.read_bytes())
    torn[ends[1] : ends[1] + 600] = bytes(600)  # the write's first sectors are missing, later ones are there
    path.write_bytes(torn)
    wal, contents = WAL.open(FILES, str(tmp_path / "wal"), START, segment_bytes=SMALL)
    assert contents.entries == run(1, 2, 300)
    assert not any(path.read_bytes()[ends[1] :])
    assert path.stat().st_size == SMALL
    wal.close()


def test_a_flipped_bit_is_a_hard_error(tmp_path: Path) -> None:
    ends = log_of(tmp_path / "wal", [run(1, 2, 40), run(3, 3, 40)])
    path = tmp_path / "wal" / FIRST
    whole = path.read_bytes()
    found: set[type] = set()
    for offset in range(ends[1]):
        for bit in (0, 3, 7):
            flipped = bytearray(whole)
            flipped[offset] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                contents = read_only(FILES, str(tmp_path / "wal"), START)
            except WalError as error:
                found.add(type(error))
                continue
            # Only bits that carry nothing pass, or a length that now claims to reach beyond the file.
            assert contents.entries == run(1, 3, 40)[: len(contents.entries)]
            if len(contents.entries) < 3:
                with pytest.raises(UnexpectedEof):
                    WAL.open(FILES, str(tmp_path / "wal"), START, segment_bytes=SMALL)
    assert CrcMismatch in found


def test_the_text_of_a_damage_names_file_offset_and_way_out(tmp_path: Path) -> None:
    ends = log_of(tmp_path / "wal", [run(1, 2, 400), run(3, 3, 40)])
    path = tmp_path / "wal" / FIRST
    flipped = bytearray(path.read_bytes())
    flipped[ends[0] + 100] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(CrcMismatch) as caught:
        repaired(tmp_path / "wal")
    assert str(path) in str(caught.value)
    assert f"offset {ends[0]}: checksum is" in str(caught.value)
    assert "restore the member" in str(caught.value)
    assert caught.value.offset == ends[0]
    with pytest.raises(CrcMismatch):
        repair(FILES, str(tmp_path / "wal"))
    assert path.read_bytes() == flipped
    with pytest.raises(CrcMismatch):
        valid_snapshots(FILES, str(tmp_path / "wal"))


def long_log(directory: Path) -> list[Path]:
    wal = WAL.create(FILES, str(directory), b"member", segment_bytes=4096)
    for index in range(1, 21):
        wal.save(HardState(1, 1, index), run(index, index, 1000))
    wal.close()
    return sorted(directory.glob("*.wal"))


def test_a_torn_record_is_only_forgiven_in_the_last_segment(tmp_path: Path) -> None:
    paths = long_log(tmp_path / "wal")
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[:-9])
    for read in (read_only, lambda f, d, at: WAL.open(f, d, at, segment_bytes=4096)):
        with pytest.raises(Malformed, match=f"{paths[1].name}, offset [0-9]+: the file ends"):
            read(FILES, str(tmp_path / "wal"), START)
    torn = bytearray(whole)
    torn[1024:2048] = bytes(1024)
    paths[1].write_bytes(torn)
    with pytest.raises(CrcMismatch, match=paths[1].name):
        read_only(FILES, str(tmp_path / "wal"), START)


def test_records_missing_between_segments_are_noticed(tmp_path: Path) -> None:
    paths = long_log(tmp_path / "wal")
    whole = paths[1].read_bytes()
    for end in range(8, len(whole), 8):
        paths[1].write_bytes(whole[:end])
        with pytest.raises((CrcMismatch, Malformed)):
            read_only(FILES, str(tmp_path / "wal"), START)


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    paths = long_log(tmp_path / "wal")
    shutil.move(paths[1], tmp_path / "away")
    gap = f"{paths[0].name} is followed by {paths[2].name}.*0000000000000001"
    with pytest.raises(FileMissing, match=gap):
        read_only(FILES, str(tmp_path / "wal"), START)
    with pytest.raises(FileMissing, match=gap):
        valid_snapshots(FILES, str(tmp_path / "wal"))
    with pytest.raises(FileMissing, match="no segment"):
        read_only(FILES, str(tmp_path / "none"), START)


def test_other_files_in_the_directory_are_ignored(tmp_path: Path) -> None:
    paths = long_log(tmp_path / "wal")
    for name in ("1.tmp", paths[0].name + ".broken", "notes.wal", "lost+found"):
        (tmp_path / "wal" / name).write_bytes(b"something else")
    assert read_only(FILES, str(tmp_path / "wal"), START).entries == run(1, 20, 1000)


def test_segments_of_two_members_do_not_mix(tmp_path: Path) -> None:
    paths = long_log(tmp_path / "wal")
    encoder = Encoder(b"another", segment_bytes=4096)
    wal, _ = WAL.open(FILES, str(tmp_path / "wal"), START, segment_bytes=4096)
    wal.encoder.metadata = encoder.metadata
    for index in range(21, 31):
        wal.save(None, run(index, index, 1000))
    wal.close()
    assert len(list((tmp_path / "wal").glob("*.wal"))) > len(paths)
    with pytest.raises(MetadataConflict, match="another member"):
        read_only(FILES, str(tmp_path / "wal"), START)


def written(directory: Path, frames: bytes) -> None:
    log_of(directory, [])
    with (directory / FIRST).open("r+b") as file:
        end = len(Encoder(b"member").begin())
        file.seek(end)
        file.write(frames)


def after_head() -> Encoder:
    encoder = Encoder(b"member")
    encoder.begin()
    return encoder


def test_a_gap_between_entries_is_an_error(tmp_path: Path) -> None:
    written(tmp_path / "wal", after_head().encode(None, [*run(1, 2, 9), *run(4, 4, 9)]).data)
    with pytest.raises(OutOfRange, match="entry 4 follows, where 3 is the next"):
        read_only(FILES, str(tmp_path / "wal"), START)


def test_a_snapshot_of_another_term_is_an_error(tmp_path: Path) -> None:
    encoder = after_head()
    frames = encoder.encode(HardState(2, 1, 2), run(1, 2, 9)).data
    written(tmp_path / "wal", frames + encoder.encode(None, (), WalSnapshot(2, 1, ConfState((1,)))).data)
    assert read_only(FILES, str(tmp_path / "wal"), WalSnapshot(2, 1)).entries == []
    with pytest.raises(SnapshotMismatch, match="index 2 has term 1 here, but 2 elsewhere"):
        read_only(FILES, str(tmp_path / "wal"), WalSnapshot(2, 2))


@pytest.mark.parametrize(("kind", "data"), [(9, b""), (2, b"\xff"), (3, b"\xff"), (5, b"\x08")])
def test_a_record_that_makes_no_sense_is_an_error(tmp_path: Path, kind: int, data: bytes) -> None:
    written(tmp_path / "wal", after_head()._frame(kind, data))
    with pytest.raises(Malformed, match=FIRST):
        read_only(FILES, str(tmp_path / "wal"), START)


def test_bytes_that_are_no_record_are_an_error(tmp_path: Path) -> None:
    written(tmp_path / "wal", _framed(b"\xff" * 40))
    with pytest.raises(Malformed, match="not a record"):
        read_only(FILES, str(tmp_path / "wal"), START)


def test_a_record_without_fields_in_order_is_still_read(tmp_path: Path) -> None:
    """Readers depend on no order of fields, and absent ones count as zero."""
    crc = after_head().crc
    record = wal_pb2.Record(type=3, crc=0, data=b"").SerializeToString()
    assert record.startswith(b"\x08\x03")
    varint = bytes((crc & 0x7F | 0x80, crc >> 7 & 0x7F | 0x80, crc >> 14 & 0x7F | 0x80, crc >> 21 & 0x7F | 0x80))
    written(tmp_path / "wal", _framed(b"\x10" + varint + bytes((crc >> 28,)) + b"\x08\x03"))
    assert read_only(FILES, str(tmp_path / "wal"), START).hard_state == HardState()


def test_an_empty_segment_is_an_error(tmp_path: Path) -> None:
    log_of(tmp_path / "wal", [])
    (tmp_path / "wal" / FIRST).write_bytes(bytes(SMALL))
    with pytest.raises(WalError):
        read_only(FILES, str(tmp_path / "wal"), START)
