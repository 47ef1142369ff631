"""Which bucket holds what, and the exact bytes of every key and value outside the key space's own rows.

What it knows: bucket names, keys, formats. What it refuses to know: files and batches (it writes to any `Store`), what
the values are for, and the rows of bucket `key` (`mvcc` has them).

The bytes are etcd's, so that a database can be turned into etcd's file and back by copying rows:

    bucket            key                        value
    alarm             AlarmMember message        empty
    auth              authEnabled                01 or 00
                      authRevision               8 bytes, big-endian
    authRoles         role name                  authpb.Role
    authUsers         user name                  authpb.User
    cluster           clusterVersion             text, 3.7.0
                      downgrade                  JSON {"target-version":"3.6.0","enabled":true}
    key               revision, 17 or 18 bytes   mvccpb.KeyValue
    lease             ID, 8 bytes big-endian     leasepb.Lease
    members           ID, hex                    JSON {"id":…,"peerURLs":[…],"isLearner":true,"name":…,"clientURLs":[…]}
    members_removed   ID, hex                    text, removed
    meta              consistent_index           8 bytes, big-endian: index of the last entry whose effects are here
                      term                       8 bytes, big-endian: the term of that entry
                      confState                  JSON of raftpb.ConfState
                      storageVersion             text, 3.7.0; since 3.6
                      scheduledCompactRev        revision, 17 bytes, sub 0
                      finishedCompactRev         the same

`put_applied` belongs into the same batch as the effects of the entry, whatever the entry did, failed ones included:
a file that has the one without the other is applied wrongly for ever (etcd 13766, 13937).

Source: etcd 3.5 to 3.8, bytes taken from running members.
"""

from quorate.storage.schema.alarms import AlarmRecords
from quorate.storage.schema.auth import (
    delete_role,
    delete_user,
    get_auth_enabled,
    get_auth_revision,
    put_auth_enabled,
    put_auth_revision,
    put_role,
    put_user,
    roles,
    users,
)
from quorate.storage.schema.buckets import (
    ALARM,
    AUTH,
    AUTH_ROLES,
    AUTH_USERS,
    BUCKETS,
    CLUSTER,
    KEY,
    LEASE,
    MEMBERS,
    MEMBERS_REMOVED,
    META,
    Store,
)
from quorate.storage.schema.draft import BboltSource, Draft, NoRows, Source
from quorate.storage.schema.hashing import hash_buckets
from quorate.storage.schema.leases import LeaseRecord, delete_lease, leases, put_lease
from quorate.storage.schema.members import (
    Downgrade,
    MemberRecord,
    delete_member,
    encode_json,
    get_cluster_version,
    get_downgrade,
    members,
    put_cluster_version,
    put_downgrade,
    put_member,
    put_removed,
    removed_members,
)
from quorate.storage.schema.meta import (
    Applied,
    delete_storage_version,
    get_applied,
    get_conf_state,
    get_finished_compact_revision,
    get_scheduled_compact_revision,
    get_storage_version,
    put_applied,
    put_conf_state,
    put_finished_compact_revision,
    put_scheduled_compact_revision,
    put_storage_version,
)

__all__ = [
    "ALARM",
    "AUTH",
    "AUTH_ROLES",
    "AUTH_USERS",
    "BUCKETS",
    "CLUSTER",
    "KEY",
    "LEASE",
    "MEMBERS",
    "MEMBERS_REMOVED",
    "META",
    "AlarmRecords",
    "Applied",
    "BboltSource",
    "Downgrade",
    "Draft",
    "LeaseRecord",
    "MemberRecord",
    "NoRows",
    "Source",
    "Store",
    "delete_lease",
    "delete_member",
    "delete_role",
    "delete_storage_version",
    "delete_user",
    "encode_json",
    "get_applied",
    "get_auth_enabled",
    "get_auth_revision",
    "get_cluster_version",
    "get_conf_state",
    "get_downgrade",
    "get_finished_compact_revision",
    "get_scheduled_compact_revision",
    "get_storage_version",
    "hash_buckets",
    "leases",
    "members",
    "put_applied",
    "put_auth_enabled",
    "put_auth_revision",
    "put_cluster_version",
    "put_conf_state",
    "put_downgrade",
    "put_finished_compact_revision",
    "put_lease",
    "put_member",
    "put_removed",
    "put_role",
    "put_scheduled_compact_revision",
    "put_storage_version",
    "put_user",
    "removed_members",
    "roles",
    "users",
]
