"""Golden text scripts, run against the raft machine.

    python -m quorate.testing.datadriven FOLDER…

runs every `*.txt` under the folders, prints what differs, closes with `N passed, M failed`, and exits with 0 only
when all passed and there were any. Three kinds of scripts are known by their commands: clusters of nodes
(`interaction`), configuration changes (`confchange`) and majorities (`quorum`).

Source of the formats: the datadriven scripts of etcd's raft library.
"""

from quorate.testing.datadriven.runner import Difference, run_script, scripts
from quorate.testing.datadriven.script import Command, ScriptError, parse

__all__ = ["Command", "Difference", "ScriptError", "parse", "run_script", "scripts"]
