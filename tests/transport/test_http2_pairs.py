"""A client machine against a server machine, whatever they say and however the bytes are cut."""

from __future__ import annotations

import random

import pytest
from http2_wire import REQUEST, RESPONSE, TRAILERS, frame, parse
from hypothesis import event as note_event
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.transport.http2 import (
    Connection,
    ConnectionClosed,
    DataReceived,
    ErrorCode,
    Event,
    GoingAwayError,
    Headers,
    HeadersReceived,
    Limits,
    RepliesReceived,
    RequestsReceived,
    StreamReset,
    TooManyStreamsError,
)

TIGHT = Limits(max_concurrent_streams=4, stream_window=5_000, connection_window=66_000, low_mark=1_000)


class Side:
    """One end: a machine, what it wants to say on its streams, and what it has heard."""

    def __init__(self, rng: random.Random, *, client: bool, limits: Limits, whole: bool) -> None:
        self.rng = rng
        self.machine = Connection(client=client, limits=limits, whole=whole)
        self.machine.start()
        self.heard: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.said: dict[int, bytes] = {}
        self.unacknowledged: list[tuple[int, int]] = []

    def hear(self, data: bytes) -> None:
        """Take bytes in pieces of any size."""
        while data:
            cut = self.rng.choice([1, 9, 50, 1000, len(data)])
            for event in self.machine.receive(data[:cut]):
                for part in parts_of(event):
                    self.note(part)
            data = data[cut:]

    def note(self, event: Event) -> None:
        assert not isinstance(event, ConnectionClosed), event
        if isinstance(event, HeadersReceived):
            self.heard.setdefault(event.stream_id, b"")
            if event.end_stream:
                self.ended.add(event.stream_id)
        elif isinstance(event, DataReceived):
            self.heard[event.stream_id] += event.data
            self.unacknowledged.append((event.stream_id, len(event.data)))
            if event.end_stream:
                self.ended.add(event.stream_id)
        elif isinstance(event, StreamReset):
            self.reset.add(event.stream_id)

    def acknowledge(self) -> None:
        self.rng.shuffle(self.unacknowledged)
        while self.unacknowledged:
            self.machine.acknowledge(*self.unacknowledged.pop())


def parts_of(event: Event) -> list[Event]:
    """What a machine tells that does not tell of calls that came in one piece."""
    parts: list[Event] = []
    if isinstance(event, RequestsReceived):
        for stream_id, body in zip(event.stream_ids, event.bodies, strict=True):
            parts += [HeadersReceived(stream_id, event.headers, False), DataReceived(stream_id, body, True)]
    elif isinstance(event, RepliesReceived):
        for stream_id, body in zip(event.stream_ids, event.bodies, strict=True):
            parts += [HeadersReceived(stream_id, event.headers, False), DataReceived(stream_id, body, False)]
            parts.append(HeadersReceived(stream_id, event.trailers, True))
    else:
        parts.append(event)
    return parts


