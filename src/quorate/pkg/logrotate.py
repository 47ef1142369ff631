"""A log file that is set aside when it is full: `--log-rotation-config-json`.

    etcd.log                             written now, at most `maxsize` MB
    etcd-2026-01-31T23-59-59.000.log     set aside at that time; with `compress` a .gz in its place

Of those set aside the newest `maxbackups` stay, and none older than `maxage` days; 0 means no limit. Names and meanings
are those of etcd's.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

DEFAULT_ROTATION = '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}'
DEFAULT_MEGABYTES = 100
"""Where `maxsize` is 0 or left out."""
MEGABYTE = 1 << 20
_STAMP = "%Y-%m-%dT%H-%M-%S.%f"
_GO_KINDS = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


class RotationError(ValueError):
    """A rotation that cannot be read; the text says why, in etcd's words."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is full (MB), and what stays of those set aside (days, files)."""

    maxsize: int = 0
    maxage: int = 0
    maxbackups: int = 0
    localtime: bool = False
    compress: bool = False

    @property
    def max_bytes(self) -> int:
        return (self.maxsize or DEFAULT_MEGABYTES) * MEGABYTE


def parse_rotation(text: str) -> Rotation:
    """The rotation that a JSON object describes; members that are left out are 0 or false. Raises RotationError."""
    try:
        given = json.loads(text)
    except ValueError as err:
        why = "unexpected end of JSON input" if getattr(err, "pos", 0) >= len(text.rstrip()) else str(err)
        raise RotationError(f"improperly formatted log rotation config: {why}") from None
    if not isinstance(given, dict):
        raise RotationError(f"invalid log rotation config: json: cannot unmarshal {_GO_KINDS[type(given)]}")
    found: dict[str, int] = {}
    for field in fields(Rotation):
        value = given.get(field.name)
        wanted = bool if isinstance(field.default, bool) else int
        if value is None:
            continue
        if type(value) is not wanted:
            raise RotationError(
                f"invalid log rotation config: json: cannot unmarshal {_GO_KINDS[type(value)]} into Go struct field "
                f"logRotationConfig.{field.name} of type {wanted.__name__}"
            )
        if value < 0:
            raise RotationError(f"invalid log rotation config: {field.name} is negative")
        found[field.name] = value
    return Rotation(**found)  # type: ignore[arg-type]  # each is of its field's type


class RotatingFileHandler(logging.Handler):
    """Appends lines to `path`; who logs never waits for more than the renaming of a file."""

    def __init__(self, path: str | Path, rotation: Rotation) -> None:
        """Raises OSError."""
        super().__init__()
        self._path = Path(path)
        self._rotation = rotation
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()
        self._size = os.fstat(self._file).st_size
        self._tidying: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = (self.format(record) + "\n").encode("utf-8", "replace")
            if self._size and self._size + len(line) > self._rotation.max_bytes:
                self._rotate()
            self._size += os.write(self._file, line)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Wait for what is done with files set aside, and close the file."""
        with self.lock or threading.Lock():
            if self._tidying is not None:
                self._tidying.join()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
        super().close()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _rotate(self) -> None:
        now = datetime.now() if self._rotation.localtime else datetime.now(UTC)
        self._path.rename(backup_name(self._path, now))
        os.close(self._file)
        self._file, self._size = self._open(), 0
        if self._tidying is None or not self._tidying.is_alive():
            self._tidying = threading.Thread(target=self._tidy, name="quorate-log-files", daemon=True)
            self._tidying.start()

    def _tidy(self) -> None:
        with suppress(OSError):
            tidy(self._path, self._rotation, datetime.now(UTC))


def backup_name(path: Path, now: datetime) -> Path:
    """What the file at `path` is called once it is set aside; a name that nothing has."""
    while True:
        name = path.with_name(f"{path.stem}-{now.strftime(_STAMP)[:-3]}{path.suffix}")
        if not name.exists() and not _compressed(name).exists():
            return name
        now += timedelta(milliseconds=1)


def tidy(path: Path, rotation: Rotation, now: datetime) -> None:
    """Remove files set aside that are too many or too old, compress the others if that is wanted. Raises OSError."""
    backups = sorted(_backups(path), reverse=True)
    for place, (made, backup) in enumerate(backups):
        too_many = rotation.maxbackups and place >= rotation.maxbackups
        if too_many or (rotation.maxage and now.replace(tzinfo=None) - made > timedelta(days=rotation.maxage)):
            backup.unlink()
        elif rotation.compress and backup.suffix != ".gz":
            _compress(backup)


def _backups(path: Path) -> list[tuple[datetime, Path]]:
    """Files set aside, with the time that each has in its name."""
    found = []
    for backup in path.parent.iterdir():
        name = backup.name.removesuffix(".gz")
        if name.startswith(path.stem + "-") and name.endswith(path.suffix):
            stamp = name[len(path.stem) + 1 : len(name) - len(path.suffix)]
            with suppress(ValueError):
                found.append((datetime.strptime(stamp, _STAMP), backup))
    return found


def _compressed(path: Path) -> Path:
    return path.with_name(path.name + ".gz")


def _compress(path: Path) -> None:
    """A crash leaves the file as it was, and perhaps a part of a compressed one that the next run writes anew."""
    import gzip

    part = path.with_name(path.name + ".part")
    with path.open("rb") as source, gzip.open(part, "wb") as target:
        shutil.copyfileobj(source, target)
    part.chmod(0o600)
    part.rename(_compressed(path))
    path.unlink()
