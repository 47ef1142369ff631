"""Requests on keys: what is a legal one, and what it does to the store.

    RPC ──► check ──► (proposed, agreed) ──► execute ──► mvcc
                 └──► read-only: execute at once

- `check`    rules that need no state: key given, operation count, overlapping puts
- `tree`     a TxnRequest read once, as all others here take it
- `ranges`   a RangeRequest on a view of the store: limit, filters, sorting
- `execute`  put, delete, txn on one write transaction; every member computes the same answer

Knows requests, revisions and leases' existence. Refuses to know who asked, how it was agreed, and where bytes rest.
Answers are encoded bodies without header (`api.encode`). Expected errors are `api.errors` and leave no change behind.
"""
