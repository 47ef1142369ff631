"""`python -m quorate.cmd.benchmark` is `etcd-benchmark`."""

from quorate.cmd.benchmark.main import main

main()
