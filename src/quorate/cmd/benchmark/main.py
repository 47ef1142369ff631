"""`etcd-benchmark`: from the command line to the report.

Ctrl-C ends a run early: the report is of what was done.

Exit codes: 0 when the run came to its end, errors of requests or not; 1 when it could not begin, or missed a goal that
was set with --slo-throughput or --slo-latency; 255 for a command line that cannot be read.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from quorate.cmd.benchmark import cluster, flags, local
from quorate.cmd.benchmark.fleet import Fleet, LoadFailed, Outcome
from quorate.cmd.benchmark.goal import Goal
from quorate.cmd.benchmark.plan import Plan
from quorate.cmd.benchmark.report import describe, plain
from quorate.transport.grpc import Status

TRAILING_LINE = ("put", "txn-put", "mvcc put")
"""Commands whose output ends with an empty line."""
TITLES = {
    "create": "Watch creation summary:\n",
    "event": "Watch events received summary:\n",
    "get": "Get during watch summary:\n",
}
LATENCY_TITLES = {"put": "\nPut summary:\n", "event": "\nWatch events summary:\n"}
ALONE = ("watch", "watch-get", "watch-latency")
"""Commands whose puts and watchers must share a process."""


def main() -> None:
    """Entry point of the console script."""
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; the exit code."""
    try:
        command, positional, values = flags.parse(arguments)
    except flags.HelpWanted as wanted:
        _print(flags.usage(str(wanted)))
        return 0
    except flags.UsageError as error:
        _complain(f"Error: {error}\n{flags.usage(error.command)}\n{error}")
        return 255
    if not command:
        _print(flags.usage(""))
        return 0
    settings = {name.replace("-", "_"): value for name, value in values.items()}
    settings["tls_key"] = settings.pop("key")  # the argument of `range` is a key, too
    refusal = _refusal(command, positional, settings)
    if refusal is not None:
        _complain(refusal)
        return 1
    try:
        outcome = local.put(settings) if command == "mvcc put" else _load(command, positional, settings)
    except LoadFailed as error:
        _complain(str(error))
        return 1
    return _report(command, settings, outcome)


def _refusal(command: str, positional: list[str], settings: dict[str, Any]) -> str | None:
    """Why these settings make no run; None when they do."""

    def positive(name: str) -> str | None:
        value = settings.get(name.replace("-", "_"), 1)
        return None if value > 0 else f"expected positive --{name}, got ({value})"

    found = positive("conns") or positive("clients")
    if command == "range":
        if not 1 <= len(positional) <= 2 or settings["consistency"] not in ("l", "s"):
            found = flags.usage(command) + "<nil>"
    elif positional:
        found = f"unexpected arguments: {' '.join(positional)}"
    elif command == "stm":
        found = found or _stm_refusal(settings)
    else:
        found = found or positive("key-space-size") or positive("streams") or positive("watched-key-total")
        ops, space = settings.get("txn_ops", 1), settings.get("key_space_size", 1)
        if found is None and command == "txn-put" and ops > space:
            found = f"expected --txn-ops no larger than --key-space-size, got txn-ops({ops}) key-space-size({space})"
        if found is None and command == "txn-mixed" and settings["consistency"] not in ("l", "s"):
            found = flags.usage(command) + "<nil>"
    if found is None and command in ALONE and settings["processes"] != 1:
        found = f"{command} runs in one process, got --processes={settings['processes']}"
    return found


def _stm_refusal(settings: dict[str, Any]) -> str | None:
    keys, touched, percent = settings["keys"], settings["keys_per_txn"], settings["txn_wr_percent"]
    if keys <= 0:
        return f"expected positive --keys, got ({keys})"
    if not 0 <= percent <= 100:
        return f"expected [0, 100] --txn-wr-percent, got ({percent})"
    if not 0 <= touched <= keys:
        return f"expected --keys-per-txn between 0 and {keys}, got ({touched})"
    if settings["isolation"] not in ("c", "r", "s", "ss"):
        return f"unexpected --isolation {settings['isolation']!r}: one of c, r, s, ss"
    if settings["stm_locker"] not in ("stm", "lock-client", "lock-rpc"):
        return f"unexpected --stm-locker {settings['stm_locker']!r}: one of stm, lock-client, lock-rpc"
    return None


