"""What a member answers over plain HTTP: health, version, metrics, and the whole API as JSON.

- `client`   paths on the client listeners; `access` around them: origins and host names
- `gateway`  the API as JSON
- `peer`     paths on the peer listeners
- `metrics`  what /metrics shows, read from the server when asked

Knows URL paths and their bodies. Refuses to know sockets (`transport`) and how an answer is found (`server`).
"""

from quorate.etcdhttp.access import AccessControl
from quorate.etcdhttp.client import ClientHandler
from quorate.etcdhttp.gateway import Gateway, streamed_paths
from quorate.etcdhttp.peer import PeerHandler

__all__ = ["AccessControl", "ClientHandler", "Gateway", "PeerHandler", "streamed_paths"]
