"""Who the members are: identities, URLs, learners, those removed for good, and the version all agree on.

What it knows: members and the rules for changing them. What it refuses to know: raft's quorums (it only builds and
judges the changes that raft agrees on), connections, clocks (seconds are an argument), and how a change was agreed.

    member ID    first 8 bytes, big-endian, of SHA-1( peer URLs sorted and joined ++ token ++ seconds )
                 initial members: the cluster token, no seconds · added members: no token, Unix seconds in decimal
    cluster ID   first 8 bytes, big-endian, of SHA-1( initial members' IDs, ascending, 8 bytes big-endian each )

A change is a raft ConfChange whose context is the member as JSON:

    add voter     AddNode         {"id":N,"peerURLs":["http://h:p"]}                     (bootstrap: and "name")
    add learner   AddLearnerNode  {"id":N,"peerURLs":["http://h:p"],"isLearner":true}
    promote       AddNode         {"id":N,"peerURLs":null,"isPromote":true}
    update        UpdateNode      {"id":N,"peerURLs":["http://h:p"]}
    remove        RemoveNode      nothing

A committed change is judged once more where it is applied (`Cluster.validate`), on the state that every member has
there: one that is refused reaches raft as no change, and its proposer gets the error. A removed ID never comes back.
Who votes is raft's to say: where the stored members differ from its ConfState, `Cluster.repair` makes them agree.

Over HTTP members travel as a JSON array of what bucket `members` holds (`wire`); members of 3.5 and 3.6 expect them in
a snapshot's data as a tree of their own (`v2_store`). `versions` says what members of different releases agree on.

Sources: etcd's membership rules and formats; Raft thesis §4 for changes, §4.2.1 for learners.
"""

from quorate.membership.changes import (
    add_change,
    check_peer_urls,
    conf_change_context,
    new_member,
    promote_change,
    remove_change,
    update_change,
)
from quorate.membership.cluster import Cluster
from quorate.membership.ids import cluster_id, member_id
from quorate.membership.initial import new_cluster, parse_initial_cluster
from quorate.membership.reconfig import check_add, check_promote, check_remove
from quorate.membership.v2_store import decode_v2_store, encode_v2_store
from quorate.membership.versions import (
    MIN_CLUSTER_VERSION,
    ClusterVersionTooHigh,
    Minor,
    check_not_above,
    decide,
    parse_target,
    parse_version,
)
from quorate.membership.wire import decode_members, encode_members
from quorate.storage.schema import Downgrade
from quorate.storage.schema import MemberRecord as Member

__all__ = [
    "MIN_CLUSTER_VERSION",
    "Cluster",
    "ClusterVersionTooHigh",
    "Downgrade",
    "Member",
    "Minor",
    "add_change",
    "check_add",
    "check_not_above",
    "check_peer_urls",
    "check_promote",
    "check_remove",
    "cluster_id",
    "conf_change_context",
    "decide",
    "decode_members",
    "decode_v2_store",
    "encode_members",
    "encode_v2_store",
    "member_id",
    "new_cluster",
    "new_member",
    "parse_initial_cluster",
    "parse_target",
    "parse_version",
    "promote_change",
    "remove_change",
    "update_change",
]
