"""The two tables of RFC 7541: header fields that need no naming (Appendix A), and the Huffman code (Appendix B).

The code is canonical: it follows from the lengths of the code words. Text is decoded four bits at a time by a machine
whose steps are worked out when they are first taken: there are 16 for each of the 256 inner nodes of the code's tree.
"""

from __future__ import annotations

from typing import Final

from quorate.transport.http2.errors import ErrorCode, RemoteProtocolError

_FIELDS = """
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""

STATIC: Final = tuple(
    (name.encode(), value.encode()) for name, _, value in (line.partition(" ") for line in _FIELDS.split("\n")[1:-1])
)
"""Names and values; the index of the first is 1."""

_LENGTHS = """
13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28 6 10
10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 13 6 7 7 7 7 7 7 7 7 7 7 7 7 7
7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6 15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11
14 13 28 20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23
23 24 22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22
23 26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27
20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26 30
"""
"""Bits of each octet's code word; the last is EOS."""
EOS: Final = 256
PADDING_BITS: Final = 7
"""Text ends with fewer bits than an octet has, all ones."""

Step = tuple[int, bytes]
"""The node that is reached, and the octets that were completed on the way."""


class _Code:
    """The tree of the code: `tree[node]` is where a 0 and a 1 lead, a leaf the complement of its octet. `steps[node]`
    are the steps of four bits that were taken so far, `ends` the nodes at which a text may end."""

    def __init__(self) -> None:
        self.tree = _grow([int(word) for word in _LENGTHS.split()])
        self.steps: list[list[Step | None]] = [[None] * 16 for _ in self.tree]
        self.ends = {0}
        node = 0
        for _ in range(PADDING_BITS):
            node = self.tree[node][1]
            self.ends.add(node)

    def walk(self, start: int, bits: int) -> Step:
        """Work out a step and keep it. Raises RemoteProtocolError for EOS (§5.2)."""
        node, done = start, bytearray()
        for shift in (3, 2, 1, 0):
            node = self.tree[node][bits >> shift & 1]
            if node < 0:
                if ~node == EOS:
                    raise RemoteProtocolError(ErrorCode.COMPRESSION_ERROR, "EOS in a Huffman string")
                done.append(~node)
                node = 0
        step = self.steps[start][bits] = (node, bytes(done))
        return step


_made: list[_Code] = []
"""The code, once it was needed."""


def huffman_decode(text: bytes) -> bytes:
    """The octets of a Huffman-coded string. Raises RemoteProtocolError COMPRESSION_ERROR (§5.2)."""
    if not _made:
        _made.append(_Code())
    code = _made[0]
    steps = code.steps
    out = bytearray()
    node = 0
    for octet in text:
        node, done = steps[node][octet >> 4] or code.walk(node, octet >> 4)
        out += done
        node, done = steps[node][octet & 15] or code.walk(node, octet & 15)
        out += done
    if node not in code.ends:
        raise RemoteProtocolError(ErrorCode.COMPRESSION_ERROR, "bad Huffman padding")
    return bytes(out)


def _grow(lengths: list[int]) -> list[list[int]]:
    """The tree, from the lengths: code words of one length are in the order of their octets, shorter ones come
    first."""
    tree = [[0, 0]]
    code = last = 0
    for octet in sorted(range(EOS + 1), key=lambda octet: (lengths[octet], octet)):
        code <<= lengths[octet] - last
        last = lengths[octet]
        node = 0
        for shift in range(last - 1, 0, -1):
            bit = code >> shift & 1
            if not tree[node][bit]:
                tree[node][bit] = len(tree)
                tree.append([0, 0])
            node = tree[node][bit]
        tree[node][code & 1] = ~octet
        code += 1
    return tree
