"""Log lines as JSON objects, one a line: level, ts, caller, msg, then the fields of the message.

    log = get_log(__name__)
    log.info("opened backend", path=path, took_ms=3.1)

or, for people, with tabs between: time, level, caller, message, fields as JSON.

Field names are written with dashes. Handlers and levels are the standard library's, so that an embedding program can
route these lines wherever its own go; as long as it says nothing, they go nowhere.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quorate.pkg.logrotate import Rotation


ROOT = "quorate"
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_NAMES = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}

DEFAULT, STDERR, STDOUT, JOURNAL = "default", "stderr", "stdout", "systemd/journal"
"""Outputs that are no files; `default` is stderr."""

logging.getLogger(ROOT).addHandler(logging.NullHandler())


class Log:
    """A named log; every method takes the message and its fields."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, msg: str, /, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug(msg, extra={"fields": fields}, stacklevel=2)

    def info(self, msg: str, /, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            self._logger.info(msg, extra={"fields": fields}, stacklevel=2)

    def warn(self, msg: str, /, **fields: object) -> None:
        self._logger.warning(msg, extra={"fields": fields}, stacklevel=2)

    def error(self, msg: str, /, **fields: object) -> None:
        self._logger.error(msg, extra={"fields": fields}, stacklevel=2)

    def fatal(self, msg: str, /, **fields: object) -> None:
        """Log the reason why this process is about to stop; stopping is the caller's."""
        self._logger.critical(msg, extra={"fields": fields}, stacklevel=2)


def get_log(name: str) -> Log:
    return Log(name)


class JsonFormatter(logging.Formatter):
    """Renders a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        level, ts, caller = _heading(record)
        return _json({"level": level, "ts": ts, "caller": caller, "msg": record.getMessage(), **_fields(record)})


class ConsoleFormatter(logging.Formatter):
    """Renders a record as columns: time, level, caller, message, and its fields as JSON if it has any."""

    def format(self, record: logging.LogRecord) -> str:
        level, ts, caller = _heading(record)
        fields = _fields(record)
        stack = str(fields.pop("stacktrace", ""))
        columns = [ts, level, caller, record.getMessage(), *([_json(fields)] if fields else [])]
        return "\t".join(columns) + ("\n" + stack if stack else "")


def _heading(record: logging.LogRecord) -> tuple[str, str, str]:
    """Level, time and caller."""
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    caller = "/".join(Path(record.pathname).parts[-2:])
    return _NAMES.get(record.levelno, record.levelname.lower()), time, f"{caller}:{record.lineno}"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    given: dict[str, object] = getattr(record, "fields", {})
    fields: dict[str, Any] = {name.replace("_", "-"): value for name, value in given.items()}
    if record.exc_info:
        fields["stacktrace"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _json(line: Mapping[str, Any]) -> str:
    return json.dumps(line, default=str, ensure_ascii=False, separators=(",", ":"))


def files(outputs: Sequence[str]) -> list[str]:
    """Those of `outputs` that are paths of files."""
    return [output for output in outputs if output not in (DEFAULT, STDERR, STDOUT, JOURNAL)]


def configure(
    level: str,
    outputs: Sequence[str],
    form: str = "json",
    rotation: Rotation | None = None,
    levels: Mapping[str, int] | None = None,
) -> None:
    """Send the lines of all rooms to `outputs`: `default` and `stderr`, `stdout`, `systemd/journal`, or file paths.

    `form` is `json` or `console`; `rotation` is for files; `levels` are those of the standard library, by room, where
    they differ from `level`. Raises ValueError for an unknown level or `default` beside others, OSError for an output
    that cannot be opened.
    """
    if level not in LEVELS:
        raise ValueError(f'unrecognized level: "{level}"')
    if DEFAULT in outputs and len(outputs) > 1:
        raise ValueError('multi logoutput for "default" is not supported yet')
    handlers = [_handler(output, rotation) for output in dict.fromkeys(outputs)]
    root = logging.getLogger(ROOT)
    for old in list(root.handlers):
        root.removeHandler(old)
    root.setLevel(LEVELS[level])
    root.propagate = False
    for handler in handlers:
        handler.setFormatter(ConsoleFormatter() if form == "console" else JsonFormatter())
        root.addHandler(handler)
    for room, own in (levels or {}).items():
        logging.getLogger(room).setLevel(own)


def _handler(output: str, rotation: Rotation | None) -> logging.Handler:
    if output in (DEFAULT, STDERR):
        return logging.StreamHandler(sys.stderr)
    if output == STDOUT:
        return logging.StreamHandler(sys.stdout)
    if output == JOURNAL:
        from quorate.pkg.journal import JournalHandler

        return JournalHandler()
    if rotation is not None:
        from quorate.pkg.logrotate import RotatingFileHandler

        return RotatingFileHandler(output, rotation)
    return logging.FileHandler(output)
