"""Work on the files of a member that does not run: backups, and data directories from and to etcd.

What it knows: which files make a member, and how they become those of another one. What it refuses to know: flags,
output, and anything that runs.

- `databases`   a database that lies still, of either format, checked
- `looking`     what a database says of itself
- `staging`     a data directory that is whole or not there
- `restore`     a new cluster from a snapshot
- `from_etcd`   a data directory of etcd becomes one of this program; `to_etcd`  and back
- `upkeep`      defragmentation, the version of the rows, offline copies

All calls block, and all that goes wrong is an OfflineError of one line.
"""

from quorate.server.offline.errors import InUse, OfflineError

__all__ = ["InUse", "OfflineError"]
