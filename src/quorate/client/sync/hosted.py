"""A client for threads whose loop somebody else runs: that of a member in this process, say, without a socket."""

from __future__ import annotations

import asyncio
import threading

from quorate.client import client
from quorate.client.sync.client import Client
from quorate.client.sync.portal import Portal


def hosted(inner: client.Client, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> Client:
    """The twin of `inner`, whose calls are made on `loop`, which runs in `thread`."""
    return Client._of(inner, Portal(loop, thread))
