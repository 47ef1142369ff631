"""What tests are made of, for this project and for those who embed it.

- `datadriven`  runs golden text scripts against raft, the log on disk, keys at revisions and leases
- `process`     a member as a child process
- `cluster`     several of them, `proxy` the network between them, with scissors, `background` the loop both run on
- `workload`    clients that write down what they were told; `faults` what goes wrong meanwhile
- `requests`    what clients ask for; `watching` clients with watches of all kinds
- `history`     whether one store could have said it all: by `story`, all events, and `model`, the rules of key-value
- `guarantees`  whether watches kept their promises; `verdict` the last questions to the cluster
- `local`       a cluster on this machine with one command
- `plugin`      fixtures for pytest: `shared`, one server for all tests, emptied by `reset`; `faulty`, a cluster for one
- `__main__`    any command with a server in its `environment`

Refuses to be imported by anything that serves.
"""
