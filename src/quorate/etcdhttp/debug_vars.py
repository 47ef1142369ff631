"""/debug/vars: what the process is, and where raft stands, as one JSON object."""

from __future__ import annotations

import gc
import json
import sys
from typing import Any

from quorate.etcdhttp.metrics.process import open_files_limit, resident_bytes
from quorate.server import Server
from quorate.transport.web import HttpResponse

KIND = "application/json; charset=utf-8"


def debug_vars(server: Server) -> HttpResponse:
    """In the form of Go's expvar: a line for each variable."""
    variables = {
        "cmdline": sys.orig_argv,
        "file_descriptor_limit": open_files_limit(),
        "memstats": _memory(),
        "raft.status": _raft(server),
    }
    lines = ",\n".join(f"{json.dumps(name)}: {_compact(value)}" for name, value in variables.items())
    return HttpResponse(200, [("Content-Type", KIND)], f"{{\n{lines}\n}}\n".encode())


def _memory() -> dict[str, Any]:
    """What the interpreter knows of its memory; runtimes have little in common here."""
    return {"Resident": resident_bytes(), "AllocatedBlocks": sys.getallocatedblocks(), "Collections": gc.get_stats()}


def _raft(server: Server) -> dict[str, Any]:
    status = server.node.status()
    basic = status.basic
    return {
        "id": f"{basic.id:x}",
        "term": basic.hard_state.term,
        "vote": f"{basic.hard_state.vote:x}",
        "commit": basic.hard_state.commit,
        "lead": f"{basic.lead:x}",
        "raftState": basic.role.text,
        "applied": basic.applied,
        "progress": {
            f"{member:x}": {"match": progress.match, "next": progress.next, "state": progress.state.text}
            for member, progress in sorted(status.progress.items())
        },
        "leadtransferee": f"{basic.lead_transferee:x}",
    }


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
