"""What is asked of the members before and after the load: a token, who leads, a hash."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any

from google.protobuf.message import Message

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import methods
from quorate.cmd.benchmark.fleet import LoadFailed
from quorate.cmd.benchmark.plan import Plan
from quorate.cmd.benchmark.process import CannotConnect, open_wires
from quorate.cmd.benchmark.wire import ask
from quorate.pkg.goflag import format_duration
from quorate.transport.grpc import Status


async def prepared(plan: Plan, user: str, target_leader: bool) -> Plan:
    """The plan with a token for `user` ("name:password"), and with the leader's URLs. Raises LoadFailed, Status."""
    if user:
        name, _, password = user.partition(":")
        answer = await _ask(plan, plan.endpoints[0], pb.AuthenticateRequest(name=name, password=password))
        plan = replace(plan, token=answer.token)
    if target_leader:
        plan = replace(plan, endpoints=await _leader_urls(plan))
    return plan


async def hash_of(plan: Plan) -> dict[str, Any]:
    """HashKV of the first endpoint. Raises LoadFailed."""
    endpoint = plan.endpoints[0]
    began = perf_counter()
    try:
        found = await _ask(plan, endpoint, pb.HashKVRequest())
        took = perf_counter() - began
        size = (await _ask(plan, endpoint, pb.StatusRequest())).dbSize
    except Status as status:
        raise LoadFailed(f"failed to get the hashkv of endpoint {endpoint}: {status.message}") from None
    return {"hash": found.hash, "endpoint": endpoint, "seconds": took, "db_size": size}


def describe_hash(found: dict[str, Any]) -> str:
    """The block that --check-hashkv adds."""
    return (
        f"HashKV Summary:\n\tHashKV: {found['hash']}\n\tEndpoint: {found['endpoint']}\n"
        f"\tTime taken to get hashkv: {format_duration(round(found['seconds'], 9))}\n"
        f"\tDB size: {_size(found['db_size'])}\n"
    )


async def _leader_urls(plan: Plan) -> list[str]:
    """Client URLs of the leader, by the first endpoint that answers."""
    status = None
    for endpoint in plan.endpoints:
        try:
            leader = (await _ask(plan, endpoint, pb.StatusRequest())).leader
            members = (await _ask(plan, endpoint, pb.MemberListRequest())).members
        except (Status, LoadFailed) as error:
            status = error
            continue
        urls = [url for member in members if leader == member.ID for url in member.clientURLs]
        if urls:
            return urls
    if status is not None:
        raise LoadFailed(f"failed to get a member list: {status}")
    raise LoadFailed("failed to find a leader endpoint")


async def _ask(plan: Plan, endpoint: str, request: Message) -> Any:
    method = methods.METHODS[type(request)]
    try:
        wires = await open_wires(replace(plan, endpoints=[endpoint], conns=1, clients=1, index=0, processes=1))
    except CannotConnect as error:
        raise LoadFailed(str(error)) from None
    try:
        return method.decode(await ask(wires[0], method.path, request.SerializeToString()))
    finally:
        wires[0].close()


def _size(count: float) -> str:
    """Bytes as people read them, in steps of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.1f} {unit}" if unit != "B" and count < 10 else f"{count:.0f} {unit}"
