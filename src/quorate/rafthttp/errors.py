"""Who is to blame when a wire fails."""

from __future__ import annotations


class RemoteProtocolError(Exception):
    """The other member sent what the protocol does not allow; the stream it came on ends."""


class Refused(Exception):
    """The other member answered a request, and the answer is no."""


class RemovedFromCluster(Refused):
    """It says that this member has been removed."""

    def __init__(self) -> None:
        super().__init__("the member has been permanently removed from the cluster")
