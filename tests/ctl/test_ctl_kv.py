"""get, put, del, txn and compaction answer as stock etcdctl does, byte for byte."""

from __future__ import annotations

import pytest

from ctl_pair import Pair  # isort: skip

pytestmark = pytest.mark.real

FORMATS = ("simple", "json", "fields", "protobuf", "table", "bogus")
READS = (
    "get foo",
    "get --prefix foo",
    "get nokey",
    "get foo --hex",
    "get foo fop --limit 1",
    "get --from-key foo1",
    "get foo --keys-only",
    "get foo --print-value-only",
    "get foo --count-only",
    "get foo --rev 1000",
    "get --prefix foo --order DESCEND",
    "get --prefix foo --sort-by modify",
    "get --prefix foo --sort-by VALUE --order descend",
    "get foo --consistency s",
    "get foo --rev 2",
)
BAD = (
    "get",
    "get --prefix --from-key a",
    "get a b c",
    "get a b c --prefix",
    "get --order bad a",
    "get --sort-by bad a",
    "get --consistency x a",
    "get --keys-only --count-only a",
    "get a --nope",
    "get a -z",
    "get a -h=maybe",
    "get a --rev abc",
    "get a --rev",
    "get a --rev=99999999999999999999",
    "get a --=x",
    "-z get foo",
    "put",
    "put a b c",
    "put a b --ignore-value",
    "put nokey --ignore-value",
    "put a b --lease zz",
    "put a b --lease 1234",
    "del",
    "del a b --prefix",
    "del nokey",
    "compaction",
    "compaction abc",
    "compaction 1000",
    "compaction 0",
    "compaction 1 2",
    "txn x",
    "nosuch",
    "gett",
    "wat",
    "help nosuch",
    "--dial-timeout=abc get foo",
    "--dial-timeout=5 get foo",
    "-w",
    "--cert= get foo",
    "--cert=/x get foo",
    "--cacert=/x get foo",
    "--user a:b get foo",
    "pu a b",
    "g a",
)


def fill(pair: Pair) -> None:
    pair.same("put", "foo", "bar")
    pair.same("put", "foo1", 'a<b>&"x"\u2028é')
    pair.same("put", "foo2", stdin=b"bin\x01\xff\xc3\xa9\n\t\x07")
    pair.same("lease", "grant", "1000")
    pair.same("put", "foo3", "x", "--lease={lease}")
    pair.same("put", "k\nl", stdin=b"a\x80b")


def test_reads_look_alike_in_every_format(pair: Pair) -> None:
    fill(pair)
    for form in FORMATS:
        for words in READS:
            pair.same(*words.split(), "-w", form)
        pair.same("get", "--prefix", "", "-w", form)
        pair.same("get", "", "-w", form)


def test_reads_look_alike_beside_quorate(quorate_pair: Pair) -> None:
    fill(quorate_pair)
    for form in ("simple", "json", "fields"):
        quorate_pair.same("get", "--prefix", "foo", "-w", form)
        quorate_pair.same("txn", "-w", form, stdin=TXNS[1].encode())


def test_what_cannot_be_done_is_refused_alike(pair: Pair) -> None:
    for words in BAD:
        pair.same(*words.split())
    pair.same("put", "", "x")
    pair.same("get", "foo", "--user", "a", stdin=b"secret\n")


def test_writes_look_alike_in_every_format(pair: Pair) -> None:
    for form in FORMATS:
        pair.same("put", "a", "1", "-w", form)
        pair.same("put", "a", "2", "--prev-kv", "-w", form)
        pair.same("put", "a", "--ignore-value", "--prev-kv", "-w", form)
        pair.same("put", "b", "--", "-v")
        pair.same("del", "a", "-w", form)
        pair.same("put", "a", "\x01\x02", "-w", form)
        pair.same("put", "a", "3", "--prev-kv", "--hex", "-w", form)
        pair.same("del", "--prefix", "", "--prev-kv", "-w", form)
        pair.same("del", "--from-key", "", "-w", form)


def test_an_environment_variable_stands_in_for_a_flag(pair: Pair) -> None:
    pair.same("put", "foo", "bar")
    pair.same("get", "foo", env={"ETCDCTL_WRITE_OUT": "json"})
    pair.same("get", "foo", env={"ETCDCTL_WRITE_OUT": "bogus"})
    pair.same("get", "foo", env={"ETCDCTL_DIAL_TIMEOUT": "zz"})
    pair.same("get", "foo", "-w", "fields", env={"ETCDCTL_WRITE_OUT": "json"})
    pair.same("get", "foo", env={"ETCDCTL_NOPE": "1"})
    pair.same("get", "foo", env={"ETCDCTL_HEX": "true"})


def test_compactions_look_alike(pair: Pair) -> None:
    for number in range(5):
        pair.same("put", "a", str(number))
    pair.same("compaction", "2")
    pair.same("compaction", "2")
    pair.same("compaction", "3", "--physical", "-w", "json")
    pair.same("compaction", "4", "-w", "table")
    pair.same("get", "a", "--rev", "2")
    pair.same("watch", "a", "--rev", "2")
    pair.same("watch", "a", "--rev", "2", "-w", "json")
    pair.same("watch", "a", "--rev", "2", "-w", "fields")


TXNS = (
    'mod("foo") > "0"\n\nget foo\n\nput x y\n\n',
    'mod("foo") > "0"\nver("foo") = "1"\n\nget foo\nput a "b c\\n" --prev-kv\ndel zz\n\n\n',
    'mod("foo") = "0"\n\n\nget foo\ndel foo --prev-kv\nput key2 abc --prev-kv\n\n',
    'val("foo") = "ba\\x72"\n\n\n\n',
    'value("foo") != "x"\ncreate("foo") < "9"\nversion("foo") < "9"\nc("foo") > "1"\nm("foo") > "1"\n\n\n\n',
    'val(foo) > "0"\n\n\n\n',
    'mod("foo") = "x"\n\n\n\n',
    "\nfoo bar\n\n\n",
    "\nget\n\n\n",
    "\nput\n\n\n",
    "\nget --prefix f --limit 1\n\n\n",
    "\nget foo\n",
    'mod("foo")>"0"\n\n\n\n',
    ' mod("foo")   =   "0"  \n\n\n\n',
    'bad("k") = "0"\n\n\n\n',
    "foo\n\n\n\n",
    '\nput "" b\n\n\n',
    "\nput a b\nput a c\n\n\n",
    "\nget foo --order bad\n\n\n",
    '\nput a "q" --lease zz\n\n\n',
    '\nput "q r" "s\\"t"\nget "q r"\n\n\n',
    "\nget foo --hex\n\n\n",
)


@pytest.mark.parametrize("form", FORMATS)
def test_transactions_look_alike(pair: Pair, form: str) -> None:
    for lines in TXNS:
        pair.same("put", "foo", "bar")
        if "--hex" not in lines:
            pair.same("txn", "-w", form, stdin=lines.encode())
    pair.same("txn", "-i", stdin=TXNS[1].encode())
    pair.same("txn", "--hex", "-w", form, stdin=TXNS[1].encode())
