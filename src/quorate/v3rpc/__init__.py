"""The gRPC services: request in, checks in etcd's order, the server asked, reply out.

- `kv` `watch` `lease` `maintenance` `cluster` `health`   one module a service
- `lock` `election`                                      the same, on top of `mutex`: who is first under a name
- `client_versions`                                      which versions of the API callers speak
- `registry`                                             full method names ──► handlers, and rules for every call

Knows gRPC methods, reply headers and which call needs agreement. Refuses to know how agreement is reached, and HTTP.
"""

from quorate.v3rpc.client_versions import ClientVersions
from quorate.v3rpc.registry import build_methods

__all__ = ["ClientVersions", "build_methods"]
