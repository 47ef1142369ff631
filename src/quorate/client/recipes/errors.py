"""What recipes raise beside the errors of calls."""

from __future__ import annotations

from quorate.api.errors import Code, EtcdError


class KeyExists(EtcdError):
    """Somebody has made the key already."""

    code = Code.ALREADY_EXISTS
    text = "key already exists"


class TooManyClients(EtcdError):
    """All places of a double barrier are taken."""

    code = Code.RESOURCE_EXHAUSTED
    text = "too many clients"


class NoGreaterRevision(EtcdError):
    """No member that can be asked has what was seen before."""

    code = Code.UNAVAILABLE
    text = "no cluster members have a revision higher than the previously received revision"
