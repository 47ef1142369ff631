"""What tests are made of, for this project and for those who embed it.

- `datadriven`  runs golden text scripts against the raft machine

Refuses to be imported by anything that serves.
"""
