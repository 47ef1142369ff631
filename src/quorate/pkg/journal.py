"""Log lines for systemd's journal, over its socket: one datagram a line, fields as NAME=value.

Source: systemd's native journal protocol.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "etcd"
LONGEST = 32_768
"""Bytes of a message that is cut because the socket did not take it whole."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7


class JournalHandler(logging.Handler):
    """Sends what its formatter makes of a record. Raises OSError where there is no journal."""

    def __init__(self, path: str = SOCKET) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.connect(path)
        except OSError as err:
            self._socket.close()
            raise OSError(err.errno, f"no journal at {path}: {err.strerror}") from None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG)
            fields = {"PRIORITY": str(priority), "SYSLOG_IDENTIFIER": IDENTIFIER}
            try:
                self._socket.send(encode({"MESSAGE": text, **fields}))
            except OSError as err:
                if err.errno != errno.EMSGSIZE:
                    raise
                self._socket.send(encode({"MESSAGE": text[: LONGEST // 4] + " …", **fields}))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def encode(fields: Mapping[str, str]) -> bytes:
    """A datagram; a value of several lines goes with its length before it."""
    parts = []
    for name, text in fields.items():
        value = text.encode("utf-8", "replace")
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)
