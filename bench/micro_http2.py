"""Time that one unary call spends in the HTTP/2 machine, in microseconds, by where it is spent.

Run: python bench/micro_http2.py
"""

from __future__ import annotations

import time
from itertools import pairwise

from quorate.transport.http2 import Connection, DataReceived, Headers, RequestsReceived

REQUEST: Headers = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/etcdserverpb.KV/Put"),
    (b":authority", b"127.0.0.1:2379"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-go/1.71.1"),
    (b"te", b"trailers"),
)
RESPONSE: Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS: Headers = ((b"grpc-status", b"0"), (b"grpc-message", b""))
CALLS = 20_000


def measure(calls_per_read: int, deadlines: bool) -> list[float]:
    """Client out, server in, server out, client in: the best tenth of the rounds."""
    client, server = Connection(client=True, whole=True), Connection(client=False, whole=True)
    client.start()
    server.start()
    server.receive(client.output())
    rounds: list[tuple[float, ...]] = []
    for n in range(CALLS // calls_per_read):
        times = [time.perf_counter()]
        for k in range(calls_per_read):
            timeout = (b"grpc-timeout", b"%du" % (4_000_000 + n * calls_per_read + k))
            client.send_unary_request((*REQUEST, timeout) if deadlines else REQUEST, bytes(300))
        question = client.output()
        times.append(time.perf_counter())
        events = server.receive(question)
        times.append(time.perf_counter())
        for event in events:
            if type(event) is RequestsReceived:
                bodies = [bytes(30)] * len(event.stream_ids)
                server.send_unary_replies(event.stream_ids, RESPONSE, bodies, TRAILERS)
            elif type(event) is DataReceived:
                server.send_unary_replies([event.stream_id], RESPONSE, [bytes(30)], TRAILERS)
        answer = server.output()
        times.append(time.perf_counter())
        client.receive(answer)
        times.append(time.perf_counter())
        rounds.append(tuple(later - earlier for earlier, later in pairwise(times)))
    return [sorted(column)[len(column) // 10] / calls_per_read * 1e6 for column in zip(*rounds, strict=True)]


if __name__ == "__main__":
    print("                           client out   server in  server out   client in")
    for deadlines in (False, True):
        for calls_per_read in (1, 10, 100):
            columns = measure(calls_per_read, deadlines)
            name = f"{'deadlines, ' if deadlines else ''}{calls_per_read} a read"
            print(f"{name:24}" + "".join(f"{value:12.2f}" for value in columns))
