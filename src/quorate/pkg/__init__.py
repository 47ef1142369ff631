"""Small tools that never heard of etcd.

- `goflag`   command lines as Go's flag package reads them, durations as Go writes them
- `jsonlog`  log lines as JSON objects
- `urls`     lists of listen and advertise URLs
- `ids`      unique 64-bit request IDs
"""
