"""Empty a server again, through its API: what a test left must not be seen by the next one."""

from __future__ import annotations

import asyncio
import contextlib

from quorate.client import Client, Compacted
from quorate.client.errors import LeaseNotFound


async def wipe(client: Client, compacted: int = 0) -> int:
    """Take away all keys, leases, users, roles and alarms, and compact, so that not even old revisions can be read.

    `compacted` is what the last wipe of this server returned, the revision it compacted at; it is not done again while
    no key has changed. The revision goes on. Raises EtcdError, for one when auth is enabled and `client` may not.
    """
    alarms, leases, users, roles = await asyncio.gather(
        client.maintenance.alarms(), client.leases(), client.auth.users(), client.auth.roles()
    )
    if alarms:
        await client.maintenance.disarm()  # first: under CORRUPT nothing else is taken
    deleting = asyncio.create_task(client.delete("", prefix=True))
    await asyncio.gather(
        deleting,
        *(_revoke(client, lease) for lease in leases),
        *(client.auth.user_delete(name) for name in users),
        *(client.auth.role_delete(name) for name in roles),
    )
    revision = deleting.result().header.revision
    if revision > max(compacted, 1):
        with contextlib.suppress(Compacted):
            await client.compact(revision)
    return revision


async def _revoke(client: Client, lease: int) -> None:
    with contextlib.suppress(LeaseNotFound):  # it has run out meanwhile
        await client.revoke(lease)
