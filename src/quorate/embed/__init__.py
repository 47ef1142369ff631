"""From settings to a running member.

    Config ──check──► ServerConfig ──► listeners bound ──► Server started ──► listeners served

- `config`  what etcd's flags mean, their defaults and the rules between them
- `member`  the running member: start order, stop order

Decides the order in which things start and stop. Refuses to know how settings were given (`cmd`).
"""

from quorate.embed.config import Config, ConfigError
from quorate.embed.member import Etcd

__all__ = ["Config", "ConfigError", "Etcd"]
