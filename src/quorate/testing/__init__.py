"""What tests are made of, for this project and for those who embed it.

- `datadriven`  runs golden text scripts against the raft machine
- `process`     a member as a child process

Refuses to be imported by anything that serves.
"""
