"""`make-mirror`: the keys of one cluster in another one, all that are there, then every change as it happens."""

from __future__ import annotations

import threading
from itertools import groupby
from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.dial import credentials, log_in
from quorate.cmd.ctl.endpoints import Endpoint
from quorate.cmd.ctl.failures import BAD_ARGS, ERROR, Fail
from quorate.cmd.ctl.flags import BOOL, INT, STRING, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.rpc import Client
from quorate.cmd.ctl.run import Settings, as_bytes
from quorate.cmd.ctl.watching import Watching
from quorate.pkg.key_prefix import prefix_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quorate.api.plain import Message
    from quorate.cmd.ctl.run import Run

PAGE = 1000
"""Keys that are copied at once."""
REPORT_SECONDS = 30.0
DELETED = 1


class Mirror:
    """Copies keys that begin with `prefix`, and puts `to` in its place."""

    def __init__(self, source: Client, target: Client, prefix: bytes, to: bytes, max_ops: int) -> None:
        self.done = 0
        """Operations on the target."""
        self._source, self._target = source, target
        self._prefix, self._to = prefix, to
        self._max_ops = max_ops

    def copy(self) -> int:
        """Copy all keys as they are at one revision; the revision."""
        revision, key = 0, self._prefix or b"\0"
        while True:
            reply = self._source.call(
                "Range", key=key, range_end=prefix_end(self._prefix), limit=PAGE, revision=revision
            )
            revision = revision or reply.header.revision
            for kv in reply.kvs:
                self._target.call("Put", key=self._renamed(kv.key), value=kv.value)
                self.done += 1
            if not reply.more:
                return revision
            key = reply.kvs[-1].key + b"\0"

    def follow(self, revision: int) -> None:
        """Do every change from a revision on, until the watch ends. What changed together changes together. Raises
        Fail."""
        watching = Watching(self._source)
        request = {"key": self._prefix or b"\0", "range_end": prefix_end(self._prefix), "start_revision": revision}
        watching.add(request, [])
        for told in watching.events():
            if told.cancelled:
                raise Fail(ERROR, told.reason)
            for _, changes in groupby(told.message.events, lambda event: event.kv.mod_revision):
                for ops in _portions(list(changes), self._max_ops):
                    self._target.call("Txn", success=[self._op(event) for event in ops])
                    self.done += len(ops)

    def _op(self, event: Message) -> dict[str, Any]:
        key = self._renamed(event.kv.key)
        if event.type == DELETED:
            return {"request_delete_range": {"key": key}}
        return {"request_put": {"key": key, "value": event.kv.value}}

    def _renamed(self, key: bytes) -> bytes:
        return key.replace(self._prefix, self._to, 1) if self._prefix else self._to + key


def _portions(events: list[Message], size: int) -> Iterator[list[Message]]:
    for start in range(0, len(events), size):
        yield events[start : start + size]


def _make_mirror(run: Run) -> None:
    flags = run.flags
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, "make-mirror takes one destination argument")
    if flags["dest-prefix"] and flags["no-dest-prefix"]:
        text = "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one"
        raise Fail(BAD_ARGS, text)
    prefix, to = as_bytes(flags["prefix"]), as_bytes(flags["dest-prefix"])
    if not to and not flags["no-dest-prefix"]:
        to = prefix
    mirror = Mirror(run.client(), _destination(run), prefix, to, max(flags["max-txn-ops"], 1))
    _report(run, mirror)
    # A revision that is given is where the copy was made already.
    revision = flags["rev"] if flags["rev"] else mirror.copy() + 1
    mirror.follow(revision)
    raise Fail(ERROR, "the watch of the source has ended")


def _destination(run: Run) -> Client:
    """The client of the other cluster. Raises Fail."""
    values = dict(run.flags)
    for name in ("cacert", "cert", "key", "insecure-transport", "user", "password"):
        values[name] = run.flags[f"dest-{name}"]
    given = {name.removeprefix("dest-") for name in run.given if name.startswith("dest-")}
    settings = Settings(values, given)
    client = Client([Endpoint(text, settings) for text in run.args[0].split(",")], values["command-timeout"])
    user, password = credentials(values["user"], values["password"])
    if user:
        log_in(client, user, password, settings.dial_timeout)
    return client


def _report(run: Run, mirror: Mirror) -> None:
    """Print from time to time how much was done."""

    def tell() -> None:
        while not ended.wait(REPORT_SECONDS):
            run.print(str(mirror.done))

    ended = threading.Event()
    threading.Thread(target=tell, daemon=True).start()


FLAGS = (
    Flag("dest-cacert", STRING, "", "whom to believe at the destination: a file of CA certificates"),
    Flag("dest-cert", STRING, "", "the TLS certificate for the destination"),
    Flag("dest-insecure-transport", BOOL, True, "connect to the destination without TLS"),
    Flag("dest-key", STRING, "", "the key to the TLS certificate for the destination"),
    Flag("dest-password", STRING, "", "password for the destination (--dest-user is then the name alone)"),
    Flag("dest-prefix", STRING, "", "what keys begin with at the destination, in place of --prefix"),
    Flag("dest-user", STRING, "", "name[:password] for the destination (asks for a password that is not given)"),
    Flag("max-txn-ops", INT, 128, "how many changes to do in one transaction at most"),
    Flag("no-dest-prefix", BOOL, False, "leave --prefix out at the destination"),
    Flag("prefix", STRING, "", "what the keys begin with that are copied"),
    Flag("rev", INT, 0, "copy nothing, and do the changes from this revision on"),
)
COMMANDS = {"make-mirror": Command("make-mirror [options] <destination>", _make_mirror, FLAGS)}
