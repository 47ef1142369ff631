"""A member's metrics, as it serves them to Prometheus."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING

from quorate.cmd.ctl import tls
from quorate.cmd.ctl.endpoints import parse

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Settings

TIMEOUT = 10.0


def read_metric(endpoint: str, settings: Settings, name: str) -> float:
    """The value of a metric without labels; 0 when it cannot be had."""
    for line in read_metrics(endpoint, settings).splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    return 0.0


def read_metrics(endpoint: str, settings: Settings) -> str:
    """All metrics as their lines; nothing when they cannot be had."""
    host, port, encrypted = parse(endpoint, settings.encrypted)
    connection: http.client.HTTPConnection
    if not port:
        connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT)
        connection.sock = socket.socket(socket.AF_UNIX)
    elif encrypted:
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=tls.context(settings))
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        if not port:
            connection.sock.settimeout(TIMEOUT)
            connection.sock.connect(host)
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
