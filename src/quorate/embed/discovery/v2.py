"""Discovery by a service that speaks etcd's v2 API: `--discovery URL`, perhaps through `--discovery-proxy`.

GET <url>/_config/size                             {"node": {"value": "3"}}
PUT <url>/<member ID, hex>?prevExist=false value=  name=peerURL,...
GET <url>                                          {"node": {"nodes": [{"key", "value", "createdIndex"}, ...]}}
"""

from __future__ import annotations

import asyncio
import json
import posixpath
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from quorate.embed.discovery.errors import DUPLICATE_ID, DiscoveryError
from quorate.embed.discovery.registry import again, cluster_of, entry, founders, log, parse_size
from quorate.embed.discovery_settings import DiscoverySettings

TIMEOUT = 5.0
"""Seconds for one request."""
LOOK_INTERVAL = 1.0
"""Seconds between two looks at who has come."""
LARGEST_ANSWER = 1 << 20
KEY_NOT_FOUND, NODE_EXISTS = 100, 105
"""Codes of the v2 API."""
CONFIG = "_config"


class ServiceError(Exception):
    """No answer, or none that can be understood."""


async def discover_v2(settings: DiscoverySettings, name: str, urls: list[str], own: str) -> dict[str, list[str]]:
    """Peer URLs by name of all members, once they are all there; `own` is this member's ID. Raises DiscoveryError."""
    service = Service(settings.discovery[0], settings.discovery_proxy)
    size = parse_size(await service.ask(service.value, f"/{CONFIG}/size"))
    found = await service.ask(service.members)
    founders(found, size, own)
    if own in dict(found) or not await service.ask(service.create, f"/{own}", entry(name, urls)):
        log.warn("member has been registered with discovery service", name=name, discovery_url=service.url)
        log.warn("use a new discovery token if the previous bootstrap failed")
        raise DiscoveryError(DUPLICATE_ID)
    while True:
        found = await service.ask(service.members)
        entries = founders(found, size, own)
        if entries is not None:
            log.info("all members of the cluster are there", service=service.url, members=list(entries.values()))
            return cluster_of(entries)
        log.info("waiting for the other members", service=service.url, found=len(found), size=size)
        await asyncio.sleep(LOOK_INTERVAL)


class Service:
    """The token at a discovery service. Each call is made on a thread; raises ServiceError."""

    def __init__(self, url: str, proxy: str) -> None:
        """Raises DiscoveryError."""
        from urllib.request import ProxyHandler, build_opener

        self.url = url.rstrip("/")
        if proxy and urlsplit(proxy).scheme not in ("http", "https"):
            proxy = f"http://{proxy}"
        if proxy and not urlsplit(proxy).hostname:
            raise DiscoveryError(f"invalid discovery proxy: {proxy}")
        self._opener = build_opener(ProxyHandler({"http": proxy, "https": proxy} if proxy else {}))

    async def ask(self, call: Any, *arguments: str) -> Any:
        """What `call` returns, as soon as the service answers."""
        return await again(lambda: asyncio.to_thread(call, *arguments), (ServiceError,), self.url)

    def value(self, path: str) -> str | None:
        """The value at a path; None where there is nothing."""
        code, node = self._exchange("GET", path)
        return None if code == KEY_NOT_FOUND else str(node.get("value", ""))

    def members(self) -> list[tuple[str, str]]:
        """(ID, entry) of those who are there, in the order in which they came."""
        code, node = self._exchange("GET", "")
        if code == KEY_NOT_FOUND:
            raise DiscoveryError("discovery: token not found")
        nodes = [each for each in node.get("nodes") or [] if posixpath.basename(str(each.get("key"))) != CONFIG]
        nodes.sort(key=lambda each: int(each.get("createdIndex", 0)))
        return [(posixpath.basename(str(each["key"])), str(each.get("value", ""))) for each in nodes]

    def create(self, path: str, value: str) -> bool:
        """Whether it was put there; False if there is something already."""
        code, _ = self._exchange("PUT", path + "?prevExist=false", {"value": value})
        return code != NODE_EXISTS

    def _exchange(self, method: str, path: str, form: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """The code of an error, or 0, and the node."""
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import Request

        data = None if form is None else urlencode(form).encode()
        request = Request(self.url + path, data=data, method=method)
        try:
            try:
                with self._opener.open(request, timeout=TIMEOUT) as reply:
                    text = reply.read(LARGEST_ANSWER)
            except HTTPError as err:
                with err:
                    text = err.read(LARGEST_ANSWER)
                if err.code not in (404, 412):
                    raise ServiceError(f"HTTP status {err.code} from {self.url}") from None
            answer = json.loads(text)
            code, node = int(answer.get("errorCode", 0)), answer.get("node") or {}
            if code not in (0, KEY_NOT_FOUND, NODE_EXISTS) or not isinstance(node, dict):
                raise ServiceError(f"{answer.get('message', 'no answer of a discovery service')} ({code})")
        except (OSError, HTTPException, ValueError, TypeError, AttributeError) as err:
            raise ServiceError(str(err) or type(err).__name__) from None
        return code, node
