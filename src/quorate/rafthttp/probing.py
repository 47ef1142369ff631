"""Asks a member now and then whether it lives and what its clock says. Nothing depends on the answers but warnings."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime

from quorate.pkg.jsonlog import get_log
from quorate.rafthttp.limits import (
    CLOCK_DIFFERENCE,
    PROBE_INTERVAL,
    PROBE_REPORT,
    PROBE_REPORT_ILL,
    PROBE_TIMEOUT,
    REFUSAL_LIMIT,
)
from quorate.rafthttp.link import Link
from quorate.transport.http1_client import HttpError

log = get_log(__name__)

PATH = "/raft/probing"


class Prober:
    """Probes one member for as long as its task runs."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._task: asyncio.Task[None] | None = None
        self._healthy = True
        self._error = ""
        self._clock_difference = 0.0
        self._reported_at = link.wiring.loop.time()

    def start(self, delay: float) -> None:
        """Begin in `delay` seconds."""
        self._task = self._link.wiring.spawn(self._run(delay))

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, delay: float) -> None:
        await asyncio.sleep(delay)
        while True:
            await self._probe()
            self._report()
            await asyncio.sleep(PROBE_INTERVAL)

    async def _probe(self) -> None:
        link = self._link
        loop, url = link.wiring.loop, link.url
        began = loop.time()
        try:
            reply = await link.wiring.client.request("GET", url + PATH, timeout=PROBE_TIMEOUT, body_limit=REFUSAL_LIMIT)
            took = loop.time() - began
            remote = parse_answer(reply.body)
        except (OSError, HttpError, ValueError) as error:
            self._healthy = False
            self._error = str(error) or type(error).__name__
            return
        self._healthy, self._error = True, ""
        self._clock_difference = time.time() - took / 2 - remote
        link.counters.round_trip = took
        link.counters.round_trips.observe(took)

    def _report(self) -> None:
        """Warn, but not each time."""
        now = self._link.wiring.loop.time()
        if now - self._reported_at < (PROBE_REPORT if self._healthy else PROBE_REPORT_ILL):
            return
        self._reported_at = now
        names = {"remote_peer_id": f"{self._link.peer_id:x}", "rtt": f"{self._link.counters.round_trip:.6f}s"}
        if not self._healthy:
            log.warn("prober detected unhealthy status", error=self._error, **names)
        elif abs(self._clock_difference) > CLOCK_DIFFERENCE:
            log.warn("prober found high clock drift", clock_drift=f"{self._clock_difference:.6f}s", **names)


def answer(now: float) -> bytes:
    """What a probed member says at `now`, in Unix seconds."""
    whole, part = divmod(int(now * 1e9), 1_000_000_000)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{part:09d}".rstrip("0").rstrip(".")
    return f'{{"OK":true,"Now":"{text}{fraction}Z"}}\n'.encode()


def parse_answer(body: bytes) -> float:
    """What the clock of a probed member said, in Unix seconds. Raises ValueError."""
    try:
        found = json.loads(body)
        if found["OK"] is not True:
            raise ValueError("the member says that it is not well")
        return datetime.fromisoformat(found["Now"]).timestamp()
    except (KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"no answer to a probe: {body[:80]!r}") from error
