"""The storage floor: everything of a member that rests on a disk.

- `files`    the few calls to the operating system that `wal` and `snap` make; the seam where a simulator comes in
- `wal`      the write-ahead log: what a member has promised, on disk before it answers for it
- `snap`     `.snap` files: where the log may start, one small file each; and the purge of files no longer needed
- `backend`  the key space on disk: buckets of sorted keys, written in batches
- `bbolt`    files in etcd's database format: how a database travels to a peer or into a backup
- `schema`   which bucket holds what, and the bytes of each key and value in it
- `mvcc`     revisions, the key index, transactions and watches above them

```
mvcc > schema > backend     bbolt     wal    snap
                                        \\    /
                                        files
```

Inside the floor imports go along these lines only: `bbolt`, `wal` and `snap` stand beside the backend and know nothing
of it.

    <data>/member/wal/               segments of the log, 0.tmp (the next one, prepared)
    <data>/member/snap/              *.snap files, received databases, the backend `db`

Directories are made 0700, files 0600. Whatever is found damaged is set aside as `*.broken`, never deleted.

Refuses to know: gRPC, HTTP, raft's rules, other members, and why anything is stored.
"""
