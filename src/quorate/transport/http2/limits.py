"""Every limit of the room. Reaching one is an answer with a code, never a hang or a growing heap."""

from typing import NamedTuple

KIB = 1024
MIB = 1024 * KIB

#: Size of the largest frame that we take (our SETTINGS_MAX_FRAME_SIZE, left at its default, RFC 9113 §6.5.2).
MAX_FRAME_SIZE = 16 * KIB

#: Bytes of one compressed header block over all its frames; more is ENHANCE_YOUR_CALM for the connection.
MAX_HEADER_BLOCK = 64 * KIB

#: CONTINUATION frames of one header block, empty ones too; more is ENHANCE_YOUR_CALM for the connection.
MAX_CONTINUATIONS = 32

#: Streams that a client may waste: reset before an answer began, refused, or broken by a faulty frame so that we
#: must reset them. Each stream that ends normally gives one back. More is ENHANCE_YOUR_CALM for the connection.
MAX_WASTED_STREAMS = 1000

#: Acknowledgements (PING, SETTINGS) waiting for one `output()`; more is ENHANCE_YOUR_CALM for the connection.
MAX_QUEUED_ACKS = 1000

#: Cost of frames in a row that carry nothing: an empty DATA, PRIORITY or unknown frame costs 1, SETTINGS costs
#: `SETTINGS_COST`. A new stream or a byte of DATA starts anew. More is ENHANCE_YOUR_CALM for the connection.
MAX_IDLE_FRAMES = 1000
SETTINGS_COST = 10

#: Streams reset by us whose late frames are still expected and ignored one by one; below the oldest, all are.
REMEMBERED_RESETS = 4096

#: Dynamic table that we offer to the peer's encoder: the default SETTINGS_HEADER_TABLE_SIZE (RFC 9113 §6.5.2).
DECODER_TABLE_SIZE = 4096

#: Dynamic table that our encoder uses at most, whatever the peer would allow. Entries are never evicted.
ENCODER_TABLE_SIZE = 4096

#: Header blocks kept decoded, by their bytes, and the longest that is worth it.
CACHED_BLOCKS = 256
CACHED_BLOCK_BYTES = 256

#: Calls told in one event: so many are answered before the edge looks again how much of that has left.
MAX_ALIKE = 32

#: Header tuples kept encoded.
CACHED_HEADERS = 256

#: Values of one name that our encoder puts into the dynamic table: a client calls a few dozen paths, and other
#: names that repeat have few values. The longest field that is worth a place.
INDEXED_PATHS = 64
INDEXED_VALUES = 8
INDEXED_FIELD_BYTES = 512


class Limits(NamedTuple):
    """What one connection grants its peer. Sizes in bytes."""

    #: Streams the peer may have open at once; more are answered REFUSED_STREAM (RFC 9113 §5.1.2).
    max_concurrent_streams: int = 16_384
    #: DATA the peer may send on one stream, and on all together, before `acknowledge` (RFC 9113 §6.9).
    stream_window: int = 1 * MIB
    connection_window: int = 16 * MIB
    #: Decoded header list, counted as RFC 9113 §6.5.2 does; a larger one ends its stream with ENHANCE_YOUR_CALM.
    max_header_list: int = 64 * KIB
    #: DATA waiting for the peer's windows; sending on top of more closes the connection with ENHANCE_YOUR_CALM.
    max_pending: int = 256 * MIB
    #: A stream whose waiting DATA falls to this is reported with `StreamWindow`.
    low_mark: int = 64 * KIB
