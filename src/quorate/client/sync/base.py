"""What all twins are: an async object and the portal through which it is reached."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from quorate.client.sync.portal import Portal, current

A = TypeVar("A")


class Twin(Generic[A]):
    """Two twins are equal when they stand for the same object."""

    _inner: A
    _portal: Portal

    @classmethod
    def _of(cls, inner: A, portal: Portal | None = None) -> Self:
        twin = cls.__new__(cls)
        twin._stand_for(inner, portal)
        return twin

    def _stand_for(self, inner: A, portal: Portal | None = None) -> None:
        self._inner = inner
        self._portal = portal or current()

    def _self_or(self, inner: A) -> Self:
        """The twin of what a method returned: mostly that is the object itself."""
        return self if inner is self._inner else self._of(inner, self._portal)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Twin) and other._inner is self._inner

    def __hash__(self) -> int:
        return id(self._inner)
