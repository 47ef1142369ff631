"""Many puts at once, for `check`: workers with a connection each, on an event loop, and how long each put took."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from quorate.api.plain import encode
from quorate.cmd.ctl.endpoints import parse
from quorate.cmd.ctl.rpc import PATHS, failure
from quorate.transport.grpc import Channel, Status, unix_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from quorate.cmd.ctl.rpc import Client
    from quorate.cmd.ctl.run import Settings

VARINT_BITS = 63


class Report:
    """What came of the puts. Times in seconds."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.errors: Counter[str] = Counter()
        self.seconds = 0.0

    @property
    def per_second(self) -> float:
        return (len(self.took) + self.errors.total()) / self.seconds if self.seconds else 0.0

    @property
    def slowest(self) -> float:
        return max(self.took, default=0.0)

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        if not self.took:
            return 0.0
        mean = math.fsum(self.took) / len(self.took)
        return math.sqrt(math.fsum((one - mean) ** 2 for one in self.took) / len(self.took))


class Load:
    """Puts of `value` to random keys of `key_size` bytes under a prefix, by so many workers."""

    def __init__(
        self, client: Client, settings: Settings, *, prefix: bytes, key_size: int, value_size: int, workers: int
    ) -> None:
        self._client = client
        self._settings = settings
        self._prefix = prefix
        self._key_size = key_size
        self._value = bytes(value_size)
        self._workers = workers
        self.report = Report()

    def run_at(self, rate: int, seconds: int, on_second: Callable[[], object]) -> None:
        """So many puts a second, evenly, for so many seconds. `on_second` is called after each."""
        asyncio.run(self._run(self._paced(rate, seconds), on_second, lambda: None))

    def run_all(self, count: int, on_put: Callable[[], object]) -> None:
        """So many puts, as fast as they are answered. `on_put` is called after each."""
        asyncio.run(self._run(iter([0.0] * count), lambda: None, on_put))

    @staticmethod
    def _paced(rate: int, seconds: int) -> Iterator[float]:
        """When each put is due, in seconds from the start."""
        return (number / rate for number in range(rate * seconds))

    async def _run(self, due: Iterator[float], on_second: Callable[[], object], on_put: Callable[[], object]) -> None:
        channels = [self._channel(number) for number in range(self._workers)]
        started = time.monotonic()
        ticker = asyncio.create_task(_tick(on_second))
        try:
            await asyncio.gather(*(self._work(channel, started, due, on_put) for channel in channels))
            self.report.seconds = time.monotonic() - started
        finally:
            ticker.cancel()
            await asyncio.gather(*(channel.close() for channel in channels))

    def _channel(self, number: int) -> Channel:
        endpoint = self._client.endpoints[number % len(self._client.endpoints)]
        host, port, encrypted = parse(endpoint.text, self._settings.encrypted)
        tls = self._settings.tls_context() if encrypted else None
        if not port:
            return Channel(host, port, ssl=tls, dial=unix_socket(host, tls, "localhost"), authority="localhost")
        return Channel(host, port, ssl=tls)

    async def _work(self, channel: Channel, started: float, due: Iterator[float], on_put: Callable[[], object]) -> None:
        metadata = self._client.metadata()
        for moment in due:
            pause = started + moment - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            request = encode("PutRequest", {"key": self._prefix + self._key(), "value": self._value})
            begun = time.monotonic()
            try:
                await channel.unary(PATHS["Put"], request, metadata=metadata)
            except Status as status:
                self.report.errors[failure(status).text] += 1
            else:
                self.report.took.append(time.monotonic() - begun)
            on_put()

    def _key(self) -> bytes:
        """A random number at the start, zeros behind it."""
        number, out = random.getrandbits(VARINT_BITS), bytearray()
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
        return bytes(out).ljust(self._key_size, b"\0")


async def _tick(on_second: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(1.0)
        on_second()