@pytest.mark.parametrize("seed", range(30))
def test_everything_said_is_heard(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    left = Side(rng, client=True, limits=rng.choice([Limits(), TIGHT]), whole=rng.random() < 0.5)
    right = Side(rng, client=False, limits=rng.choice([Limits(), TIGHT]), whole=rng.random() < 0.5)
    answered: set[int] = set()
    opened: list[int] = []
    for _ in range(300):
        step = rng.randrange(6)
        if step == 0 and len(opened) < 40:
            headers: Headers = (
                REQUEST if rng.random() < 0.5 else (*REQUEST, (b"grpc-timeout", b"%du" % rng.randrange(99)))
            )
            try:
                said = rng.randbytes(rng.choice([0, 5, 300, 20_000, 90_000]))
                stream_id = left.machine.send_unary_request(headers, said)
            except TooManyStreamsError:
                continue
            opened.append(stream_id)
            left.said[stream_id] = said
        elif step == 1:
            for stream_id in [found for found in right.ended - answered - right.reset if rng.random() < 0.7]:
                answered.add(stream_id)
                right.said[stream_id] = rng.randbytes(rng.choice([0, 5, 300, 20_000, 90_000]))
                right.machine.send_unary_replies([stream_id], RESPONSE, [right.said[stream_id]], TRAILERS)
        elif step == 2 and opened and rng.random() < 0.2:
            victim = rng.choice(opened)
            left.machine.reset_stream(victim, ErrorCode.CANCEL)
            left.reset.add(victim)
        elif step == 3:
            rng.choice([left, right]).acknowledge()
        else:
            right.hear(left.machine.output())
            left.hear(right.machine.output())
    while True:
        for stream_id in right.ended - answered - right.reset:
            answered.add(stream_id)
            right.said[stream_id] = b"late"
            right.machine.send_unary_replies([stream_id], RESPONSE, [b"late"], TRAILERS)
        left.acknowledge()
        right.acknowledge()
        forth, back = left.machine.output(), right.machine.output()
        if not forth and not back:
            break
        right.hear(forth)
        left.hear(back)
    gone = left.reset | right.reset
    assert opened and not left.machine._streams and not right.machine._streams
    assert left.machine.pending() == right.machine.pending() == 0
    for stream_id in opened:
        if stream_id not in gone:
            assert right.heard[stream_id] == left.said[stream_id]
            assert left.heard[stream_id] == right.said[stream_id]


@settings(max_examples=60, deadline=None, print_blob=True)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 3000), min_size=1, max_size=60))
def test_events_do_not_depend_on_how_the_bytes_are_cut(seed: int, cuts: list[int]) -> None:
    rng = random.Random(seed)
    talker = Connection(client=True)
    talker.start()
    for _ in range(rng.randrange(1, 12)):
        stream_id = talker.open_stream((*REQUEST, (b"n", b"%d" % rng.randrange(5))), False)
        talker.send_data(stream_id, rng.randbytes(rng.randrange(5_000)), rng.random() < 0.8)
        if rng.random() < 0.2:
            talker.reset_stream(stream_id, ErrorCode.CANCEL)
        if rng.random() < 0.2:
            talker.ping(rng.randbytes(8))
    data = talker.output()
    whole, cut = Connection(client=False), Connection(client=False)
    expected = whole.receive(data)
    events: list[Event] = []
    position = 0
    while position < len(data):
        size = cuts[position % len(cuts)]
        events += cut.receive(data[position : position + size])
        position += size
    assert events == expected
    assert cut.output() == whole.output()


@settings(max_examples=100, deadline=None, print_blob=True)
@given(st.integers(0, 2**32), st.sampled_from([Limits(), TIGHT]), st.lists(st.integers(1, 3000), max_size=40))
def test_calls_in_one_piece_are_told_as_their_parts_would_be(seed: int, limits: Limits, cuts: list[int]) -> None:
    """Two pairs of machines, alike but for `whole`, hear the same bytes in the same pieces."""
    rng = random.Random(seed)
    plain = Connection(client=True, limits=limits), Connection(client=False, limits=limits)
    whole = Connection(client=True, limits=limits, whole=True), Connection(client=False, limits=limits, whole=True)
    for machine in plain + whole:
        machine.start()
    fused = 0
    for _ in range(rng.randrange(1, 40)):
        said = rng.randbytes(rng.choice([0, 5, 300, 6_000, 20_000]))
        trouble = rng.choice([b"", b"", b"", frame(6, 0, 0, bytes(8)), frame(2, 0, 1, bytes(5)), frame(0, 1, 1, b"x")])
        answers = rng.random() < 0.9
        for client, server in (plain, whole):
            try:
                stream_id = client.send_unary_request(REQUEST, said)
            except (TooManyStreamsError, GoingAwayError):
                return
            client._out.append(trouble)
            if answers:
                server.send_unary_replies([stream_id - 2], RESPONSE, [said], TRAILERS) if stream_id > 1 else None
        for talker, hearer in ((0, 1), (1, 0)):
            data = plain[talker].output()
            assert whole[talker].output() == data
            while data:
                size = cuts[len(data) % len(cuts)] if cuts else len(data)
                told = whole[hearer].receive(data[:size])
                parts = [part for event in told for part in parts_of(event)]
                fused += len(parts) - len(told)
                assert parts == plain[hearer].receive(data[:size])
                data = data[size:]
            assert whole[hearer]._window == plain[hearer]._window
            assert whole[hearer]._owed == plain[hearer]._owed
            assert whole[hearer]._streams.keys() == plain[hearer]._streams.keys()
    note_event(f"fused: {min(fused, 10)}")


def test_a_talk_of_many_calls_settles_at_a_few_bytes_of_headers() -> None:
    left, right = Connection(client=True), Connection(client=False)
    left.start()
    right.start()
    for n in range(50):
        stream_id = left.open_stream(REQUEST, False)
        left.send_data(stream_id, b"q", True)
        question = left.output()
        right.receive(question)
        right.send_unary_replies([stream_id], RESPONSE, [b"a"], TRAILERS)
        answer = right.output()
        left.receive(answer)
        if n > 2:
            assert [len(found.payload) for found in parse(question)] == [len(REQUEST), 1]
            assert [len(found.payload) for found in parse(answer)] == [len(RESPONSE), 1, len(TRAILERS)]
