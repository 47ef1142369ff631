"""What a program with the client `etcd3` sees: prints one line for each thing it learns.

Arguments: the port; and of a guarded cluster the files of the CA, the certificate and its key, a user and a password.
"""

import sys
import threading

import etcd3
import etcd3.exceptions


def shown(pair):
    value, meta = pair
    if meta is None:
        return None
    return value, meta.key, meta.create_revision, meta.mod_revision, meta.version, meta.lease_id != 0


names = ("ca_cert", "cert_cert", "cert_key", "user", "password")
client = etcd3.client("127.0.0.1", int(sys.argv[1]), timeout=10, **dict(zip(names, sys.argv[2:], strict=False)))

# put and get
first = client.put("a", "1").header.revision
print("put", first)
print("put prev", client.put("a", "2", prev_kv=True).prev_kv.value)
for number in range(5):
    client.put(f"dir/{number}", str(9 - number))
print("get", shown(client.get("a")), shown(client.get("missing")))
print("serializable", shown(client.get("a", serializable=True)))
print("prefix", [shown(pair) for pair in client.get_prefix("dir/")])
print("sorted", [shown(pair) for pair in client.get_prefix("dir/", sort_order="descend", sort_target="value")])
print("keys only", [shown(pair) for pair in client.get_prefix("dir/", keys_only=True)])
print("range", [shown(pair) for pair in client.get_range("dir/1", "dir/3")])
print("all", len(list(client.get_all())))
print("if absent", client.put_if_not_exists("once", "1"), client.put_if_not_exists("once", "2"))
print("replace", client.replace("a", "2", "3"), client.replace("a", "2", "4"), shown(client.get("a")))
print(
    "delete",
    client.delete("a"),
    client.delete("a"),
    client.delete("dir/0", prev_kv=True, return_response=True).prev_kvs[0].value,
)
print("delete prefix", client.delete_prefix("dir/").deleted)

# transactions
client.put("t", "x")
t = client.transactions
for expected in ("x", "y"):
    ok, answers = client.transaction(
        compare=[t.value("t") == expected, t.version("t") > 0, t.create("t") < 1000, t.mod("t") != 0],
        success=[t.put("t", "y"), t.get("t"), t.put("u", "1")],
        failure=[t.get("t"), t.delete("u")],
    )
    print(
        "txn",
        ok,
        [[shown(pair) for pair in answer] if isinstance(answer, list) else type(answer).__name__ for answer in answers],
    )

# leases
lease = client.lease(60)
client.put("leased", "1", lease=lease)
print("lease", lease.granted_ttl, 55 < lease.remaining_ttl <= 60, lease.keys, shown(client.get("leased")))
print("refresh", [answer.TTL for answer in lease.refresh()])
lease.revoke()
print("revoked", shown(client.get("leased")), lease.remaining_ttl)
try:
    client.put("leased", "1", lease=12345)
except Exception as error:
    print("no such lease", error.code(), error.details())

# watch
seen = []
enough = threading.Event()


def note(response):
    for event in response.events:
        seen.append((type(event).__name__, event.key, event.value, event.version))
    if len(seen) >= 5:
        enough.set()


watch_id = client.add_watch_prefix_callback("w/", note)
client.put("w/1", "a")
client.put("w/1", "b")
client.put("other", "x")
client.delete("w/1")
client.transaction(compare=[], success=[t.put("w/2", "c"), t.put("w/3", "d")], failure=[])
print("watch", enough.wait(10), seen)
client.cancel_watch(watch_id)
events, cancel = client.watch("w/2", start_revision=first)
print("watch from the past", next(iter(events)).value)
cancel()

# locks (its waiting for a held one does not work with the retry library of today)
lock = client.lock("lock", ttl=20)
other = client.lock("lock", ttl=20)
print("lock", lock.acquire(timeout=5), lock.is_acquired(), lock.release(), other.acquire(timeout=5), other.release())

# compaction and the cluster
revision = client.put("c", "1").header.revision
client.compact(revision, physical=True)
events, cancel = client.watch("c", start_revision=1)
try:
    next(iter(events))
except etcd3.exceptions.RevisionCompactedError as error:
    print("watch compacted", error.compacted_revision == revision)
cancel()
status = client.status()
print("status", status.leader is not None, status.raft_term > 0, status.db_size > 0)
print("members", len(list(client.members)))
print("alarms", list(client.list_alarms()))
