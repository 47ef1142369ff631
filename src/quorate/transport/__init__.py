"""The wire: everything between a socket and a call.

- `http2`  the HTTP/2 machine, both sides: bytes in, events out
- `grpc`   gRPC over it: servers and channels
- `http1`  HTTP/1.1 on the same ports; `http1_client` calls it, `body` and `chunked` are its bodies that last
- `mux`    which of the two a new connection speaks
- `memory` a connection inside one process, without a socket

Knows frames, metadata, deadlines and status codes. Refuses to know keys, revisions and what any method does.
"""
