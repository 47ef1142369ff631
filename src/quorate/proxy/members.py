"""Who is told to clients as members: the proxies that are registered, or this one.

<resolver prefix>/<address>  =  {"Op":0,"Addr":"...","Metadata":"{\\"name\\":\\"<host name>\\"}"}     on a lease
"""

from __future__ import annotations

import asyncio
import json
import socket

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import Client
from quorate.client.errors import EtcdError
from quorate.client.recipes import Registry, ServiceEndpoint
from quorate.pkg.jsonlog import get_log
from quorate.transport.grpc import Context, Method, Unary

log = get_log(__name__)

MEMBER_LIST = "/etcdserverpb.Cluster/MemberList"
RETRY_SECONDS = 1.0


class Members:
    """With an address to advertise, clients that ask for members are told of proxies. `register` keeps it registered
    under a prefix, as long as this proxy lives and `ttl` seconds longer."""

    def __init__(self, client: Client, address: str) -> None:
        self._client = client
        self._address = address
        self._host = socket.gethostname()
        self._proxies: dict[bytes, ServiceEndpoint] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def methods(self) -> dict[str, Method]:
        """What is served, by path."""
        return {MEMBER_LIST: Unary(pb.MemberListRequest.FromString, self.member_list)}

    def member_list(self, request: pb.MemberListRequest, context: Context) -> bytes:
        proxies = [self._proxies[key] for key in sorted(self._proxies)] or [ServiceEndpoint(self._address)]
        members = [pb.Member(name=_name(proxy.metadata) or self._host, clientURLs=[proxy.addr]) for proxy in proxies]
        return pb.MemberListResponse(members=members).SerializeToString()

    def register(self, prefix: str, ttl: int) -> None:
        """Register, and follow who else is."""
        loop = asyncio.get_running_loop()
        registry = Registry(self._client, prefix.rstrip("/"))
        self._tasks = [
            loop.create_task(self._keep_registered(registry, f"{prefix.rstrip('/')}/{self._address}", ttl)),
            loop.create_task(self._follow(registry)),
        ]

    async def close(self) -> None:
        """Take this proxy off the list, if a member can be reached."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_registered(self, registry: Registry, key: str, ttl: int) -> None:
        own = ServiceEndpoint(self._address, json.dumps({"name": self._host}, separators=(",", ":")))
        while True:
            try:
                async with self._client.session(ttl) as session:
                    await registry.add(key, own, lease=session.lease)
                    log.info("registered", key=key, lease=f"{session.lease:x}", ttl=session.ttl)
                    await session.lost.wait()
            except EtcdError as error:
                log.warn("cannot register", key=key, error=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, registry: Registry) -> None:
        while True:
            try:
                async for updates in registry.watch():
                    for update in updates:
                        if update.endpoint is None:
                            self._proxies.pop(update.key, None)
                        else:
                            self._proxies[update.key] = update.endpoint
            except EtcdError as error:
                log.warn("cannot follow the registered proxies", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)


def _name(metadata: object) -> str:
    """The name in what a proxy says of itself: JSON within JSON."""
    try:
        found = json.loads(metadata) if isinstance(metadata, str) else metadata
    except ValueError:
        return ""
    return str(found.get("name", "")) if isinstance(found, dict) else ""
