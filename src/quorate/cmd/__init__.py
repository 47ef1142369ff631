"""The commands. `etcd` runs a member; what operators type and see is decided here and nowhere else."""
