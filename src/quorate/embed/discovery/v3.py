"""Discovery in the keys of another etcd: `--discovery-endpoints` and `--discovery-token`.

/_etcd/registry/<token>/_config/size
/_etcd/registry/<token>/members/<member ID, hex>     in the order of their create revisions
"""

from __future__ import annotations

from quorate.client import Client, EtcdError, Retry, Tls
from quorate.client.endpoints import Endpoint, parse_endpoints
from quorate.embed.discovery.errors import DiscoveryError
from quorate.embed.discovery.registry import again, cluster_of, entry, founders, log, parse_size
from quorate.embed.discovery_settings import DiscoverySettings
from quorate.transport.grpc import Channel, ChannelLimits, unix_socket

ROOT = "/_etcd/registry"
LOCAL = "localhost"
"""As whom an etcd at a Unix socket is addressed."""


async def discover_v3(settings: DiscoverySettings, name: str, urls: list[str], own: str) -> dict[str, list[str]]:
    """Peer URLs by name of all members, once they are all there; `own` is this member's ID. Raises DiscoveryError."""
    place = f"{ROOT}/{settings.discovery_token}"
    where = ",".join(settings.discovery_endpoints)
    async with _client(settings) as client:

        async def size() -> int:
            found = await client.get(f"{place}/_config/size")
            return parse_size(found.kvs[0].value.decode("utf-8", "replace") if found.kvs else None)

        async def members() -> tuple[list[tuple[str, str]], int]:
            found = await client.get(f"{place}/members/", prefix=True)
            ordered = sorted(found.kvs, key=lambda kv: kv.create_revision)
            ids = [(kv.key.decode().rpartition("/")[2], kv.value.decode("utf-8", "replace")) for kv in ordered]
            return ids, found.header.revision

        async def register() -> None:
            await client.put(f"{place}/members/{own}", entry(name, urls))

        wanted = await again(size, (EtcdError,), where)
        found, _ = await again(members, (EtcdError,), where)
        founders(found, wanted, own)
        if own not in dict(found):
            await again(register, (EtcdError,), where)
        while True:
            found, revision = await again(members, (EtcdError,), where)
            entries = founders(found, wanted, own)
            if entries is not None:
                log.info("all members of the cluster are there", service=where, members=list(entries.values()))
                return cluster_of(entries)
            log.info("waiting for the other members", service=where, found=len(found), size=wanted)

            async def change(since: int = revision + 1) -> None:
                async with client.watch(f"{place}/members/", prefix=True, start_revision=since) as watch:
                    await anext(aiter(watch))

            await again(change, (EtcdError,), where)


def _client(settings: DiscoverySettings) -> Client:
    """Raises DiscoveryError."""
    user, colon, password = settings.discovery_user.partition(":")
    password = password if colon else settings.discovery_password
    try:
        parse_endpoints(settings.discovery_endpoints, encrypted=False)
        dial = _Dial(settings)
        return Client(
            settings.discovery_endpoints,
            user=user or None,
            password=password if user else None,
            tls=dial.tls if not settings.discovery_insecure_transport else None,
            timeout=settings.discovery_request_timeout,
            retry=Retry(attempts=1),
            dial=dial,
        )
    except (ValueError, OSError) as err:
        raise DiscoveryError(f"discovery: {err}") from None


class _Dial:
    """Makes channels as the settings say."""

    def __init__(self, settings: DiscoverySettings) -> None:
        self.tls = Tls(
            ca=settings.discovery_cacert or None,
            cert=settings.discovery_cert or None,
            key=settings.discovery_key or None,
            insecure_skip_verify=settings.discovery_insecure_skip_tls_verify,
        )
        self._limits = ChannelLimits(
            connect_timeout=settings.discovery_dial_timeout,
            keepalive_time=settings.discovery_keepalive_time,
            keepalive_timeout=settings.discovery_keepalive_timeout,
        )

    def __call__(self, endpoint: Endpoint) -> Channel:
        context = self.tls.context() if endpoint.encrypted else None
        if not endpoint.port:
            dial = unix_socket(endpoint.host, context, LOCAL)
            return Channel(endpoint.host, 0, authority=LOCAL, ssl=context, limits=self._limits, dial=dial)
        return Channel(endpoint.host, endpoint.port, ssl=context, limits=self._limits)
