"""`role add`, `get`, `list`, `delete`, `grant-permission` and `revoke-permission`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.failures import BAD_ARGS, Fail
from quorate.cmd.ctl.flags import BOOL, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.run import as_bytes
from quorate.cmd.ctl.show import header_fields
from quorate.pkg.gotext import quote
from quorate.pkg.key_prefix import FROM_KEY, prefix_end

if TYPE_CHECKING:
    from quorate.api.plain import Message
    from quorate.cmd.ctl.run import Run
    from quorate.cmd.ctl.show import Line

READ, WRITE, READWRITE = 0, 1, 2
KINDS = {"READ": READ, "WRITE": WRITE, "READWRITE": READWRITE}
NAMES = {number: name for name, number in KINDS.items()}


def _add(run: Run) -> None:
    name = _name(run, "add")
    _change(run, "RoleAdd", {"name": name}, f"Role {name} created")


def _get(run: Run) -> None:
    name = _name(run, "get")
    show_role(run, name, run.client().call("RoleGet", role=name))


def _list(run: Run) -> None:
    if run.args:
        raise Fail(BAD_ARGS, "role list command requires no arguments")
    reply = run.client().call("RoleList")
    run.show(
        reply,
        simple=lambda: reply.roles,
        fields=lambda: [*header_fields(reply.header), '"Roles" :' + "".join(f" {quote(role)}" for role in reply.roles)],
    )


def _delete(run: Run) -> None:
    name = _name(run, "delete")
    _change(run, "RoleDelete", {"role": name}, f"Role {name} deleted")


def _grant(run: Run) -> None:
    if len(run.args) < 3:
        text = "role grant command requires role name, permission type, and key [endkey] as its argument"
        raise Fail(BAD_ARGS, text)
    name, word, *keys = run.args
    if word.upper() not in KINDS:
        raise Fail(BAD_ARGS, f"invalid permission type: {word}")
    permission = {"permType": KINDS[word.upper()]} | _span(run, keys)
    _change(run, "RoleGrantPermission", {"name": name, "perm": permission}, f"Role {name} updated")


def _revoke(run: Run) -> None:
    if len(run.args) < 2:
        raise Fail(BAD_ARGS, "role revoke-permission command requires role name and key [endkey] as its argument")
    name, *keys = run.args
    span = _span(run, keys)
    key, end = as_bytes(keys[0]), span.get("range_end", b"")
    what = b"range " + _range(key, end) if end else b"key " + key
    done = b"Permission of " + what + b" is revoked from role " + as_bytes(name)
    _change(run, "RoleRevokePermission", {"role": name, **span}, done)


def _span(run: Run, keys: list[str]) -> dict[str, bytes]:
    """`key` and `range_end` of a permission. Raises Fail."""
    prefix, from_key = run.flags["prefix"], run.flags["from-key"]
    if len(keys) > 1 and (prefix or from_key):
        raise Fail(BAD_ARGS, f"unexpected endkey argument with {'--prefix' if prefix else '--from-key'} flag")
    if prefix and from_key:
        raise Fail(BAD_ARGS, "--from-key and --prefix flags are mutually exclusive")
    key = as_bytes(keys[0])
    if not key:  # the first key there can be; an end is passed over then, as stock etcdctl does
        return {"key": b"\0", "range_end": FROM_KEY if prefix or from_key else b""}
    if from_key:
        return {"key": key, "range_end": FROM_KEY}
    if prefix:
        return {"key": key, "range_end": prefix_end(key)}
    return {"key": key, "range_end": as_bytes(keys[1]) if len(keys) > 1 else b""}


def show_role(run: Run, name: str, reply: Message) -> None:
    """Print what a role may do. Raises Fail."""
    run.show(
        reply,
        simple=lambda: [
            f"Role {name}",
            "KV Read:",
            *(_permission(one) for one in reply.perm if one.permType in (READ, READWRITE)),
            "KV Write:",
            *(_permission(one) for one in reply.perm if one.permType in (WRITE, READWRITE)),
        ],
        fields=lambda: [*header_fields(reply.header), *(line for one in reply.perm for line in _fields(one))],
    )


def _permission(one: Message) -> bytes:
    key, end = one.key, one.range_end
    if not end:
        return b"\t" + bytes(key)
    return b"\t" + _range(key, end) + (b" (prefix " + key + b")" if end == prefix_end(key) else b"")


def _range(key: bytes, end: bytes) -> bytes:
    return b"[" + key + b", " + (b"<open ended>" if end == FROM_KEY else end + b")")


def _fields(one: Message) -> list[Line]:
    return [
        f'"PermType" :  {NAMES.get(one.permType, one.permType)}',
        f'"Key" : {quote(one.key)}',
        f'"RangeEnd" : {quote(one.range_end)}',
    ]


def _name(run: Run, word: str) -> str:
    """The one argument. Raises Fail."""
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, f"role {word} command requires role name as its argument")
    return run.args[0]


def _change(run: Run, method: str, request: dict[str, Any], done: Line) -> None:
    reply = run.client().ask(method, request)
    run.show(reply, simple=lambda: [done], fields=lambda: header_fields(reply.header))


def _span_flags(verb: str) -> tuple[Flag, ...]:
    return (
        Flag("from-key", BOOL, False, f"{verb} all keys from the given one on, in the order of their bytes"),
        Flag("prefix", BOOL, False, f"{verb} all keys that begin with the given one"),
    )


COMMANDS = {
    "role add": Command("role add <role name>", _add),
    "role get": Command("role get <role name>", _get),
    "role list": Command("role list", _list),
    "role delete": Command("role delete <role name>", _delete),
    "role grant-permission": Command(
        "role grant-permission [options] <role name> <permission type> <key> [endkey]",
        _grant,
        _span_flags("grant"),
        "A permission is to read, to write, or to do both: read, write or readwrite.",
    ),
    "role revoke-permission": Command(
        "role revoke-permission <role name> <key> [endkey]",
        _revoke,
        _span_flags("revoke"),
    ),
}
