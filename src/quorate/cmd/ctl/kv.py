"""`get`, `put` and `del`; `txn` takes its lines from the same requests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from quorate.api.plain import Message, encode
from quorate.cmd.ctl.failures import BAD_ARGS, BAD_FEATURE, Fail
from quorate.cmd.ctl.flags import BOOL, INT, STRING, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.run import as_bytes
from quorate.cmd.ctl.show import header_fields, kv_fields, kv_lines
from quorate.pkg.gotext import parse_int
from quorate.pkg.key_prefix import FROM_KEY, prefix_end

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quorate.cmd.ctl.run import Run
    from quorate.cmd.ctl.show import Line

Request = dict[str, Any]

GET_FLAGS = (
    Flag("consistency", STRING, "l", "linearizable (l) or serializable (s)"),
    Flag("count-only", BOOL, False, "get only how many keys there are"),
    Flag("from-key", BOOL, False, "get all keys from the given one on, in the order of their bytes"),
    Flag("keys-only", BOOL, False, "get no values"),
    Flag("limit", INT, 0, "how many to get at most (0: all)"),
    Flag("max-create-rev", INT, 0, "get only keys that were created at this revision or before"),
    Flag("max-mod-rev", INT, 0, "get only keys that were last changed at this revision or before"),
    Flag("min-create-rev", INT, 0, "get only keys that were created at this revision or after"),
    Flag("min-mod-rev", INT, 0, "get only keys that were last changed at this revision or after"),
    Flag("order", STRING, "", "ASCEND or DESCEND (ASCEND unless told otherwise)"),
    Flag("prefix", BOOL, False, "get all keys that begin with the given one"),
    Flag("print-value-only", BOOL, False, "print no keys in the simple format"),
    Flag("rev", INT, 0, "read the store as it was at this revision"),
    Flag("sort-by", STRING, "", "CREATE, KEY, MODIFY, VALUE or VERSION"),
    Flag("stream", BOOL, False, "let the server send the answer in parts (servers of 3.7)"),
)
PUT_FLAGS = (
    Flag("ignore-lease", BOOL, False, "leave the key with the lease that it has"),
    Flag("ignore-value", BOOL, False, "leave the key the value that it has"),
    Flag("lease", STRING, "0", "the lease (in hexadecimal) to give the key to"),
    Flag("prev-kv", BOOL, False, "print the pair as it was before"),
)
DEL_FLAGS = (
    Flag("from-key", BOOL, False, "delete all keys from the given one on, in the order of their bytes"),
    Flag("prefix", BOOL, False, "delete all keys that begin with the given one"),
    Flag("prev-kv", BOOL, False, "print the pairs that are deleted"),
    Flag("range", BOOL, False, "a range is meant to be deleted (for scripts that say so)"),
)

ORDERS = {"": 0, "ASCEND": 1, "DESCEND": 2}
TARGETS = {"": 0, "KEY": 0, "VERSION": 1, "CREATE": 2, "MODIFY": 3, "VALUE": 4}


def span(args: list[str], flags: Mapping[str, Any], command: str) -> Request:
    """`key` and `range_end` of a command on a key or a range. Raises Fail."""
    if flags["prefix"] and flags["from-key"]:
        raise Fail(BAD_ARGS, "`--prefix` and `--from-key` cannot be set at the same time, choose one")
    if not args:
        text = f"{command} command needs one argument as key and an optional argument as range_end"
        raise Fail(BAD_ARGS, text)
    key = as_bytes(args[0])
    if len(args) > 1:
        if flags["prefix"] or flags["from-key"]:
            text = "too many arguments, only accept one argument when `--prefix` or `--from-key` is set"
            raise Fail(BAD_ARGS, text)
        return {"key": key, "range_end": as_bytes(args[1])}
    if flags["prefix"]:
        return {"key": key, "range_end": prefix_end(key)} if key else {"key": b"\0", "range_end": FROM_KEY}
    if flags["from-key"]:
        return {"key": key or b"\0", "range_end": FROM_KEY}
    return {"key": key}


def get_request(args: list[str], flags: Mapping[str, Any]) -> Request:
    """Raises Fail."""
    request = span(args, flags, "get")
    if flags["keys-only"] and flags["count-only"]:
        raise Fail(BAD_ARGS, "`--keys-only` and `--count-only` cannot be set at the same time, choose one")
    if flags["consistency"] not in ("l", "s"):
        raise Fail(BAD_FEATURE, f'unknown consistency flag "{flags["consistency"]}"')
    order, target = flags["order"].upper(), flags["sort-by"].upper()
    if order not in ORDERS:
        raise Fail(BAD_FEATURE, f"bad sort order {flags['order']}")
    if target not in TARGETS:
        raise Fail(BAD_FEATURE, f"bad sort target {flags['sort-by']}")
    return request | {
        "limit": flags["limit"],
        "revision": flags["rev"],
        # Without a word about the order, the order of another target than the key is ascending.
        "sort_order": ORDERS[order],
        "sort_target": TARGETS[target],
        "serializable": flags["consistency"] == "s",
        "keys_only": flags["keys-only"],
        "count_only": flags["count-only"],
        "min_mod_revision": flags["min-mod-rev"],
        "max_mod_revision": flags["max-mod-rev"],
        "min_create_revision": flags["min-create-rev"],
        "max_create_revision": flags["max-create-rev"],
    }


def put_request(args: list[str], flags: Mapping[str, Any]) -> Request:
    """A value that is not given is all of stdin. Raises Fail."""
    if not args:
        raise Fail(BAD_ARGS, "put command needs 1 argument and input from stdin or 2 arguments")
    if flags["ignore-value"] and len(args) > 1:
        raise Fail(BAD_ARGS, "put command needs only 1 argument when 'ignore-value' is set")
    value = b""
    if not flags["ignore-value"]:
        value = as_bytes(args[1]) if len(args) > 1 else sys.stdin.buffer.read()
    try:
        lease = parse_int(flags["lease"], 16)
    except ValueError as error:
        raise Fail(BAD_ARGS, f"bad lease ID ({error}), expecting ID in Hex") from None
    return {
        "key": as_bytes(args[0]),
        "value": value,
        "lease": lease,
        "prev_kv": flags["prev-kv"],
        "ignore_value": flags["ignore-value"],
        "ignore_lease": flags["ignore-lease"],
    }


def del_request(args: list[str], flags: Mapping[str, Any]) -> Request:
    """Raises Fail."""
    return span(args, flags, "del") | {"prev_kv": flags["prev-kv"]}


def get_lines(reply: Message, as_hex: bool, value_only: bool = False) -> list[Line]:
    return [line for kv in reply.kvs for line in kv_lines(kv, as_hex, value_only)]


def get_fields(reply: Message) -> list[Line]:
    lines = header_fields(reply.header)
    for kv in reply.kvs:
        lines += kv_fields(kv)
    return [*lines, f'"More" : {"true" if reply.more else "false"}', f'"Count" : {reply.count}']


def put_lines(reply: Message, as_hex: bool) -> list[Line]:
    return ["OK", *(kv_lines(reply.prev_kv, as_hex) if reply.has("prev_kv") else [])]


def put_fields(reply: Message) -> list[Line]:
    return header_fields(reply.header) + (kv_fields(reply.prev_kv, "Prev") if reply.has("prev_kv") else [])


def del_lines(reply: Message, as_hex: bool) -> list[Line]:
    return [str(reply.deleted), *(line for kv in reply.prev_kvs for line in kv_lines(kv, as_hex))]


def del_fields(reply: Message) -> list[Line]:
    lines = [*header_fields(reply.header), f'"Deleted" : {reply.deleted}']
    return lines + [line for kv in reply.prev_kvs for line in kv_fields(kv, "Prev")]


def get(run: Run) -> None:
    request = get_request(run.args, run.flags)
    reply = _streamed(run, request) if run.flags["stream"] else run.client().ask("Range", request)
    if run.flags["count-only"] and run.format != "fields":
        raise Fail(BAD_ARGS, "--count-only is only for `--write-out=fields`")
    value_only = run.flags["print-value-only"]
    if value_only and run.format != "simple":
        raise Fail(BAD_ARGS, "print-value-only is only for `--write-out=simple`")
    run.show(reply, simple=lambda: get_lines(reply, run.hex, value_only), fields=lambda: get_fields(reply))


def _streamed(run: Run, request: Request) -> Message:
    """The answer that comes in parts, whole."""
    stream = run.client().stream("RangeStream", request, last=True)
    whole: dict[str, Any] = {"kvs": []}
    while (part := stream.receive()) is not None:
        values = part.range_response.values
        whole["kvs"] += values.get("kvs", [])
        whole |= {name: value for name, value in values.items() if name != "kvs"}
    return Message("RangeResponse", whole, encode("RangeResponse", whole))


def put(run: Run) -> None:
    reply = run.client().ask("Put", put_request(run.args, run.flags))
    run.show(reply, simple=lambda: put_lines(reply, run.hex), fields=lambda: put_fields(reply))


def delete(run: Run) -> None:
    reply = run.client().ask("DeleteRange", del_request(run.args, run.flags))
    run.show(reply, simple=lambda: del_lines(reply, run.hex), fields=lambda: del_fields(reply))


ABOUT_PUT = """A value that begins with '-' looks like a flag. Put '--' before it:

$ put <key> -- <value>
$ put -- <key> <value>

Without a value and without --ignore-value, all of standard input is the value:

$ cat file | put <key>"""

COMMANDS = {
    "get": Command("get [options] <key> [range_end]", get, GET_FLAGS),
    "put": Command("put [options] <key> <value> (<value> can also come from stdin)", put, PUT_FLAGS, ABOUT_PUT),
    "del": Command("del [options] <key> [range_end]", delete, DEL_FLAGS),
}
