"""What keeps a new member from finding the others, in etcd's words."""

from __future__ import annotations


class DiscoveryError(Exception):
    """The cluster cannot be discovered; the text says why."""


SIZE_NOT_FOUND = "discovery: size key not found"
BAD_SIZE = "discovery: size key is bad"
FULL = "discovery: cluster is full"
DUPLICATE_ID = "discovery: found duplicate id"
BAD_PEER_URL = "discovery: invalid peer URL"
