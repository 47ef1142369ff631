"""The JSON gateway: every call of the API as a POST of JSON on the client port, under `/v3/`.

    HttpRequest ──► Route ──► message ──► the method that gRPC calls ──► reply ──► JSON

No call goes over a wire of its own: what holds for a gRPC call holds here, for it is the same method.

- `routes`            paths, methods, messages
- `syntax` `decode` `encode`   JSON text, JSON to messages, messages to JSON
- `headers` `status`  what a request says beside its body; what an error looks like
- `unary` `stream`    a call without a connection
- `websocket`         a call over WebSocket
- `handler`           from request to answer

Knows JSON and paths. Refuses to know what a message means, and sockets.

Sources: protobuf's JSON mapping; gRPC-gateway's conventions as etcd's releases show them.
"""

from quorate.etcdhttp.gateway.handler import Gateway, streamed_paths
from quorate.etcdhttp.gateway.routes import is_gateway_path

__all__ = ["Gateway", "is_gateway_path", "streamed_paths"]
