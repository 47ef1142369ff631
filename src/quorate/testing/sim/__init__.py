"""A simulated world for members: virtual time, a network, disks, and dice from one seed. One seed, one run.

- `scheduler`  the one queue, by (time, sequence); `loop` the event loop of one process on it; `clock` its machine's
- `network`    machines and links, and their faults; `host` listens and connects; `tcp` the ends of a connection,
               `pipe` what is between them
- `disk`       what was not synced may vanish or tear, on `content`; `rows` the backend on it, with `tables` for a file;
               `log_writer` the thread of the log
- `trace`      one line per event: time, member, what
- `member`     a machine with a member; `cluster` several, and the clients' machine
- `clients`    what they ask; `nemesis` what goes wrong meanwhile, both drawn by the seed; `operator` replaces members
- `invariants` what holds at every turn; `checks` the verdict in the end
- `run`        one seed; `python -m quorate.testing.sim` many

    scheduler = Scheduler(Trace())
    network = Network(scheduler, random.Random(seed))
    network.host("m1", "10.0.0.1")                      a machine
    loop = scheduler.member("m1")                       a process: its event loop
    network.host("m1").attach(loop)
    scheduler.run(loop, start())                        production code, on loop and network, unchanged
    network.isolate("m1"); loop.pause(); loop.crash()   faults
    scheduler.run_until(condition)

Up to `log_writer` it knows asyncio, TCP and disks, and nothing of what a member is. docs/testing/simulator.md tells how
to read a seed that fails. Code that is simulated takes its chance from dice it is handed, and starts no threads.
"""
