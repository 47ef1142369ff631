"""Generated protobuf modules and the .proto files they come from; `tools/gen_proto.py` makes them.

Package names carry a `quorate.` prefix so that this package and any other etcd client library can be loaded into one
process: protobuf keeps one registry of full message names. The prefix never reaches the wire.
"""
