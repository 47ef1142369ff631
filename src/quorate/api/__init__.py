"""Messages, errors and names on the wire: what every other room may import, importing none of them.

- `pb`      protobuf modules for everything that crosses a wire or rests in a file
- `raftpb`  plain values for raft entries, states and messages, and their codecs
- `errors`  every error a client can see: gRPC code and exact text
- `encode`  hand-written encoders for the hottest replies
- `plain`   messages without the protobuf library, for programs that must start at once
- `internal`  what a normal log entry carries

Refuses to know: sockets, files, time, and what any message is for.
"""
