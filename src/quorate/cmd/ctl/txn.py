"""`txn`: three groups of lines from stdin, each ended by an empty line: compares, then requests for when all of them
hold, and requests for when not.

    mod("key1") > "0"

    put key1 "overwrote-key1"

    put key1 "created-key1"
    put key2 "some extra key"

"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl import kv
from quorate.cmd.ctl.failures import BAD_ARGS, INVALID_INPUT, Fail, UsageFail
from quorate.cmd.ctl.flags import BOOL, Flag, HelpAsked, parse
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.show import header_fields
from quorate.cmd.ctl.words import literal, split_words
from quorate.pkg.gotext import parse_int, quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from quorate.api.plain import Message
    from quorate.cmd.ctl.run import Run
    from quorate.cmd.ctl.show import Line

RESULTS = {"=": 0, ">": 1, "<": 2, "!=": 3}
TARGETS = {
    "ver": (0, "version"),
    "version": (0, "version"),
    "c": (1, "create_revision"),
    "create": (1, "create_revision"),
    "m": (2, "mod_revision"),
    "mod": (2, "mod_revision"),
    "val": (3, "value"),
    "value": (3, "value"),
    "lease": (4, "lease"),
}
"""What a compare may look at: its number, and the field that its value goes into."""
_QUOTED = re.compile(r'\s*("(?:[^"\\\n]|\\.)*")')
_OP = re.compile(r"\s*(\S+)")

Request = dict[str, Any]


def _txn(run: Run) -> None:
    if run.args:
        raise Fail(BAD_ARGS, "txn command does not accept argument")
    client = run.client()
    ask = run.flags["interactive"]
    groups: list[list[Request]] = []
    for prompt, read in (
        ("compares:", parse_compare),
        ("success requests (get, put, del):", parse_request),
        ("failure requests (get, put, del):", parse_request),
    ):
        if ask:
            run.print(prompt)
        groups.append(_group(read))
    reply = client.ask("Txn", {"compare": groups[0], "success": groups[1], "failure": groups[2]})
    run.show(reply, simple=lambda: _lines(reply, run.hex), fields=lambda: _fields(reply))


def _group(read: Callable[[str], Request]) -> list[Request]:
    """What the lines up to an empty one say. Raises Fail."""
    found: list[Request] = []
    while True:
        line = sys.stdin.readline()
        if not line.endswith("\n"):
            raise Fail(INVALID_INPUT, "EOF")
        line = line.strip()
        if not line:
            return found
        found.append(read(line))


def parse_compare(line: str) -> Request:
    """`target("key") op "value"`. Raises Fail."""
    target, parenthesis, rest = line.partition("(")
    if not parenthesis:
        raise Fail(INVALID_INPUT, f"malformed comparison: {line}")
    key, op, value, whole = _scan(rest)
    if not whole:
        got = f"{target}({quote(key)}) {op} {quote(value)}"
        raise Fail(INVALID_INPUT, f"malformed comparison: {line}; got {got}")
    if target not in TARGETS:
        raise Fail(INVALID_INPUT, f"malformed comparison: {line} (unknown target {target})")
    if op not in RESULTS:
        raise Fail(INVALID_INPUT, f"malformed comparison: {line} (unknown result {op})")
    number, field = TARGETS[target]
    operand: Any = value
    if field != "value":
        try:
            operand = parse_int(value.decode("utf-8", "replace"), 16 if field == "lease" else 10)
        except ValueError:
            raise Fail(INVALID_INPUT, f"invalid txn compare request: {line}") from None
    return {"result": RESULTS[op], "target": number, "key": key, field: operand}


def _scan(text: str) -> tuple[bytes, str, bytes, bool]:
    """Key, operator and value of `"key") op "value"`, as far as they can be read, and whether all could."""
    found = _QUOTED.match(text)
    if found is None:
        return b"", "", b"", False
    key = literal(found[1])
    if text[found.end() : found.end() + 1] != ")":
        return key, "", b"", False
    op = _OP.match(text, found.end() + 1)
    if op is None or not text[found.end() + 1].isspace():
        return key, "", b"", False
    value = _QUOTED.match(text, op.end())
    return (key, op[1], b"", False) if value is None else (key, op[1], literal(value[1]), True)


def parse_request(line: str) -> Request:
    """`get …`, `put …` or `del …`, as on the command line. Raises Fail."""
    words = split_words(line)
    if len(words) < 2:
        raise Fail(INVALID_INPUT, f"invalid txn compare request: {line}")
    kinds = {
        "get": ("request_range", kv.GET_FLAGS, kv.get_request),
        "put": ("request_put", kv.PUT_FLAGS, kv.put_request),
        "del": ("request_delete_range", kv.DEL_FLAGS, kv.del_request),
    }
    if words[0] not in kinds:
        raise Fail(INVALID_INPUT, f"invalid txn request: {line}")
    name, flags, request = kinds[words[0]]
    try:
        parsed = parse(words[1:], flags)
    except (UsageFail, HelpAsked):
        raise Fail(INVALID_INPUT, f"invalid txn request: {line}") from None
    return {name: request(parsed.args, parsed.values)}


def _lines(reply: Message, as_hex: bool) -> list[Line]:
    lines: list[Line] = ["SUCCESS" if reply.succeeded else "FAILURE"]
    for one in reply.responses:
        lines.append("")
        if one.has("response_put"):
            lines += kv.put_lines(one.response_put, as_hex)
        elif one.has("response_range"):
            lines += kv.get_lines(one.response_range, as_hex)
        elif one.has("response_delete_range"):
            lines += kv.del_lines(one.response_delete_range, as_hex)
    return lines


def _fields(reply: Message) -> list[Line]:
    lines = [*header_fields(reply.header), f'"Succeeded" : {"true" if reply.succeeded else "false"}']
    for one in reply.responses:
        if one.has("response_put"):
            lines += kv.put_fields(one.response_put)
        elif one.has("response_range"):
            lines += kv.get_fields(one.response_range)
        elif one.has("response_delete_range"):
            lines += kv.del_fields(one.response_delete_range)
    return lines


FLAGS = (Flag("interactive", BOOL, False, "say what is to be typed next", "i"),)
COMMANDS = {"txn": Command("txn [options]", _txn, FLAGS)}
