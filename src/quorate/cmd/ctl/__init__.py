"""`etcdctl`: the command line of a cluster.

    index      which commands there are, in which module, in one line each
    flags      command lines as cobra and pflag read them; globals: the flags of every command, and ETCDCTL_*
    run        one run of one command: flags, arguments, input, output
    rpc        methods and calls over several endpoints, on `transport.grpc.blocking`
    each       commands that ask each endpoint for itself
    show       the five formats of answers: simple, fields, json, protobuf, table
    main       from words to an exit code
    kv, lease, ...   the commands
    disk, network    what `check` measures; advice: which settings follow from it

How to add a command: put a line into `index.INDEX` (words, module, what it does), and into the module's `COMMANDS`
a `Command` with its use, its flags and its function. The function gets a `Run`:

    def revoke(run: Run) -> None:
        if len(run.args) != 1:
            raise Fail(BAD_ARGS, "lease revoke command needs 1 argument")
        lease = run.args[0]                                   # checks of arguments come before anything is sent
        reply = run.client().call("LeaseRevoke", ID=int(lease, 16))   # a Message of api.plain; raises Fail
        run.show(reply, simple=lambda: [f"lease {lease} revoked"], fields=lambda: header_fields(reply))

`run.show` takes lines without their ends, as str or bytes, for the formats that are not made from the message alone;
json and protobuf are. A format that is not given is one that the command does not have (exit code 4). Heavy modules
are imported where they are used: `etcdctl get` has to be quick from a cold start.
"""

from __future__ import annotations
