"""What a run is to do, as it travels to the processes that do it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Plan:
    """One command against some endpoints. Sizes in bytes, times in seconds."""

    command: str
    endpoints: list[str]
    settings: dict[str, Any] = field(default_factory=dict)
    """The command's own flags, by name; dashes are underscores."""
    conns: int = 1
    clients: int = 1
    ca: str = ""
    cert: str = ""
    key: str = ""
    insecure: bool = False
    token: str = ""
    """Sent with every call; empty without auth."""
    dial_timeout: float = 0.0
    """How long connecting is tried; 0 = for ever."""
    sample: bool = False
    """Whether to keep when each request ended."""
    seconds: float = 0.0
    """No request is begun after so long; 0 = no limit."""
    index: int = 0
    """Which of `processes` this is."""
    processes: int = 1

    def encode(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, line: str) -> Plan:
        return cls(**json.loads(line))

    def own_conns(self) -> list[int]:
        """Numbers of the connections that this process opens."""
        return list(range(self.index, self.conns, self.processes))

    def own_clients(self) -> list[int]:
        """Numbers of the clients that run here: client i uses connection i mod conns."""
        return [n for n in range(self.clients) if n % self.conns % self.processes == self.index]

    def share(self, total: int) -> int:
        """How many of `total` requests this process makes: its share of the clients, the rest to the first."""
        mine = total * len(self.own_clients()) // self.clients
        if self.index:
            return mine
        others = (len(_with(self, n).own_clients()) for n in range(1, self.processes))
        return total - sum(total * count // self.clients for count in others)


def _with(plan: Plan, index: int) -> Plan:
    return Plan(**{**asdict(plan), "index": index})
