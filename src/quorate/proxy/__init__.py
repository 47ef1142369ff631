"""What stands between clients and members: the gateway (TCP) and the gRPC proxy.

Knows: the calls of the API, their keys and revisions; sockets through `transport`, members through `client`.
Refuses to know: a store, raft, a disk. It holds nothing that is lost with it but what clients ask for again.

- `gateway` carries, `remotes` knows to whom; `addresses` and `discovery` say where they are
- `proxy` puts the gRPC proxy together from `config`; `upstream` calls members; `forward` passes bytes through
- `kv`, `cache` and `leasing`, `watch` and `broadcast`, `keepalive`, `members`: where many calls become one
- `names` is the namespace, `web` the paths of HTTP

How they work together: docs/architecture/6-proxy.md.
"""
