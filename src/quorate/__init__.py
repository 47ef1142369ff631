"""Quorate: etcd in Python. The building is drawn in docs/architecture/README.md.

`quorate.connect(...)` makes a client (`quorate.client`), `quorate.embed` a member in this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quorate.client import connect as connect

__all__ = ["connect"]


def __getattr__(name: str) -> Any:
    """Import the client when it is asked for: a server needs none."""
    if name == "connect":
        from quorate.client import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
