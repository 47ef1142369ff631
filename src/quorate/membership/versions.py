"""Versions of releases and clusters, and which step from one to another is allowed.

All members agree on one cluster version: the lowest release among them, as X.Y.0. It rises as soon as the last old
member is replaced; it is lowered, one minor at a time, only by a downgrade job.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from quorate.storage.schema import Downgrade

_FULL = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:[-+][0-9A-Za-z.+-]+)?")
_SHORT = re.compile(r"(\d{1,9})\.(\d{1,9})")


class Minor(NamedTuple):
    """A release without its patch: all that compatibility depends on."""

    major: int
    minor: int

    def __str__(self) -> str:
        """As a cluster version is written, X.Y.0."""
        return f"{self.major}.{self.minor}.0"

    def short(self) -> str:
        """X.Y."""
        return f"{self.major}.{self.minor}"

    def below(self) -> Minor:
        """The release that a downgrade from this one may go to."""
        return Minor(self.major, self.minor - 1)


MIN_CLUSTER_VERSION = Minor(3, 0)
"""Decided when a new cluster must begin before all its members can be asked; the lowest one that can be joined."""


class ClusterVersionTooHigh(Exception):
    """The cluster has moved on to a version that this release does not know; its state must not be touched."""


def parse_version(text: str) -> Minor:
    """Major and minor of "X.Y.Z", with or without a suffix such as -alpha.0. Raises ValueError."""
    return _parse(_FULL, text)


def parse_target(text: str) -> Minor:
    """As `parse_version`; "X.Y" will do as well. Raises ValueError."""
    return _parse(_SHORT if _SHORT.fullmatch(text) else _FULL, text)


def check_not_above(version: str | None, own: str) -> None:
    """A release must not run in a cluster of a later version. Raises ClusterVersionTooHigh, ValueError."""
    if version is not None and parse_version(own) < parse_version(version):
        raise ClusterVersionTooHigh(
            "invalid downgrade; server version is lower than determined cluster version "
            f"(server {own}, cluster {parse_version(version).short()})"
        )


def decide(current: Minor | None, members: Iterable[Minor | None], downgrade: Downgrade) -> Minor | None:
    """The version that the cluster should agree on now, None when there is nothing to change.

    `members` holds what each member runs, None for one that did not say. Raises ValueError when the downgrade job asks
    for what cannot be.
    """
    versions = list(members)
    known = [version for version in versions if version is not None]
    complete = bool(known) and len(known) == len(versions)
    if current is None:
        return min(known) if complete else MIN_CLUSTER_VERSION
    if not complete:
        return None
    lowest = min(known)
    if downgrade.enabled:
        target = parse_version(downgrade.target)
        if target == current:
            return None
        if target != current.below() or target != lowest.below():
            raise ValueError(f"cannot downgrade to {target}: cluster version {current}, lowest server version {lowest}")
        return target
    return lowest if current.major == lowest.major and current < lowest else None


def _parse(form: re.Pattern[str], text: str) -> Minor:
    found = form.fullmatch(text)
    if found is None:
        raise ValueError(f"not a version: {text[:64]!r}")
    return Minor(int(found[1]), int(found[2]))
