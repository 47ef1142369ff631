"""A data directory that is whole or not there.

It is built under another name, made durable, and then renamed:

    place is free        <data-dir>.unfinished           ──rename──► <data-dir>
    place is empty       <data-dir>/member.unfinished    ──rename──► <data-dir>/member     (it may be a mount point)
    own log directory    <wal-dir>.unfinished/wal        ──rename──► <wal-dir>             last of all

A crash leaves only the unfinished one, or, with a directory for the log, the data without the log: a member refuses to
start on either. Nobody takes an unfinished directory away but who made it: the next run says that it is in the way.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from quorate.server.bootstrap import UNFINISHED
from quorate.server.offline.errors import OfflineError, one_kind
from quorate.storage.files import OS_FILES


class Staged(NamedTuple):
    """Where to build. `snap` exists, `wal` is made by who writes the log."""

    snap: Path
    wal: Path


@contextmanager
def new_directory(data_dir: Path, wal_dir: Path | None = None) -> Iterator[Staged]:
    """Where a member's directory may be built; it gets its name when the block ends well, durably, and is gone when
    not. Files in it are synced by who writes them. Raises OfflineError, also for what the block itself meets on disk.
    """
    with one_kind("write"):
        moves = _moves(data_dir, wal_dir)
        built: list[_Move] = []
        try:
            for move in moves:
                _make(move)
                built.append(move)
            root = built[0].temporary
            member = root if built[0].final.parent == data_dir else root / "member"
            member.mkdir(mode=0o700, exist_ok=True)
            (member / "snap").mkdir(mode=0o700)
            yield Staged(member / "snap", moves[1].temporary if len(moves) > 1 else member / "wal")
            for move in built:
                _sync_tree(move.claim)
            _rename(built)
        finally:
            for move in built:
                shutil.rmtree(move.claim, ignore_errors=True)


class _Move(NamedTuple):
    claim: Path
    """Made first: whose it is nobody else builds there. What it holds in the end is thrown away."""
    temporary: Path
    final: Path


def _moves(data_dir: Path, wal_dir: Path | None) -> list[_Move]:
    """What is to be renamed in the end, in this order. Raises OfflineError."""
    moves = [_data_move(data_dir)]
    if wal_dir is None or wal_dir.resolve() == (data_dir / "member" / "wal").resolve():
        return moves
    if wal_dir.resolve().is_relative_to(data_dir.resolve()):
        raise OfflineError(f'wal-dir "{wal_dir}" lies inside of data-dir "{data_dir}", but is not its member/wal')
    if wal_dir.exists():
        raise OfflineError(f'wal-dir "{wal_dir}" exists')
    claim = Path(f"{wal_dir}{UNFINISHED}")
    return [*moves, _Move(claim, claim / "wal", wal_dir)]


def _data_move(data_dir: Path) -> _Move:
    try:
        names = os.listdir(data_dir)
    except FileNotFoundError:
        claim = Path(f"{data_dir}{UNFINISHED}")
        return _Move(claim, claim, data_dir)
    except OSError:
        names = ["unreadable"]
    member = data_dir / "member"
    if names and names != [f"member{UNFINISHED}"]:
        raise OfflineError(f'data-dir "{data_dir}" not empty or could not be read')
    claim = Path(f"{member}{UNFINISHED}")
    return _Move(claim, claim, member)


def _make(move: _Move) -> None:
    OS_FILES.make_directory(str(move.claim.parent))
    try:
        move.claim.mkdir(mode=0o700)
    except FileExistsError:
        raise OfflineError(
            f"{move.claim} is in the way: another run is at work, or one was cut off; in that case remove it"
        ) from None


def _sync_tree(root: Path) -> None:
    for directory, _, _ in os.walk(root, topdown=False):
        OS_FILES.sync_directory(directory)
    OS_FILES.sync_directory(str(root.parent))


def _rename(moves: list[_Move]) -> None:
    """Rename all or none, each durably before the next."""
    done: list[_Move] = []
    try:
        for move in moves:
            if move.final.is_dir():
                raise OfflineError(f"{move.final} has appeared meanwhile")
            os.rename(move.temporary, move.final)
            done.append(move)
            OS_FILES.sync_directory(str(move.final.parent))
    except BaseException:
        for move in reversed(done):
            with suppress(OSError):
                os.rename(move.final, move.temporary)
        raise
