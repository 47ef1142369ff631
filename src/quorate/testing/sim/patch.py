"""Putting something else in the place of a part of a program, and taking it back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


class Patch:
    """What was replaced, until `undo`."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def attribute(self, owner: Any, name: str, value: object) -> Any:
        """Replace an attribute that `owner`, a class or a module, has itself; what was there."""
        before = vars(owner)[name]
        setattr(owner, name, value)
        self._undo.append(partial(setattr, owner, name, before))
        return before

    def item(self, owner: dict[Any, Any], key: object, value: object) -> Any:
        """Replace the value of a key; what was there."""
        before = owner[key]
        owner[key] = value
        self._undo.append(partial(owner.__setitem__, key, before))
        return before

    def undo(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()
