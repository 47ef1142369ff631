"""`etcd`: run a member. Flags, environment, signals, exit codes.

Exit codes: 0 after --help and --version, 1 when the member cannot start or must stop, 2 for a command line that cannot
be read. After SIGINT or SIGTERM the process ends by that signal, once the member has stopped cleanly.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import uvloop

from quorate.cmd.flags import build_flags
from quorate.cmd.process import (
    catch_signals,
    end_by,
    let_signals_kill,
    lock_memory,
    share_io_priority,
    take_name,
    tell_service_manager,
)
from quorate.cmd.settings import ConfigFileError, Settings, ShadowedVariable, read_settings
from quorate.cmd.wakefulness import Wakefulness
from quorate.embed import Config, ConfigError, Etcd
from quorate.embed.config import DEFAULT_PEER_URL
from quorate.pkg import jsonlog
from quorate.pkg.goflag import FlagError, FlagSet, HelpRequested
from quorate.pkg.logrotate import parse_rotation
from quorate.server import MemberRemoved
from quorate.version import ETCD_VERSION, QUORATE_VERSION

log = jsonlog.get_log("quorate.cmd.etcd")

USAGE = """Usage:

  etcd [flags]
    Start an etcd server.

  etcd --version
    Show the version of etcd.

  etcd -h | --help
    Show the help information about etcd.

  etcd gateway start [flags]
    Carry TCP connections to the members of a cluster.

  etcd grpc-proxy start [flags]
    Serve the API for the members of a cluster, with watches, renewals and reads of many clients made one.
"""


def main() -> None:
    """Entry point of the console script."""
    take_name()
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command to its end; returns the exit code."""
    if arguments[:1] in (["gateway"], ["grpc-proxy"]):
        return _run_proxy(arguments[0], arguments[1:])
    flags = build_flags()
    try:
        given = flags.parse(arguments)
    except HelpRequested:
        print(USAGE, file=sys.stderr)  # noqa: T201
        print(flags.usage())  # noqa: T201
        return 0
    except FlagError as err:
        if "is not a valid flag" in str(err):
            return _refuse(str(err))
        print(f"{err}\n{USAGE}", file=sys.stderr)  # noqa: T201
        return 2
    if given.pop("version", False):
        print(version_text())  # noqa: T201
        return 0
    settings = _read(flags, given, environment)
    if isinstance(settings, int):
        return settings
    config = settings.config
    try:
        config.check_logging()
        rotation = parse_rotation(config.log_rotation_config_json) if config.enable_log_rotation else None
        jsonlog.configure(config.log_level, config.log_outputs, config.log_format, rotation, config.log_package_levels)
    except (ConfigError, OSError) as err:
        return _refuse(str(err), 2 if "unrecognized level" in str(err) else 1)
    for line in settings.lines:
        line.write(log)
    return _start(config, arguments)


def _read(flags: FlagSet, given: Mapping[str, Any], environment: Mapping[str, str]) -> Settings | int:
    """The settings, or the exit code when there are none; then why is told."""
    try:
        return read_settings(flags, given, environment)
    except ShadowedVariable as err:
        jsonlog.configure("info", ["default"])
        log.fatal(
            "conflicting environment variable is shadowed by corresponding command-line flag "
            "(either unset environment variable or disable flag))",
            environment_variable=str(err),
        )
        return 1
    except ConfigFileError as err:
        if not err.plain:
            return _refuse(str(err), err.code)
        print(err, file=sys.stderr)  # noqa: T201
        return err.code
    except (FlagError, ConfigError) as err:
        return _refuse(str(err))


def version_text() -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return "\n".join(
        [
            f"etcd Version: {ETCD_VERSION}",
            f"Git SHA: none (Quorate {QUORATE_VERSION})",
            f"Python Version: {platform.python_version()}",
            f"Python OS/Arch: {sys.platform}/{machine}",
        ]
    )


def _refuse(text: str, code: int = 1) -> int:
    """Say why the member will not start, as a log line, and give the exit code."""
    jsonlog.configure("info", ["default"])
    log.warn("failed to verify flags", error=text)
    return code


def _start(config: Config, arguments: Sequence[str]) -> int:
    log.info("Running: ", args=["etcd", *arguments])
    try:
        if config.memory_mlock:
            lock_memory()
    except OSError as err:
        log.fatal("failed to start etcd", error=str(err))
        return 1
    try:
        return uvloop.run(_serve(config))
    except ConfigError as err:
        log.warn("failed to verify flags", error=str(err))
        for hint in _hints(config, str(err)):
            log.warn(hint)
        return 1


def _hints(config: Config, error: str) -> list[str]:
    """What may have been forgotten, where it was the members that did not fit together."""
    if "--advertise-client-urls is required" in error:
        return ["advertise client URLs are not set"]
    if "initial-cluster" not in error and "initial cluster" not in error:
        return []
    hints = []
    if not config.initial_cluster:
        hints.append("forgot to set --initial-cluster?")
    if config.initial_advertise_peer_urls == [DEFAULT_PEER_URL]:
        hints.append("forgot to set --initial-advertise-peer-urls?")
    if not config.discovers:
        hints.append("discovery is not set: neither --discovery-srv nor --discovery-token and --discovery-endpoints")
    return hints


async def _serve(config: Config) -> int:
    """Start the member and stay until a signal or a failure ends it."""
    with catch_signals() as signals:
        return await _serve_until(config, asyncio.ensure_future(signals.get()))


async def _serve_until(config: Config, received: asyncio.Future[signal.Signals]) -> int:
    gc.disable()  # a start makes many things that stay
    member = Etcd(config)
    starting = asyncio.ensure_future(member.start())
    await asyncio.wait((received, starting), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():  # it may wait for the other members, or for who knows them
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await starting
        return end_by(received.result())
    try:
        starting.result()
    except ConfigError:
        raise
    except Exception as err:
        log.fatal("failed to start etcd", error=str(err) or type(err).__name__, kind=type(err).__name__)
        with contextlib.suppress(Exception):
            await member.stop()
        return 1
    _calm_collector()
    wakefulness = Wakefulness(lambda: member.work_done) if config.keep_processors_awake else None
    tell_service_manager("READY=1", os.environ)
    sharing = asyncio.ensure_future(share_io_priority())
    await asyncio.wait((received, member.failed), return_when=asyncio.FIRST_COMPLETED)
    if wakefulness is not None:
        wakefulness.close()
    sharing.cancel()
    if member.failed.done():
        received.cancel()
        if isinstance(member.failed.exception(), MemberRemoved):
            await member.abort()
            return 0
        log.fatal("member stopped by an error", error=str(member.failed.exception()))
        await member.abort()
        return 1
    ended_by = received.result()
    log.info("received signal; shutting down", signal=ended_by.name)
    tell_service_manager("STOPPING=1", os.environ)
    let_signals_kill()
    await member.stop()
    return end_by(ended_by)


def _calm_collector() -> None:
    """Nearly all of this process is freed by reference counts. What is here now stays, so the collector need not look
    at it again, and it need not look often at what comes: fewer pauses, a few percent more throughput."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    gc.enable()


def _run_proxy(name: str, arguments: Sequence[str]) -> int:
    if name == "gateway":
        from quorate.cmd.gateway import run as run_gateway

        return run_gateway(arguments)
    from quorate.cmd.grpc_proxy import run as run_grpc_proxy

    return run_grpc_proxy(arguments)


if __name__ == "__main__":
    main()
