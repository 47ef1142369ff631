"""`user add`, `get`, `list`, `delete`, `passwd`, `grant-role` and `revoke-role`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.dial import ask_password
from quorate.cmd.ctl.failures import BAD_ARGS, Fail
from quorate.cmd.ctl.flags import BOOL, STRING, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.role import show_role
from quorate.cmd.ctl.show import header_fields

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run


def _add(run: Run) -> None:
    word = _name(run, "add")
    name, password, options = word, "", {}
    if run.flags["no-password"]:
        options = {"no_password": True}
    elif run.flags["new-user-password"]:
        password = run.flags["new-user-password"]
    elif ":" in word:
        name, _, password = word.partition(":")
        if not name:
            raise Fail(BAD_ARGS, "empty user name is not allowed")
    else:
        password = _new_password(run, name)
    request: dict[str, Any] = {"name": name, "password": password, "options": options}
    _change(run, "UserAdd", request, f"User {name} created")


def _get(run: Run) -> None:
    name = _name(run, "get")
    client = run.client()
    reply = client.call("UserGet", name=name)
    if not run.flags["detail"]:
        run.show(reply, simple=lambda: [f"User: {name}", "Roles:" + "".join(f" {role}" for role in reply.roles)])
        return
    run.print(f"User: {name}")
    for role in reply.roles:
        run.print("")
        show_role(run, role, client.call("RoleGet", role=role))


def _list(run: Run) -> None:
    if run.args:
        raise Fail(BAD_ARGS, "user list command requires no arguments")
    reply = run.client().call("UserList")
    run.show(reply, simple=lambda: reply.users)


def _delete(run: Run) -> None:
    name = _name(run, "delete")
    _change(run, "UserDelete", {"name": name}, f"User {name} deleted")


def _passwd(run: Run) -> None:
    name = _name(run, "passwd")
    password = _new_password(run, name)
    _change(run, "UserChangePassword", {"name": name, "password": password}, "Password updated")


def _grant_role(run: Run) -> None:
    if len(run.args) != 2:
        raise Fail(BAD_ARGS, "user grant command requires user name and role name as its argument")
    user, role = run.args
    _change(run, "UserGrantRole", {"user": user, "role": role}, f"Role {role} is granted to user {user}")


def _revoke_role(run: Run) -> None:
    if len(run.args) != 2:
        raise Fail(BAD_ARGS, "user revoke-role requires user name and role name as its argument")
    user, role = run.args
    _change(run, "UserRevokeRole", {"name": user, "role": role}, f"Role {role} is revoked from user {user}")


def _name(run: Run, word: str) -> str:
    """The one argument. Raises Fail."""
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, f"user {word} command requires user name as its argument")
    return run.args[0]


def _new_password(run: Run, name: str) -> str:
    """Typed twice, or the first word of a line of stdin. Raises Fail."""
    if not run.flags["interactive"]:
        words = sys.stdin.readline().split()
        return words[0] if words else ""
    password = ask_password(f"Password of {name}: ")
    if not password:
        raise Fail(BAD_ARGS, "empty password")
    if ask_password(f"Type password of {name} again for confirmation: ") != password:
        raise Fail(BAD_ARGS, "given passwords are different")
    return password


def _change(run: Run, method: str, request: dict[str, Any], done: str) -> None:
    reply = run.client().ask(method, request)
    run.show(reply, simple=lambda: [done], fields=lambda: header_fields(reply.header))


INTERACTIVE = Flag("interactive", BOOL, True, "ask for the password twice; else it is a line of standard input")

COMMANDS = {
    "user add": Command(
        "user add <user name or user:password> [options]",
        _add,
        (
            INTERACTIVE,
            Flag("new-user-password", STRING, "", "the password of the new user"),
            Flag("no-password", BOOL, False, "the user logs in with a certificate alone"),
        ),
    ),
    "user get": Command(
        "user get <user name> [options]",
        _get,
        (Flag("detail", BOOL, False, "print what the user's roles may do"),),
    ),
    "user list": Command("user list", _list),
    "user delete": Command("user delete <user name>", _delete),
    "user passwd": Command("user passwd <user name> [options]", _passwd, (INTERACTIVE,)),
    "user grant-role": Command("user grant-role <user name> <role name>", _grant_role),
    "user revoke-role": Command("user revoke-role <user name> <role name>", _revoke_role),
}
