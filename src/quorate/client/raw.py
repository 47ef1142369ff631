"""For who stands between others and the members, and has messages to send as they are."""

from __future__ import annotations

from quorate.client.client import Client
from quorate.client.wire import Wire


def wire_of(client: Client) -> Wire:
    """What the calls of a client go through, whichever kind it is."""
    return client._wire
