"""URLs into bound sockets, and what is left of them away again."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from quorate.pkg.urls import host_port, unix_path


def bind(url: str, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket at the host and port of `url`, or at its path. Raises OSError in the words of the listen call.

    With `reuse_port` others that say so too may listen at the same port. At a path, what another member has left
    behind is replaced; one that is served is not.
    """
    path = unix_path(url)
    if path is None:
        host, port = host_port(url)
        if host == "localhost":
            host = "127.0.0.1"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return _bind(family, (host, port), f"tcp {host}:{port}", reuse_port)
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)
        raise OSError(errno.EADDRINUSE, f"listen unix {path}: bind: address already in use")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return _bind(socket.AF_UNIX, path, f"unix {path}")


def release(url: str, bound: socket.socket) -> None:
    """Close a socket of `bind`, if that has not been done; its path goes too."""
    bound.close()
    path = unix_path(url)
    if path is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _bind(family: int, where: tuple[str, int] | str, words: str, reuse_port: bool = False) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    if family != socket.AF_UNIX:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind(where)
        bound.listen()
    except OSError as err:
        bound.close()
        known = "address already in use" if err.errno == errno.EADDRINUSE else os.strerror(err.errno or 0).lower()
        raise OSError(err.errno, f"listen {words}: bind: {known if err.errno else err}") from None
    bound.setblocking(False)
    return bound
