"""`elect`: be elected and lead until a signal comes, or print who leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api.plain import Message, encode
from quorate.cmd.ctl import kv
from quorate.cmd.ctl.failures import BAD_ARGS, ERROR, Fail
from quorate.cmd.ctl.flags import BOOL, Flag
from quorate.cmd.ctl.holding import Signalled, end_by_signals, hold
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.queueing import DELETED, Place, Session, first_of, follow
from quorate.cmd.ctl.run import as_bytes
from quorate.pkg.key_prefix import prefix_end

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run

TTL = 60
"""Seconds after which somebody else leads when this program has gone without a word."""


def _elect(run: Run) -> None:
    if not 1 <= len(run.args) <= 2:
        raise Fail(BAD_ARGS, "elect takes one election name argument and an optional proposal argument")
    listening = run.flags["listen"]
    if listening and len(run.args) > 1:
        raise Fail(BAD_ARGS, "proposal given but -l is set")
    if not listening and len(run.args) < 2:
        raise Fail(BAD_ARGS, "no proposal argument but -l not set")
    end_by_signals()
    try:
        if listening:
            _observe(run, as_bytes(run.args[0]) + b"/")
        else:
            _campaign(run, as_bytes(run.args[0]), as_bytes(run.args[1]))
    except Signalled:
        return


def _campaign(run: Run, name: bytes, proposal: bytes) -> None:
    with Session(run, TTL) as session:
        place = Place(session, name, proposal)
        try:
            try:
                place.wait()
                reply = place.get()
            except Signalled:
                raise Fail(ERROR, "context canceled") from None
            _show(run, reply)
            hold(session)
        finally:
            place.leave()


def _observe(run: Run, prefix: bytes) -> None:
    """Print each proposal that comes to lead."""
    client = run.client()
    while True:
        found = first_of(client, prefix)
        if found.kvs:
            leader, header = found.kvs[0], found.header
        else:
            request = {"key": prefix, "range_end": prefix_end(prefix), "start_revision": found.header.revision + 1}
            leader = next(event.kv for event in follow(client, request) if event.type != DELETED)
            header = Message("ResponseHeader", {**found.header.values, "revision": leader.mod_revision})
        _show(run, Message("RangeResponse", {"header": header, "kvs": [leader]}))
        request = {"key": leader.key, "start_revision": max(header.revision, leader.mod_revision) + 1}
        for event in follow(client, request):
            if event.type == DELETED:
                break
            header = Message("ResponseHeader", {**header.values, "revision": event.kv.mod_revision})
            _show(run, Message("RangeResponse", {"header": header, "kvs": [event.kv]}))


def _show(run: Run, reply: Message) -> None:
    run.show(
        reply,
        simple=lambda: kv.get_lines(reply, run.hex),
        fields=lambda: kv.get_fields(reply),
        protobuf=lambda: encode("RangeResponse", reply.values),
    )


FLAGS = (Flag("listen", BOOL, False, "print who leads, without a proposal", "l"),)
COMMANDS = {"elect": Command("elect <election-name> [proposal]", _elect, FLAGS)}
