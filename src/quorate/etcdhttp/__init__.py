"""What a member answers over plain HTTP: health, version, metrics, profiles, and the whole API as JSON.

- `client`    paths on the client listeners, and those on the metrics listeners; `access` around the former: origins and
              host names
- `gateway`   the API as JSON
- `health`    /health, /livez, /readyz; `metrics` /metrics, read from the server when asked
- `profiles`  /debug/pprof/; `debug_vars` /debug/vars
- `peer`      paths on the peer listeners

Knows URL paths and their bodies. Refuses to know sockets (`transport`) and how an answer is found (`server`).
"""

from quorate.etcdhttp.access import AccessControl
from quorate.etcdhttp.client import ClientHandler, MetricsHandler
from quorate.etcdhttp.gateway import Gateway, streamed_paths
from quorate.etcdhttp.metrics import Metrics
from quorate.etcdhttp.peer import PeerHandler

__all__ = [
    "AccessControl",
    "ClientHandler",
    "Gateway",
    "Metrics",
    "MetricsHandler",
    "PeerHandler",
    "streamed_paths",
]
