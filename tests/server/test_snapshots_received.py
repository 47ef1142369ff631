"""What a leader sends is kept for as long as somebody may want it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from server_support import StartServer

from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.raftpb import Message, MessageType, Snapshot
from quorate.server.snapshot_files import export
from quorate.storage import schema


def waiting(path: Path) -> list[Path]:
    return list((path / "data/member/snap").glob("*.snap.db"))


async def test_databases_that_raft_did_not_want_do_not_pile_up(start_server: StartServer, tmp_path: Path) -> None:
    server = await start_server()
    for number in range(4):
        await server.propose("put", rpc.PutRequest(key=b"k%d" % number))
        await server.committed()
        view = server.backend.view()
        for _ in export(view, tmp_path / "sent"):
            pass
        view.close()
        conf_state = schema.get_conf_state(server.backend)
        assert conf_state is not None
        snapshot = Snapshot(server.applied_index, server.term, conf_state)
        message = Message(MessageType.SNAP, server.member_id, 99, server.term, snapshot=snapshot)
        await server.snapshots.receive(message, _whole((tmp_path / "sent").read_bytes()))
        assert len(waiting(tmp_path)) == 1, "this member has applied all of them"


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data
