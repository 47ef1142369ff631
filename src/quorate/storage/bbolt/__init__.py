"""Files in the format of bbolt, etcd's database: read whole, written whole, never changed in place.

What it knows: pages, trees of pages, buckets of key → value. What it refuses to know: what a row means, the backend,
who asked. A member keeps its rows elsewhere; this is the format in which a database travels, to a peer and to an
operator's backup.

All numbers are little-endian. The file is a row of pages of one size (4096 here; a file says its own):

    page 0, 1   meta: the two newest roots      page        id u64, flags u16, count u16, overflow u32, then its body
    page 2 …    trees, in any order             overflow    further pages that belong to this one

    meta body   magic u32 ED0CDAED, version u32 2, page size u32, flags u32 0,
                root page u64, root sequence u64, freelist page u64 or all ones, page count u64,
                transaction u64, FNV-1a 64 of the 56 bytes so far u64
    leaf        count × [flags u32, position u32, key size u32, value size u32], then key value key value …
    branch      count × [position u32, key size u32, page u64], then key key …
    freelist    count × page u64; a count of FFFF stands for the number in the first u64

A position counts from the element it stands in. A branch names for each child a key that is not above the child's
first, and below the next child's. The root tree holds a row for each bucket, marked by flag 1, whose value is [root
page u64, sequence u64]. A small bucket is inline: root page 0, and a whole leaf page behind the sixteen bytes.

**Which root counts.** The meta with a right checksum and the higher transaction. A free page that no freelist names is
one that no tree reaches, so a file without freelist (etcd writes none, nor do we) is complete.

**Damage.** There is no checksum over rows. The reader holds every page against what the format leaves no choice in:
its id, its kind, where each row begins and ends, that keys ascend and lie within what the branches above promise. What
does not fit is a BboltError. A flipped bit in a key or value, or in the sizes of a page's last row, is not seen here.

**Writing.** One pass, rows in order: a leaf goes out when it is full, the branches above are held until they are, and
the metas come last. Until then, and after a crash, the file is no database.

Source: the pages of files that etcd 3.5 to 3.8 wrote; bbolt's own description of its format.
"""

from quorate.storage.bbolt.format import BboltError, BboltInUse
from quorate.storage.bbolt.reader import Reader
from quorate.storage.bbolt.writer import write

__all__ = ["BboltError", "BboltInUse", "Reader", "write"]
