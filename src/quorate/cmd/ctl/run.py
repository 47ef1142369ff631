"""One run of one command: what was asked, what it may use, how it answers."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.failures import BAD_ARGS, BAD_CONNECTION, BAD_FEATURE, CallFail, Fail
from quorate.cmd.ctl.globals import debug_lines, take_environment
from quorate.cmd.ctl.show import FORMATS, json_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ssl import SSLContext

    from quorate.api.plain import Message
    from quorate.cmd.ctl.flags import Parsed
    from quorate.cmd.ctl.rpc import Client
    from quorate.cmd.ctl.show import Line, Lines


class Settings:
    """How to connect. Raises Fail for settings that nobody can connect with."""

    def __init__(self, values: Mapping[str, Any], given: set[str]) -> None:
        for name in ("cert", "key", "cacert"):
            if name in given and not values[name]:
                raise Fail(BAD_ARGS, f"empty string is passed to --{name} option")
        self.dial_timeout: float = values["dial-timeout"]
        self.keepalive_time: float = values["keepalive-time"]
        self.keepalive_timeout: float = values["keepalive-timeout"]
        self.cert, self.key, self.cacert = values["cert"], values["key"], values["cacert"]
        self.skip_verify: bool = values["insecure-skip-tls-verify"]
        self.insecure_transport: bool = values["insecure-transport"]
        self._context: SSLContext | None = None
        if self.encrypted:
            self.tls_context()

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken where the endpoint does not say."""
        return bool(self.cert or self.key or self.cacert or self.skip_verify or not self.insecure_transport)

    def tls_context(self) -> SSLContext:
        """Raises Fail."""
        if self._context is None:
            from quorate.cmd.ctl.tls import context

            self._context = context(self)
        return self._context


class Run:
    """`args` are the words that are no flags, `flags` the values of all flags by name, `given` those that were set."""

    def __init__(self, parsed: Parsed, environ: Mapping[str, str]) -> None:
        self.parsed = parsed
        self.args = parsed.args
        self.flags = parsed.values
        self.given = parsed.given
        self.environ = environ
        self._client: Client | None = None
        self._settings: Settings | None = None
        self._introduced = False
        self._format = ""

    @property
    def hex(self) -> bool:
        return bool(self.flags["hex"])

    @property
    def format(self) -> str:
        """What answers are written in. Raises Fail for one that does not exist."""
        if not self._format:
            asked = self.flags["write-out"]
            if asked not in FORMATS:
                raise Fail(BAD_FEATURE, "unsupported output format")
            self._format = asked
        return self._format

    def client(self) -> Client:
        """The connection, made and logged in when first asked for. Raises Fail."""
        client = self.stranger()
        if not self._introduced:
            from quorate.cmd.ctl.dial import introduce

            introduce(client, self, self.settings)
            self._introduced = True
            _ = self.format
        return client

    def stranger(self) -> Client:
        """The connection, not logged in unless `client` has done so. Raises Fail."""
        if self._client is None:
            from quorate.cmd.ctl.dial import connect

            take_environment(self.parsed, self.environ)
            if self.flags["debug"]:
                self.warn(*debug_lines(self.flags))
            self._settings = Settings(self.flags, self.given)
            self._client = connect(self, self._settings)
            gc.enable()
        return self._client

    def another_client(self) -> Client:
        """A connection of its own for another thread, with the same token."""
        from quorate.cmd.ctl.endpoints import Endpoint
        from quorate.cmd.ctl.rpc import Client

        first = self.client()
        return Client([Endpoint(one.text, self.settings) for one in first.endpoints], first.timeout, first.token)

    @property
    def settings(self) -> Settings:
        """How to connect. Raises Fail."""
        self.stranger()
        assert self._settings is not None
        return self._settings

    def show(
        self,
        reply: Message | None,
        *,
        simple: Callable[[], Lines] | None = None,
        fields: Callable[[], Lines] | None = None,
        table: Callable[[], Lines] | None = None,
        json: Callable[[], Any] | None = None,
        protobuf: Callable[[], bytes] | None = None,
    ) -> None:
        """Print an answer. JSON and protobuf are made from the message unless told otherwise. Raises Fail when the
        command does not have the format."""
        form = self.format
        if form == "json":
            if json is None and reply is None:
                raise self.no_format()
            self.print(json_of(reply if json is None else json()))
        elif form == "protobuf":
            if protobuf is None and reply is None:
                raise self.no_format()
            self.write(protobuf() if protobuf is not None else _raw(reply))
        else:
            lines = {"simple": simple, "fields": fields, "table": table}[form]
            if lines is None:
                raise self.no_format()
            self.print(*lines())

    def no_format(self) -> Fail:
        """The error of a format that the command does not have."""
        return Fail(BAD_FEATURE, f"{self.format} not supported as output format")

    def print(self, *lines: Line) -> None:
        """Write lines to stdout."""
        self.write(b"".join(_bytes(line) + b"\n" for line in lines))

    def write(self, data: bytes) -> None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def warn(self, *lines: Line) -> None:
        """Write lines to stderr."""
        sys.stderr.flush()
        sys.stderr.buffer.write(b"".join(_bytes(line) + b"\n" for line in lines))
        sys.stderr.buffer.flush()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def as_bytes(word: str) -> bytes:
    """A word of the command line as the bytes that were typed."""
    return os.fsencode(word)


def _raw(reply: Message | None) -> bytes:
    assert reply is not None
    return reply.raw


def _bytes(line: Line) -> bytes:
    return line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")


def connection_failure(fail: CallFail) -> Fail:
    """A call that failed while the connection was made."""
    return Fail(BAD_CONNECTION, fail.text)
