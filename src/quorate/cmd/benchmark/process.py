"""One process of the load: a plan on its standard input, what it saw on its standard output, a JSON object a line.

It says `ready` when its connections stand, and starts at the next line of its input, so that several start together;
one more line, or the end of its input, has it begin no more requests and report what it has.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import signal
import ssl
import sys
import time
from array import array
from typing import Any

import uvloop

from quorate.client.endpoints import parse_endpoints
from quorate.client.tls import Tls
from quorate.cmd.benchmark import stm, unary, watches
from quorate.cmd.benchmark.plan import Plan
from quorate.cmd.benchmark.unary import Job, Section
from quorate.cmd.benchmark.wire import Wire
from quorate.transport.grpc import Status

JOBS: dict[str, type[Job]] = {
    "put": unary.Put,
    "range": unary.Range,
    "txn-put": unary.TxnPut,
    "txn-mixed": unary.TxnMixed,
    "lease-keepalive": unary.LeaseKeepAlive,
    "stm": stm.Stm,
    "watch": watches.Watch,
    "watch-latency": watches.WatchLatency,
    "watch-get": watches.WatchGet,
}
PROGRESS_SECONDS = 0.2


def say(**what: Any) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class CannotConnect(Exception):
    """No connections can be had; the text says why."""


def ssl_context(plan: Plan) -> ssl.SSLContext:
    """Raises OSError, ssl.SSLError."""
    tls = Tls(plan.ca or None, plan.cert or None, plan.key or None, insecure_skip_verify=plan.insecure)
    made = tls.context()
    made.set_alpn_protocols(["h2"])
    return made


async def open_wires(plan: Plan) -> list[Wire]:
    """Connections of this process; the k-th of all goes to endpoint k mod n. Raises CannotConnect."""
    try:
        endpoints = parse_endpoints(plan.endpoints, bool(plan.ca or plan.cert))
        context = ssl_context(plan) if any(endpoint.encrypted for endpoint in endpoints) else None
    except ValueError as error:
        raise CannotConnect(str(error)) from None
    except OSError as error:
        raise CannotConnect(f"bad tls config: {error}") from None
    wires = [Wire(endpoints[k % len(endpoints)], context, plan.token) for k in plan.own_conns()]
    try:
        await asyncio.gather(*(wire.connect(plan.dial_timeout) for wire in wires))
    except (OSError, TimeoutError) as error:
        raise CannotConnect(f"dial error: {str(error) or 'context deadline exceeded'}") from None
    return wires


async def run(plan: Plan) -> None:
    """The whole life of the process."""
    try:
        wires = await open_wires(plan)
    except CannotConnect as error:
        say(error=str(error))
        return
    job = JOBS[plan.command](plan, wires)
    try:
        await job.prepare()
        say(ready=True)
        await asyncio.to_thread(sys.stdin.readline)
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _stop, job)
        gc.collect()
        gc.disable()
        progress = asyncio.create_task(_tell_progress(job.sections))
        cpu, begun = time.process_time(), time.perf_counter()
        await job.run()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - begun
        progress.cancel()
    except Status as status:
        say(error=status.message)
        return
    _say_done(job.sections)
    say(sections=[_plain(section) for section in job.sections], cpu=cpu, wall=wall)
    for wire in wires:
        wire.close()


def _stop(job: Job) -> None:
    """The parent says stop, or is gone."""
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    job.stopped = True


async def _tell_progress(sections: list[Section]) -> None:
    while True:
        _say_done(sections)
        await asyncio.sleep(PROGRESS_SECONDS)


def _say_done(sections: list[Section]) -> None:
    say(done=sum(s.tally.done for s in sections), total=sum(s.total for s in sections))


def _plain(section: Section) -> dict[str, Any]:
    tally = section.tally
    return {
        "name": section.name,
        "elapsed": section.elapsed,
        "seconds": _pack(tally.seconds),
        "ends": _pack(tally.ends),
        "errors": tally.errors,
    }


def _pack(numbers: array[float]) -> str:
    return base64.b64encode(numbers.tobytes()).decode()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says stop
    uvloop.run(run(Plan.decode(sys.stdin.readline())))


if __name__ == "__main__":
    main()
