"""From settings to a running member, in a process of its own or in yours.

    Config ──check──► ServerConfig ──► listeners bound ──► Server started ──► listeners served

    async with embed.Etcd(data_dir="db") as etcd: ...           on the running event loop
    with embed.start(in_memory=True) as etcd: ...               on a loop in a thread
    async with embed.Cluster(3, in_memory=True) as members: ...
    with embed.start_cluster(3, in_memory=True) as members: ...

- `config`      what etcd's flags mean, their defaults and the rules between them
- `keywords`    settings from keywords, `ports` those that the system chooses, `memory_dir` data in memory
- `member`      the running member: start order, stop order
- `cluster`     several members on one loop
- `running`     both for programs without an event loop

Decides the order in which things start and stop. Refuses to know how settings were given (`cmd`). Nothing here touches
what a process has but once: signals, the garbage collector, where log lines go.
"""

from quorate.embed.cluster import Cluster
from quorate.embed.config import Config
from quorate.embed.errors import ConfigError
from quorate.embed.member import Etcd
from quorate.embed.running import RunningCluster, RunningEtcd, start, start_cluster

__all__ = ["Cluster", "Config", "ConfigError", "Etcd", "RunningCluster", "RunningEtcd", "start", "start_cluster"]
