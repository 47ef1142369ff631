"""Where members listen: addresses as people write them, and the connection to each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.transport.grpc.blocking import BlockingChannel

if TYPE_CHECKING:
    from ssl import SSLContext

    from quorate.cmd.ctl.run import Settings

SCHEMES = {"http": False, "https": True, "unix": False, "unixs": True}


class Endpoint:
    """One endpoint; connects when its channel is first used."""

    def __init__(self, text: str, settings: Settings) -> None:
        self.text = text
        self._settings = settings
        self._channel: BlockingChannel | None = None

    def channel(self) -> BlockingChannel:
        """The connection to it, not shared with other threads."""
        if self._channel is None:
            self._channel = self._connect()
        return self._channel

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _connect(self) -> BlockingChannel:
        host, port, encrypted = parse(self.text, self._settings.encrypted)
        tls: SSLContext | None = self._settings.tls_context() if encrypted else None
        return BlockingChannel(
            host,
            port,
            tls=tls,
            server_name="localhost" if not port else host,
            connect_timeout=self._settings.dial_timeout,
            # grpc-go probes no sooner than after ten seconds of silence.
            keepalive_time=max(self._settings.keepalive_time, 10.0) if self._settings.keepalive_time > 0 else 0.0,
            keepalive_timeout=self._settings.keepalive_timeout,
        )


def parse(text: str, encrypted: bool) -> tuple[str, int, bool]:
    """Host, port and whether with TLS; port 0 for a Unix socket, whose path is then the host. `encrypted` decides where
    the text does not say."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    elif scheme in SCHEMES:
        encrypted = SCHEMES[scheme] or (encrypted and scheme == "unix")
    if scheme in ("unix", "unixs"):
        return rest, 0, encrypted
    rest = rest.partition("/")[0]
    host, colon, port = rest.rpartition(":")
    if not colon or not port.isdigit():
        return rest.strip("[]"), 443, encrypted
    return host.strip("[]"), int(port), encrypted
