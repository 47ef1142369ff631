"""Log lines as JSON objects, one a line: level, ts, caller, msg, then the fields of the message.

    log = get_log(__name__)
    log.info("opened backend", path=path, took_ms=3.1)

Field names are written with dashes. Handlers and levels are the standard library's, so that an embedding program can
route these lines wherever its own go; as long as it says nothing, they go nowhere.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
        caller = "/".join(Path(record.pathname).parts[-2:])
        line: dict[str, Any] = {
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "caller": f"{caller}:{record.lineno}",
            "msg": record.getMessage(),
        }
        fields: dict[str, object] = getattr(record, "fields", {})
        line.update((name.replace("_", "-"), value) for name, value in fields.items())
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False, separators=(",", ":"))


def configure(level: str, outputs: Sequence[str]) -> None:
    """Send the lines of all rooms to `outputs`: `default` and `stderr`, `stdout`, or file paths.

    Raises ValueError for an unknown level or `default` beside others, OSError for a file that cannot be opened.
    """
    if level not in LEVELS:
        raise ValueError(f'unrecognized level: "{level}"')
    if "default" in outputs and len(outputs) > 1:
        raise ValueError('multi logoutput for "default" is not supported yet')
    root = logging.getLogger(ROOT)
    for old in list(root.handlers):
        root.removeHandler(old)
    root.setLevel(LEVELS[level])
    root.propagate = False
    for output in outputs:
        handler = _handler(output)
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)


def _handler(output: str) -> logging.Handler:
    if output in ("default", "stderr"):
        return logging.StreamHandler(sys.stderr)
    if output == "stdout":
        return logging.StreamHandler(sys.stdout)
    return logging.FileHandler(output)
