"""A damaged file is a BboltError or reads as before, whatever is damaged: never another error, never without end."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from pathlib import Path

import pytest
from bbolt_support import Forge, findings, numbered, read, write

from quorate.storage import bbolt
from quorate.storage.bbolt.format import BRANCH_ELEMENT, BRANCH_PAGE, ELEMENT_BYTES, HEADER_BYTES, PAGE_SIZE

ROWS = {
    b"inline": [(b"a", b"1"), (b"b", b"2")],
    b"large": [(b"%d" % number, bytes(9_000)) for number in range(4)],
    b"many": [(b"%04d" % number + b"k" * 100, b"v" * 50) for number in range(700)],
}


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    write(tmp_path / "db", ROWS)
    return Forge(tmp_path / "db")


def structure(forge: Forge) -> list[int]:
    """Where the bytes lie that the format leaves no choice in: metas, page headers, elements without the last sizes."""
    places = [number * PAGE_SIZE + at for number in range(2) for at in range(HEADER_BYTES + 64)]
    number = 2
    while number < forge.meta.page_count:
        _, count, overflow = forge.page(number)
        begin = number * PAGE_SIZE
        places += range(begin, begin + HEADER_BYTES + count * ELEMENT_BYTES - 8)
        number += 1 + overflow
    return places


def test_no_flipped_bit_in_the_structure_gives_a_wrong_row(forge: Forge) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    refused = 0
    for place in dice.sample(structure(forge), 400):
        good = forge.data[place]
        forge.data[place] ^= 1 << dice.randrange(8)
        try:
            assert read(forge.save()) == ROWS
        except bbolt.BboltError:
            refused += 1
        findings_or_error(forge.path)
        forge.data[place] = good
    assert refused > 200


def test_garbage_anywhere_is_a_bbolt_error_or_rows(forge: Forge) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    good = bytes(forge.data)
    for _ in range(150):
        for _ in range(dice.randint(1, 20)):
            size = dice.choice([1, 2, 4, 8, 200])
            at = dice.randrange(PAGE_SIZE, len(good) - size)
            forge.data[at : at + size] = dice.randbytes(size) if dice.random() < 0.7 else bytes(size)
        forge.save()
        with contextlib.suppress(bbolt.BboltError):
            read(forge.path)
        findings_or_error(forge.path)
        forge.data[:] = good


def findings_or_error(path: Path) -> None:
    with contextlib.suppress(bbolt.BboltError):
        findings(path)


def test_a_file_cut_anywhere_is_refused(forge: Forge) -> None:
    dice = random.Random(1)
    for size in (0, 1, 16, 80, 4096, 8192, len(forge.data) - 1, *dice.sample(range(len(forge.data)), 30)):
        forge.path.write_bytes(forge.data[:size])
        with pytest.raises(bbolt.BboltError, match=r"is not a bbolt file|is cut short"):
            bbolt.Reader.open(forge.path)


def test_a_file_that_is_not_there_or_is_another_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        bbolt.Reader.open(tmp_path / "db")
    (tmp_path / "db").write_bytes(os.urandom(50_000))
    with pytest.raises(bbolt.BboltError, match="is not a bbolt file, or both of its meta pages are damaged"):
        bbolt.Reader.open(tmp_path / "db")


@pytest.mark.parametrize("page", [0, 1])
def test_one_damaged_meta_leaves_the_other(forge: Forge, page: int) -> None:
    forge.data[page * PAGE_SIZE + HEADER_BYTES + 20] ^= 1
    assert read(forge.save()) == ROWS
    reader = bbolt.Reader.open(forge.path)
    assert reader.txid == 1 + page
    reader.close()


def test_the_newer_of_two_metas_counts(forge: Forge) -> None:
    """The root of the second is a leaf of no buckets: a file as it was before its rows came."""
    number = forge.meta.page_count
    forge.data += bytes(PAGE_SIZE)
    forge.put(number, 0x02, 0, b"")
    older = forge.meta
    forge.put_metas(page_count=number + 1)
    at = PAGE_SIZE + HEADER_BYTES
    forge.data[at : at + 64] = older._replace(root=number, page_count=number + 1, txid=9).encode()
    assert read(forge.save()) == {}


def branch(children: list[tuple[bytes, int]]) -> bytes:
    elements, keys = b"", b"".join(key for key, _ in children)
    position = len(children) * ELEMENT_BYTES
    for key, child in children:
        elements += BRANCH_ELEMENT.pack(position, len(key), child)
        position += len(key) - ELEMENT_BYTES
    return elements + keys


def with_root(forge: Forge, pages: list[list[tuple[bytes, int]]]) -> Path:
    """Append branch pages, of which the first becomes the root."""
    first = forge.meta.page_count
    forge.data += bytes(len(pages) * PAGE_SIZE)
    for number, children in enumerate(pages, first):
        forge.put(number, BRANCH_PAGE, len(children), branch(children))
    forge.put_metas(root=first, page_count=first + len(pages))
    return forge.save()


def test_a_tree_that_goes_in_a_circle_is_refused(forge: Forge) -> None:
    number = forge.meta.page_count
    with pytest.raises(bbolt.BboltError, match="lies deeper than 64 pages"):
        read(with_root(forge, [[(b"a", number)]]))


def test_a_tree_too_deep_to_be_one_is_refused(forge: Forge) -> None:
    number = forge.meta.page_count
    root = forge.meta.root
    chain = [[(b"a", number + place + 1)] for place in range(99)] + [[(b"a", root)]]
    with pytest.raises(bbolt.BboltError, match="lies deeper than 64 pages"):
        read(with_root(forge, chain))


def test_a_page_that_comes_up_twice_is_refused_before_it_multiplies(forge: Forge) -> None:
    """Thirty levels of which each names the next one twice would be a walk over a thousand million pages."""
    number = forge.meta.page_count
    root = forge.meta.root
    doubled = [[(b"a", number + place + 1), (b"b", number + place + 1)] for place in range(29)]
    with pytest.raises(bbolt.BboltError, match="does not promise"):
        read(with_root(forge, [*doubled, [(b"a", root), (b"b", root)]]))
    assert any("does not promise" in text for text in findings(forge.path))


def test_a_branch_that_leaves_its_children_to_the_wrong_side_is_refused(forge: Forge) -> None:
    with pytest.raises(bbolt.BboltError, match="does not promise"):
        read(with_root(forge, [[(b"m", forge.meta.root)]]))  # the leaf begins with "inline"


def test_pages_of_two_buckets_are_found_by_the_check(forge: Forge) -> None:
    """The rows of a bucket say nothing of another's, so only the check can see it."""
    at = forge.data.index(b"large") + 5
    other = forge.data.index(b"many") + 4
    forge.data[at : at + 8] = forge.data[other : other + 8]
    assert any("multiple references" in text for text in findings(forge.save()))


