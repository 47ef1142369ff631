"""The raft machine of a member, set up as etcd sets up its own."""

from __future__ import annotations

from quorate.pkg.jsonlog import get_log
from quorate.raft import Config, RawNode
from quorate.server.bootstrap import Booted
from quorate.server.config import ServerConfig
from quorate.server.world import World

log = get_log("quorate.raft")


def make_node(config: ServerConfig, booted: Booted, world: World) -> RawNode:
    """A node that goes on from where `booted` stands; its storage writes are asynchronous."""
    return RawNode(
        Config(
            id=booted.member_id,
            storage=booted.storage,
            rng=world.rng,
            election_tick=config.election_ticks,
            heartbeat_tick=1,
            applied=booted.applied_index,
            max_size_per_message=world.message_bytes,
            async_storage_writes=True,
            check_quorum=True,
            pre_vote=config.pre_vote,
            logger=_RaftLogger(),
        )
    )


class _RaftLogger:
    """Raft's own lines, in the member's log."""

    def debug(self, text: str, /) -> None:
        log.debug(text)

    def info(self, text: str, /) -> None:
        log.info(text)

    def warning(self, text: str, /) -> None:
        log.warn(text)

    def error(self, text: str, /) -> None:
        log.error(text)
