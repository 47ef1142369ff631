"""Levels of single rooms, as etcd's old logger took them: `etcdserver=DEBUG,raft=WARNING`.

Names of packages of the old logger stand for the rooms that do their work; a room of ours is named as it is
(`storage.wal=DEBUG`), and `*` is everything.
"""

from __future__ import annotations

import logging
from pathlib import Path

ROOT = "quorate"
LEVELS = {
    "CRITICAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "WARN": logging.WARNING,
    "NOTICE": logging.INFO,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": logging.DEBUG,
}
_ROOMS = {
    "*": "",
    "etcdmain": "cmd",
    "etcdserver": "server",
    "etcdserver/membership": "membership",
    "etcdserver/api/v3rpc": "v3rpc",
    "etcdserver/api/etcdhttp": "etcdhttp",
    "api": "v3rpc",
    "compactor": "server.compactor",
    "wal": "storage.wal",
    "snap": "storage.snap",
    "mvcc": "storage.mvcc",
    "mvcc/backend": "storage.backend",
}


def parse_package_levels(text: str) -> dict[str, int]:
    """Levels of the standard library by the logger of a room. Raises ValueError."""
    found: dict[str, int] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        package, _, level = item.partition("=")
        if level.upper() not in LEVELS:
            raise ValueError(f'"{item}" is not package=LEVEL with one of {", ".join(LEVELS)}')
        room = _ROOMS.get(package, package)
        if not _is_room(room):
            raise ValueError(f'no package is called "{package}"')
        found[f"{ROOT}.{room}".rstrip(".")] = LEVELS[level.upper()]
    return found


def _is_room(room: str) -> bool:
    path = Path(__file__).parent.parent.joinpath(*room.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()
