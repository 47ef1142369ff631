"""`etcd-benchmark`: load any etcd and say how fast it answered; the engine of bench/ as well.

Knows: the sub-commands and flags of etcd's `benchmark`, how load is made and how it is told.
Refuses to know: how members are started or measured from outside; bench/compare.py does that.

    main ── plan ──► fleet ──stdin──► process  (one or several; each a loop of its own)
     ▲                 ▲                 │ jobs: unary · stm · watch, as generators that yield requests
     └── report ◄──────┴──stdout──◄──────┘ wire: one connection each, no task and no future per request

A caller is a generator: it yields a path and a request and is resumed with the reply, in the turn of the loop in which
the reply was read; what it yields next leaves with the same write. So a request costs the generator little more than
its frames, and the member is the limit.
"""
