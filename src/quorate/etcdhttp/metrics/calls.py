"""gRPC calls by method, named as its usual interceptors do: grpc_server_*."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from quorate.api.errors import Code
from quorate.etcdhttp.metrics.text import COUNTER, HISTOGRAM, Family
from quorate.transport.grpc.tally import MethodTally

CODE_WORDS = {
    code: "OK" if code is Code.OK else "Canceled" if code is Code.CANCELLED else code.name.title().replace("_", "")
    for code in Code
}
"""Status codes as Go writes them."""
LABELS = ("grpc_method", "grpc_service", "grpc_type")


def call_families(tallies: Mapping[str, MethodTally]) -> Iterator[Family]:
    """Calls of every method, from the start; how long they took where that is measured."""
    started = Family("grpc_server_started_total", COUNTER, "Calls begun.", LABELS)
    handled = Family("grpc_server_handled_total", COUNTER, "Calls ended, by their status.", ("grpc_code", *LABELS))
    received = Family("grpc_server_msg_received_total", COUNTER, "Messages received.", LABELS)
    sent = Family("grpc_server_msg_sent_total", COUNTER, "Messages sent.", LABELS)
    took = Family("grpc_server_handling_seconds", HISTOGRAM, "Seconds of calls that have ended.", LABELS)
    for path, tally in tallies.items():
        service, _, method = path.removeprefix("/").rpartition("/")
        names = method, service, tally.kind
        started.add(tally.started, *names)
        received.add(tally.received, *names)
        sent.add(tally.messages_sent, *names)
        for code, word in CODE_WORDS.items():
            handled.add(tally.handled(code), word, *names)
        if tally.seconds is not None:
            took.add(tally.seconds, *names)
    yield from (started, handled, received, sent, took)
