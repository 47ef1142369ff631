"""Golden text scripts: what goes in, and the text that must come out.

    python -m quorate.testing.datadriven FOLDER…

runs every `*.txt` under the folders, prints what differs, closes with `N passed, M failed`, and exits with 0 only
when all passed and there were any.

Scripts for raft are known by their commands: clusters of nodes (`interaction`), configuration changes (`confchange`)
and majorities (`quorum`). Those for a room with a state begin with a directive of its name: the log on disk (`wal`),
keys at revisions (`mvcc`), leases (`lease`); they run on real files in a directory of their own. Each of these modules
begins with the list of its commands, and each script is named as the claim it holds.

Source of the formats: the datadriven scripts of etcd's raft library.
"""

from quorate.testing.datadriven.runner import Difference, run_script, scripts
from quorate.testing.datadriven.script import Command, ScriptError, parse

__all__ = ["Command", "Difference", "ScriptError", "parse", "run_script", "scripts"]