def test_a_bucket_inside_a_bucket_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "db", {b"b": numbered(100)})
    forge = Forge(tmp_path / "db")
    leaf = forge.leaf_pages()[0]
    struct.pack_into("<I", forge.data, leaf * PAGE_SIZE + HEADER_BYTES + 3 * ELEMENT_BYTES, 1)
    with pytest.raises(bbolt.BboltError, match="element 3 is a bucket"):
        read(forge.save())


def test_a_row_beside_the_buckets_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "db", {b"b": numbered(100)})
    forge = Forge(tmp_path / "db")
    struct.pack_into("<I", forge.data, forge.meta.root * PAGE_SIZE + HEADER_BYTES, 0)
    with pytest.raises(bbolt.BboltError, match="element 0 is not a bucket"):
        read(forge.save())


@pytest.mark.parametrize("large", [False, True])
def test_a_file_with_a_freelist_is_checked_against_it(forge: Forge, large: bool) -> None:
    number = forge.meta.page_count
    forge.add_freelist([number, number + 1], unused=2, large=large)
    assert read(forge.save()) == ROWS
    assert findings(forge.path) == []


def test_what_is_wrong_with_a_freelist_is_told(tmp_path: Path) -> None:
    """Page 3 holds rows, page `number` holds nothing."""
    write(tmp_path / "db", ROWS)
    number = Forge(tmp_path / "db").meta.page_count
    for free, text in [
        ([], f"page {number}: unreachable unfreed"),
        ([number, number], f"page {number}: already freed"),
        ([number, 3], "page 3: reachable freed"),
        ([number, 1 << 40], f"page {1 << 40}: freed, but out of bounds"),
        ([number, 0], "page 0: freed, but out of bounds"),
    ]:
        write(tmp_path / "db", ROWS)
        forge = Forge(tmp_path / "db")
        forge.add_freelist(free, unused=1)
        assert findings(forge.save()) == [text]


def test_a_freelist_longer_than_its_page_is_found(forge: Forge) -> None:
    forge.add_freelist([])
    at = forge.meta.freelist * PAGE_SIZE
    struct.pack_into("<HHI", forge.data, at + 8, 0x10, 600, 0)
    assert any("names 600 free pages, more than fit" in text for text in findings(forge.save()))
