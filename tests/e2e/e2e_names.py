"""Names that differ between two clusters, IDs and URLs, brought to one form and back.

Member number n is called `member_id(n)` in every request that a test writes and in every answer that it compares, its
peer URL `peer_url(n)`; those who are added later are numbered on.
"""

from __future__ import annotations

from typing import Any

CLUSTER_ID = 1
FIRST_MEMBER_ID = 1001


def member_id(number: int) -> int:
    return FIRST_MEMBER_ID + number


def peer_url(number: int) -> str:
    return f"http://member-{number}:2380"


def client_url(number: int) -> str:
    return f"http://member-{number}:2379"


ID_OF_REQUEST = {
    "AlarmRequest": "memberID",
    "MoveLeaderRequest": "targetID",
    "MemberRemoveRequest": "ID",
    "MemberUpdateRequest": "ID",
    "MemberPromoteRequest": "ID",
}


class Names:
    """The names of one cluster."""

    def __init__(self, cluster_id: int) -> None:
        self.cluster_id = cluster_id
        self._ids: list[int] = []
        self._urls: dict[str, str] = {}
        self._plain_urls: dict[str, str] = {}

    def add(self, actual_id: int, peer: str = "", client: str = "") -> None:
        """The next member."""
        number = len(self._ids)
        self._ids.append(actual_id)
        for actual, plain in ((peer, peer_url(number)), (client, client_url(number))):
            if actual:
                self._plain_urls[actual] = plain
                self._urls[plain] = actual

    def number(self, actual_id: int) -> int:
        """Raises ValueError for an unknown one."""
        return self._ids.index(actual_id)

    def actual_id(self, plain_id: int) -> int:
        number = plain_id - FIRST_MEMBER_ID
        return self._ids[number] if 0 <= number < len(self._ids) else plain_id

    def plain_id(self, actual_id: int) -> int:
        return member_id(self._ids.index(actual_id)) if actual_id in self._ids else actual_id

    def addressed(self, request: Any) -> Any:
        """The request with this cluster's names: itself if there are none in it."""
        kind = request.DESCRIPTOR.name
        if kind not in ID_OF_REQUEST and kind != "MemberAddRequest":
            return request
        made = type(request)()
        made.CopyFrom(request)
        if kind in ID_OF_REQUEST:
            setattr(made, ID_OF_REQUEST[kind], self.actual_id(getattr(made, ID_OF_REQUEST[kind])))
        if kind in ("MemberAddRequest", "MemberUpdateRequest"):
            made.peerURLs[:] = [self._urls.get(url, url) for url in made.peerURLs]
        return made

    def unname(self, message: Any) -> None:
        """Give everything in an answer its plain name, in place."""
        if message.DESCRIPTOR.fields_by_name.get("header") is not None and message.HasField("header"):
            header = message.header
            header.cluster_id = CLUSTER_ID if header.cluster_id == self.cluster_id else header.cluster_id
            header.member_id = self.plain_id(header.member_id)
        kind = message.DESCRIPTOR.name
        if kind == "StatusResponse":
            message.leader = self.plain_id(message.leader)
        elif kind == "AlarmResponse":
            for alarm in message.alarms:
                alarm.memberID = self.plain_id(alarm.memberID)
        elif kind.startswith("Member"):
            if kind == "MemberAddResponse":
                self._unname_member(message.member)
            for member in message.members:
                self._unname_member(member)
            members = sorted(message.members, key=lambda member: member.ID)
            del message.members[:]
            message.members.extend(members)

    def _unname_member(self, member: Any) -> None:
        member.ID = self.plain_id(member.ID)
        for urls in (member.peerURLs, member.clientURLs):
            urls[:] = [self._plain_urls.get(url, url) for url in urls]
