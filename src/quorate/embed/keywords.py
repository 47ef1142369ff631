"""Settings of an embedded member from keywords: what is not said is chosen so that it disturbs nobody.

listen=True     free ports on 127.0.0.1 wherever no URLs are given
listen=False    no socket: one member alone, reached through its channel
in_memory=True  nothing on disk, nothing synced
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quorate.embed.config import Config
from quorate.embed.errors import ConfigError
from quorate.embed.ports import is_free

NOWHERE = "http://in-process:0"
"""Peer URL of a member that no other one can reach: a member has to have one."""
_FREE = {False: "http://127.0.0.1:0", True: "https://127.0.0.1:0"}
_URLS = (
    "listen_peer_urls",
    "listen_client_urls",
    "listen_client_http_urls",
    "listen_metrics_urls",
    "initial_advertise_peer_urls",
    "advertise_client_urls",
    "initial_cluster",
)


def config_of(data_dir: str | Path | None, name: str, listen: bool, in_memory: bool, fields: dict[str, Any]) -> Config:
    """The Config for keywords of `Etcd`. Raises ConfigError for those that exclude each other, TypeError for unknown
    ones."""
    if in_memory:
        for given, value in (("data_dir", data_dir), ("wal_dir", fields.get("wal_dir"))):
            if value:
                raise ConfigError(f"in_memory=True and {given}={str(value)!r} exclude each other")
        fields = {"unsafe_no_fsync": True, **fields}
    if listen:
        fields = _free_ports(name, fields)
    else:
        for field in _URLS:
            if fields.get(field):
                raise ConfigError(f"listen=False and {field}={fields[field]!r} exclude each other")
        nowhere = {"initial_advertise_peer_urls": [NOWHERE], "initial_cluster": f"{name}={NOWHERE}"}
        fields = {**fields, "listen_peer_urls": [], "listen_client_urls": [], "advertise_client_urls": [], **nowhere}
    return Config(name=name, data_dir=str(data_dir or ""), **fields)


def _free_ports(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` with a free port for clients, and one for members, where nothing is said of these."""
    filled = dict(fields)
    encrypted = bool(fields.get("cert_file") or fields.get("auto_tls"))
    clients = filled.setdefault("listen_client_urls", [_FREE[encrypted]])
    filled.setdefault("advertise_client_urls", list(clients))
    encrypted = bool(fields.get("peer_cert_file") or fields.get("peer_auto_tls"))
    peers = filled.setdefault("listen_peer_urls", [_FREE[encrypted]])
    peers = filled.setdefault("initial_advertise_peer_urls", list(peers))
    if not any(map(is_free, peers)):
        filled.setdefault("initial_cluster", ",".join(f"{name}={url}" for url in peers))
    return filled
