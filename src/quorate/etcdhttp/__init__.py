"""What a member answers over plain HTTP: health, version, metrics.

- `client`   paths on the client listeners
- `metrics`  what /metrics shows, read from the server when asked

Knows URL paths and their bodies. Refuses to know sockets (`transport`) and how an answer is found (`server`).
"""

from quorate.etcdhttp.client import ClientHandler
from quorate.etcdhttp.peer import PeerHandler

__all__ = ["ClientHandler", "PeerHandler"]
