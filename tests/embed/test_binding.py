"""URLs into bound sockets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from quorate.embed.binding import bind, release


def test_a_path_left_behind_is_replaced_and_one_that_is_served_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    url = f"unix://{path}"
    bind(url).close()
    assert path.exists()
    served = bind(url)
    with pytest.raises(OSError, match=f"^\\[Errno 98\\] listen unix {path}: bind: address already in use$"):
        bind(url)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
    release(url, served)
    assert not path.exists()


def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for path, words in (("x" * 200, "path too long"), (f"{tmp_path}/nowhere/s", "no such file or directory")):
        with pytest.raises(OSError, match=words):
            bind(f"unix://{path}")


def test_a_taken_port_is_named() -> None:
    held = bind("http://127.0.0.1:0")
    port = held.getsockname()[1]
    with pytest.raises(OSError, match=f"listen tcp 127.0.0.1:{port}: bind: address already in use"):
        bind(f"http://localhost:{port}")
    held.close()
