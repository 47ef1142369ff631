"""Clients that open watches of all kinds and write down what they are told; `guarantees` judges that.

one stream   watch 0 ── a key, from the past, with prev_kv      told: created, events, progress, cancelled
             watch 1 ── a range, from now, no deletes
             ...        opened, cancelled, asked for progress; then the stream breaks or is left
the next     watch 0 ── as watch 0 above, from where that one was
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster
from quorate.testing.requests import PREFIX, PREFIX_END, Known, few_behind
from quorate.testing.story import FROM_KEY
from quorate.transport.grpc import Channel, Status

WATCH = "/etcdserverpb.Watch/Watch"
MOST = 3
"""Watches of one client at a time."""
STREAM_SECONDS = (1.0, 10.0)
ACT_SECONDS = (0.1, 1.0)
"""Between two doings of a client."""
PAST, AHEAD = 60, 20
"""Revisions that a watch starts behind or ahead of the newest, at most."""
ASK_SECONDS = 0.2
"""Between two requests for progress at the end."""
STALLED_SECONDS = 5.0
"""Until a stream that does not answer at the end is left for another."""
STREAM_ID = -1
"""Names no watch: the whole stream."""


@dataclass(slots=True)
class Watch:
    """What was asked for, and all that was said of it: seconds, and whole responses."""

    member: int
    request: pb.WatchCreateRequest
    told: list[tuple[float, pb.WatchResponse]] = field(default_factory=list)
    left: bool = False
    """The client has asked for its end."""

    @property
    def start(self) -> int:
        """The first revision that it wants; 0 as long as only the member knows."""
        if self.request.start_revision or not self.told:
            return int(self.request.start_revision)
        return int(self.told[0][1].header.revision) + 1

    @property
    def next(self) -> int:
        """The first revision that may not have been told, where to go on; 0 for one that never began."""
        place = self.start
        for _, answer in self.told:
            if answer.events and not answer.fragment:
                place = max(place, answer.events[-1].kv.mod_revision + 1)
            elif not answer.events and not answer.created and not answer.canceled:
                place = max(place, answer.header.revision + 1)
        return place

    def __str__(self) -> str:
        asked = self.request
        where = f"[{asked.key!r}, {asked.range_end!r})" if asked.range_end else repr(asked.key)
        options = [pb.WatchCreateRequest.FilterType.Name(each) for each in asked.filters]
        options += [name for name in ("prev_kv", "progress_notify", "fragment") if getattr(asked, name)]
        return " ".join([f"watch of {where} from {asked.start_revision} on member {self.member}", *options])


class WatchStream:
    """The watches of one stream. `problems` takes what no watch could be blamed for."""

    def __init__(self, member: int, channel: Channel, problems: list[str]) -> None:
        self.member = member
        self.open: dict[int, Watch] = {}
        self._asked: deque[Watch] = deque()
        """Not confirmed yet, in the order of asking, which is that of the answers."""
        self._problems = problems
        self._stream = channel.stream(WATCH)
        self._reading = asyncio.create_task(self._read())

    @property
    def over(self) -> bool:
        return self._reading.done()

    @property
    def wanted(self) -> list[Watch]:
        """All that the client has not asked to end."""
        return [watch for watch in (*self.open.values(), *self._asked) if not watch.left]

    def create(self, request: pb.WatchCreateRequest) -> Watch:
        watch = Watch(self.member, request)
        self._asked.append(watch)
        self._send(pb.WatchRequest(create_request=request))
        return watch

    def cancel(self, watch_id: int) -> None:
        self.open[watch_id].left = True
        self._send(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id)))

    def ask_progress(self) -> None:
        self._send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    async def close(self) -> None:
        self._stream.cancel()
        await self._reading

    def _send(self, request: pb.WatchRequest) -> None:
        self._stream.send(request.SerializeToString())

    async def _read(self) -> None:
        try:
            while (message := await self._stream.receive()) is not None:
                self._take(pb.WatchResponse.FromString(message))
        except Status:
            pass
        finally:
            self._stream.cancel()

    def _take(self, answer: pb.WatchResponse) -> None:
        now = time.monotonic()
        if answer.created and self._asked:
            watch = self._asked.popleft()
            watch.told.append((now, answer))
            if not answer.canceled:
                self.open[answer.watch_id] = watch
        elif answer.watch_id == STREAM_ID:
            for watch in self.open.values():
                watch.told.append((now, answer))
        elif answer.watch_id in self.open:
            self.open[answer.watch_id].told.append((now, answer))
            if answer.canceled:
                del self.open[answer.watch_id]
        else:
            self._problems.append(f"member {self.member} tells of a watch that is not open: {answer}")


class WatchClient:
    """One stream at a time, on one member after the other; all watches that there ever were are in `watches`."""

    def __init__(
        self,
        cluster: Cluster,
        channel: Callable[[int], Channel],
        dice: random.Random,
        keys: Sequence[bytes],
        known: Known,
    ) -> None:
        self.watches: list[Watch] = []
        self.problems: list[str] = []
        self._cluster = cluster
        self._channel = channel
        self._dice = dice
        self._keys = keys
        self._known = known
        self._stream: WatchStream | None = None

    async def run(self, stopping: Callable[[], bool]) -> None:
        """Until `stopping`; what is open then stays open, for `finish`."""
        end = 0.0
        while not stopping():
            if self._stream is None or self._stream.over or time.monotonic() > end:
                await self._change_stream(range(len(self._cluster.members)))
                end = time.monotonic() + self._dice.uniform(*STREAM_SECONDS)
            await asyncio.sleep(self._dice.uniform(*ACT_SECONDS))
            self._act()

    async def finish(self, revision: int, timeout: float) -> None:
        """Everything up to `revision` must be told, and said to be told, once the cluster is healthy again."""
        now = time.monotonic()
        deadline, stalled = now + timeout, now + STALLED_SECONDS
        while self._stream is not None and time.monotonic() < deadline:
            for watch_id, watch in self._stream.open.items():
                if watch.start > revision and not watch.left:
                    self._stream.cancel(watch_id)  # as long as there is one, nothing is said of progress
            if all(watch.next > revision for watch in self._stream.wanted):
                break
            if self._stream.over or time.monotonic() > stalled:
                await self._change_stream(self._cluster.running())
                stalled = time.monotonic() + STALLED_SECONDS
            self._stream.ask_progress()
            await asyncio.sleep(ASK_SECONDS)
        if self._stream is not None:
            behind = [watch for watch in self._stream.wanted if watch.next <= revision]
            self.problems += [f"{watch}: reliable: not told of all up to {revision} in {timeout} s" for watch in behind]
            await self._stream.close()

    async def _change_stream(self, members: Sequence[int]) -> None:
        """Leave the stream and resume its watches on another, often of the same member."""
        old = self._stream
        member = self._dice.choice(members) if old is None or self._dice.random() < 0.5 else old.member
        resumed = []
        if old is not None:
            resumed = old.wanted
            await old.close()
        self._stream = WatchStream(member, self._channel(member), self.problems)
        for watch in resumed:
            request = pb.WatchCreateRequest()
            request.CopyFrom(watch.request)
            request.start_revision = watch.next
            self.watches.append(self._stream.create(request))

    def _act(self) -> None:
        assert self._stream is not None
        chance = self._dice.random()
        if chance < 0.4:
            self._stream.ask_progress()
        elif chance < 0.5 and self._stream.open:
            self._stream.cancel(self._dice.choice(list(self._stream.open)))
        elif len(self._stream.wanted) < MOST:
            self.watches.append(self._stream.create(self._draw()))

    def _draw(self) -> pb.WatchCreateRequest:
        request = pb.WatchCreateRequest(key=self._dice.choice(self._keys))
        match self._dice.choices(("key", "range", "prefix", "from"), (4, 3, 2, 1))[0]:
            case "range":
                request.range_end = few_behind(request.key)
            case "prefix":
                request.key, request.range_end = PREFIX, PREFIX_END
            case "from":
                request.range_end = FROM_KEY
        match self._dice.choices(("past", "now", "future"), (5, 2, 2))[0]:
            case "past":
                request.start_revision = max(1, self._known.revision - self._dice.randrange(PAST))
            case "future":
                request.start_revision = self._known.revision + self._dice.randint(1, AHEAD)
        for unwanted in (request.NOPUT, request.NODELETE):
            if self._dice.random() < 0.2:
                request.filters.append(unwanted)
        request.prev_kv = self._dice.random() < 0.5
        request.progress_notify = self._dice.random() < 0.5
        request.fragment = self._dice.random() < 0.3
        return request
