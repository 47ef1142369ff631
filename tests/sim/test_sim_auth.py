"""Auth on simulated members: what they draw comes from the seed, and every member knows a token with its entry."""

from __future__ import annotations

import base64
from collections.abc import Coroutine
from typing import Any

import pytest
from sim_scenes import Scene

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as pb


def run(scene: Scene, number: int, work: Coroutine[Any, Any, Any]) -> Any:
    """As a call that member serves."""
    return scene.scheduler.run(scene.members[number].process.loop, work)


def prepare(scene: Scene) -> None:
    """User root; auth is on then."""
    server = scene.server(0)
    server.callers._cost = 4
    hashed = base64.b64encode(run(scene, 0, server.callers.hash_password("pw"))).decode()
    for kind, request in (
        ("auth_user_add", pb.AuthUserAddRequest(name="root", hashedPassword=hashed)),
        ("auth_user_grant_role", pb.AuthUserGrantRoleRequest(user="root", role="root")),
        ("auth_enable", pb.AuthEnableRequest()),
    ):
        run(scene, 0, server.propose(kind, request))


def login(scene: Scene, number: int) -> str:
    request = pb.AuthenticateRequest(name="root", password="pw")
    reply = run(scene, number, scene.server(number).callers.authenticate(request))
    return str(pb.AuthenticateResponse.FromString(reply.body).token)


def disable(scene: Scene) -> None:
    """So that the scene can be judged without a token."""
    run(scene, 0, scene.server(0).propose("auth_disable", pb.AuthDisableRequest(), caller=scene.server(0).auth.root()))


def test_tokens_and_salts_come_from_the_seed() -> None:
    def play() -> tuple[str, bytes]:
        with Scene(3, seed=5) as scene:
            prepare(scene)
            token, password = login(scene, 1), scene.server(2).auth.user("root").password
            disable(scene)
            return token, password

    assert play() == play()


def test_a_member_that_lags_waits_for_the_entry_of_a_token() -> None:
    with Scene(3) as scene:
        prepare(scene)
        scene.lead(0)
        scene.settle()
        scene.deaf_to_commits(2)
        token = login(scene, 0)
        loop = scene.members[2].process.loop
        found = loop.create_task(scene.server(2).callers.of_token(token))
        scene.scheduler.run_for(1.0)
        assert not found.done()
        scene.hear_all()
        scene.until(found.done)
        assert found.result() == ("root", scene.server(2).auth.revision)
        disable(scene)


def test_a_token_is_gone_with_the_process_that_knew_it_and_the_user_is_not() -> None:
    with Scene(3, snapshot_count=5) as scene:
        prepare(scene)
        token = login(scene, 0)
        scene.scheduler.run_for(2.0)  # what it did is in the database, so it is not done again
        scene.restart(2, power=True)
        assert scene.server(2).auth.enabled
        with pytest.raises(errors.InvalidAuthToken):
            run(scene, 2, scene.server(2).callers.of_token(token))
        assert run(scene, 1, scene.server(1).callers.of_token(token)).name == "root"
        assert run(scene, 2, scene.server(2).callers.of_token(login(scene, 2))).name == "root"
        assert len({server.auth.revision for server in map(scene.server, range(3))}) == 1
        disable(scene)
