"""One number of a member's metrics."""

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
        text = connection.getresponse().read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return 0.0
    finally:
        connection.close()
    for line in text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    return 0.0
