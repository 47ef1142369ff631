"""The namespace of a proxy: where in the messages of the API there are keys, as bytes in and bytes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from quorate.api.pb import election_pb2, lock_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.recipes.namespace import Names
from quorate.proxy.forward import Change

_KEYS: Mapping[str, tuple[type[Message], type[Message]]] = {
    "/etcdserverpb.KV/RangeStream": (pb.RangeRequest, pb.RangeStreamResponse),
    "/etcdserverpb.Lease/LeaseTimeToLive": (pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse),
    "/v3lockpb.Lock/Lock": (lock_pb2.LockRequest, lock_pb2.LockResponse),
    "/v3lockpb.Lock/Unlock": (lock_pb2.UnlockRequest, lock_pb2.UnlockResponse),
    "/v3electionpb.Election/Campaign": (election_pb2.CampaignRequest, election_pb2.CampaignResponse),
    "/v3electionpb.Election/Proclaim": (election_pb2.ProclaimRequest, election_pb2.ProclaimResponse),
    "/v3electionpb.Election/Leader": (election_pb2.LeaderRequest, election_pb2.LeaderResponse),
    "/v3electionpb.Election/Observe": (election_pb2.LeaderRequest, election_pb2.LeaderResponse),
    "/v3electionpb.Election/Resign": (election_pb2.ResignRequest, election_pb2.ResignResponse),
}
"""Calls with keys in them, but for those that the proxy looks into anyway."""


def changes(names: Names, path: str) -> tuple[Change, Change] | None:
    """What turns the requests of a call into those of everybody, and its answers back; None for calls without keys."""
    found = _KEYS.get(path)
    if found is None:
        return None
    request, answer = found
    return _changed(request, lambda message: _put_on(names, message)), _changed(
        answer, lambda message: _take_off(names, message)
    )


def _changed(kind: type[Message], change: Callable[[Any], None]) -> Change:
    def changed(body: bytes) -> bytes:
        message = kind.FromString(body)
        change(message)
        return message.SerializeToString()

    return changed


def _put_on(names: Names, request: Any) -> None:
    if names.has_keys(request):
        names.put_on(request)
        return
    holder = request.leader if _has(request, "leader") else request
    for name in ("name", "key"):
        value = getattr(holder, name, b"")
        if value:
            setattr(holder, name, names.prefix + value)


def _take_off(names: Names, answer: Any) -> None:
    if isinstance(answer, pb.RangeStreamResponse):
        names.take_off(answer.range_response)
    elif isinstance(answer, lock_pb2.LockResponse):
        answer.key = answer.key.removeprefix(names.prefix)
    elif isinstance(answer, election_pb2.CampaignResponse):
        for name in ("name", "key"):
            setattr(answer.leader, name, getattr(answer.leader, name).removeprefix(names.prefix))
    elif isinstance(answer, election_pb2.LeaderResponse):
        if answer.HasField("kv"):
            names.bare([answer.kv])
    else:
        names.take_off(answer)


def _has(message: Any, field: str) -> bool:
    return field in message.DESCRIPTOR.fields_by_name
