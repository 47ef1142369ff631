"""Bytes of a stream until there are enough of them to go on."""

from __future__ import annotations


class Intake:
    """Collects pieces; joins them once, however many it takes until what was asked for is whole."""

    __slots__ = ("_have", "_need", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._have = 0
        self._need = 1

    def add(self, piece: bytes) -> bytes | None:
        """Everything not consumed yet, when that is as much as was asked for."""
        if not self._have and len(piece) >= self._need:
            return piece
        self._pieces.append(piece)
        self._have += len(piece)
        if self._have < self._need:
            return None
        whole = b"".join(self._pieces)
        self._pieces.clear()
        self._have = 0
        return whole

    def keep(self, data: bytes, at: int, need: int) -> None:
        """`data` is consumed up to `at`; ask for `need` bytes from there."""
        if at < len(data):
            self._pieces.append(data[at:] if at else data)
            self._have = len(data) - at
        self._need = need
