"""Quorate: etcd in Python. The building is drawn in docs/architecture/README.md."""
