"""The settings by which a new member finds the others of its cluster, and the rules between them in etcd's words."""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate.embed.errors import ConfigError


@dataclass
class DiscoverySettings:
    """Three ways beside a list of members: DNS, a v2 discovery service (an URL), another etcd (endpoints and a token).

    Times are in seconds."""

    discovery: list[str] = field(default_factory=list)
    discovery_fallback: str = "exit"
    discovery_proxy: str = ""
    discovery_srv: str = ""
    discovery_srv_name: str = ""
    discovery_endpoints: list[str] = field(default_factory=list)
    discovery_token: str = ""
    discovery_dial_timeout: float = 2.0
    discovery_request_timeout: float = 5.0
    discovery_keepalive_time: float = 2.0
    discovery_keepalive_timeout: float = 6.0
    discovery_insecure_transport: bool = True
    discovery_insecure_skip_tls_verify: bool = False
    discovery_cert: str = ""
    discovery_key: str = ""
    discovery_cacert: str = ""
    discovery_user: str = ""
    discovery_password: str = ""

    def check_discovery(self, initial_cluster: str) -> None:
        """Raises ConfigError. `initial_cluster` is what was set, not the default."""
        if self.discovery_fallback != "exit":
            raise ConfigError(
                'v2 proxy is deprecated, and --discovery-fallback can\'t be configured as "proxy"'
                if self.discovery_fallback == "proxy"
                else f'invalid value "{self.discovery_fallback}" for --discovery-fallback'
            )
        ways = (initial_cluster, self.discovery, self.discovery_srv, self.discovery_endpoints)
        if sum(map(bool, ways)) > 1:
            raise ConfigError(
                "multiple discovery or bootstrap flags are set. Choose one of "
                '"initial-cluster", "discovery", "discovery-endpoints" or "discovery-srv"'
            )
        if bool(self.discovery_token) != bool(self.discovery_endpoints):
            raise ConfigError("both --discovery-token and --discovery-endpoints must be set")
        if any(not endpoint.strip() for endpoint in self.discovery_endpoints):
            raise ConfigError("--discovery-endpoints must not contain empty endpoints")

    @property
    def discovers(self) -> bool:
        """Whether a new member asks somebody who the others are."""
        return bool(self.discovery or self.discovery_srv or self.discovery_endpoints)
