"""Which versions a member reports.

A member speaks the API and the protocols of an etcd release, so it reports that release wherever an etcd client
or an etcd member looks; its own release stands beside it where there is room for both.
"""

QUORATE_VERSION = "0.1.0"

ETCD_VERSION = "3.7.0"
"""The etcd release whose API level, peer protocol and file formats this one has."""

CLUSTER_VERSION = "3.7.0"
"""Major and minor of ETCD_VERSION, patch 0: what a cluster of such members agrees on."""
