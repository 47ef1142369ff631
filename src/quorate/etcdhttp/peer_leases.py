"""`/leases` and `/leases/internal` on the peer listeners: other members renew leases here, and ask for their time."""

from __future__ import annotations

from google.protobuf.message import DecodeError, Message

from quorate.api import errors
from quorate.api.pb import lease_pb2, rpc_pb2
from quorate.server import Server
from quorate.server.peer_calls import CATCH_UP_TIMEOUT, LEASE_NOT_FOUND, LEASES_INTERNAL_PATH, PROTOBUF
from quorate.transport.web import HttpRequest, HttpResponse, text_response

MAX_BODY = 64 * 1024
"""Bytes of a request; what asks for a lease is a few (etcd 22132)."""


async def handle_leases(server: Server, request: HttpRequest) -> HttpResponse:
    """Answer a POST to either path, as etcd words its answers."""
    if request.method != "POST":
        return text_response(405, "Method Not Allowed")
    if len(request.body) > MAX_BODY:
        return text_response(413, "request body too large")
    internal = request.path == LEASES_INTERNAL_PATH
    try:
        reply = await (_time_to_live(server, request.body) if internal else _renew(server, request.body))
    except DecodeError:
        return text_response(400, "error unmarshalling request")
    except errors.LeaseNotFound:
        return text_response(404, LEASE_NOT_FOUND)
    except errors.TimeoutWaitApplied:
        return text_response(408, CATCH_UP_TIMEOUT)
    except errors.EtcdError as err:
        # Leadership lost during a look-up is no fault of the request.
        lost = internal and isinstance(err, errors.NotPrimaryLessor)
        return text_response(500 if lost else 400, str(err))
    return HttpResponse(200, [("Content-Type", PROTOBUF)], reply.SerializeToString())


async def _renew(server: Server, body: bytes) -> Message:
    asked = lease_pb2.LeaseRenewRequest.FromString(body)
    await server.leases.catch_up()
    if not asked.more:
        return rpc_pb2.LeaseKeepAliveResponse(ID=asked.ID, TTL=await server.leases.renew_here(asked.ID))
    first, *more = await server.leases.renew_all_here([asked.ID, *asked.more])
    return lease_pb2.LeaseRenewResponse(ID=asked.ID, TTL=first, more_TTL=more)


async def _time_to_live(server: Server, body: bytes) -> Message:
    asked = lease_pb2.LeaseInternalRequest.FromString(body).LeaseTimeToLiveRequest
    found = await server.leases.time_to_live_here(asked.ID, asked.keys)
    told = rpc_pb2.LeaseTimeToLiveResponse(
        ID=asked.ID, TTL=found.ttl, grantedTTL=found.granted_ttl, keys=found.keys, header=rpc_pb2.ResponseHeader()
    )
    return lease_pb2.LeaseInternalResponse(LeaseTimeToLiveResponse=told)