def _load(command: str, positional: list[str], settings: dict[str, Any]) -> Outcome:
    """Load the members. Raises LoadFailed."""
    if command == "range":
        settings["key"], settings["end_range"] = positional[0], positional[1] if len(positional) > 1 else ""
    if command == "watch-latency" and settings["total"]:
        settings["put_total"] = settings["total"]
    plan = asyncio.run(_prepared(command, settings))
    if command in ("range", "txn-mixed") and not settings["json"]:
        _print(f"bench with {'linearizable' if settings['consistency'] == 'l' else 'serializable'} range\n")
    with Fleet(plan, settings["processes"] or os.cpu_count() or 1) as fleet:
        before = signal.signal(signal.SIGINT, lambda *_: fleet.stop())
        try:
            outcome = fleet.run(_progress_bar())
        finally:
            signal.signal(signal.SIGINT, before)
    if settings.get("check_hashkv"):
        settings["hash"] = asyncio.run(cluster.hash_of(plan))
    return outcome


async def _prepared(command: str, settings: dict[str, Any]) -> Plan:
    """The plan, with the leader's addresses and a token if wanted. Raises LoadFailed."""
    password = settings.pop("user")
    plan = Plan(
        command=command,
        endpoints=settings["endpoints"],
        settings=settings,
        conns=settings["conns"],
        clients=settings["clients"],
        ca=settings["cacert"],
        cert=settings["cert"],
        key=settings.pop("tls_key"),
        insecure=settings["insecure_skip_tls_verify"],
        dial_timeout=settings["dial_timeout"],
        sample=settings["sample"],
    )
    if password and ":" not in password:
        password += ":" + getpass.getpass("Password: ")
    try:
        return await cluster.prepared(plan, password, settings["target_leader"])
    except Status as status:
        raise LoadFailed(status.message) from None


def _progress_bar() -> Callable[[int, int], None] | None:
    """Shows how far the run is, where a person looks on."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        share = f"{100 * done / total:7.2f}%" if total else ""
        sys.stderr.write(f"\r {done} / {total} {share}" + ("\n" if done >= total else ""))
        sys.stderr.flush()

    return show


def _report(command: str, settings: dict[str, Any], outcome: Outcome) -> int:
    goal = Goal(settings["slo_throughput"], settings["slo_latency"])
    judged = [goal.judge(results) for results in outcome.sections]
    wanted = bool(goal.throughput or goal.latency)
    if settings["json"]:
        found: dict[str, Any] = {"command": command, "sections": [plain(results) for results in outcome.sections]}
        found["generator"] = {"cpu_seconds": outcome.cpu, "busy": outcome.busy}
        if wanted:
            found["service_level"] = [level for _, level in judged]
        if "hash" in settings:
            found["hashkv"] = settings["hash"]
        _print(json.dumps(found, indent=2) + "\n")
    else:
        titles = LATENCY_TITLES if command == "watch-latency" else TITLES
        for results, (text, _) in zip(outcome.sections, judged, strict=True):
            if results.name not in titles and command == "watch":
                continue  # its puts are told in JSON only
            if command == "txn-mixed":
                _print(f"Total {results.name.title()} Ops: {len(results.seconds)}\nDetails:")
            _print(titles.get(results.name, ""))
            _print(describe(results, precise=settings["precise"], sample=settings["sample"]))
            _print(text if wanted else "")
        _print("\n" if command in TRAILING_LINE else "")
        if "hash" in settings:
            _print(cluster.describe_hash(settings["hash"]))
    return 0 if not wanted or all(level["met"] for _, level in judged) else 1


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(text.rstrip("\n") + "\n")
