"""What the process is doing, for who asks under /debug/pprof/: profiles that `go tool pprof` and flame graphs read.

    profile    where processor time goes: stacks of all threads, sampled, weighted by the time each thread had
    heap       what was allocated for a while and is still there
    goroutine  what every thread and every task waits for

- `stacks`   frames of threads and tasks     - `sampler`  the thread that looks
- `format`   stacks ──► pprof's message, or text
- `heap`     allocations                     - `handler`  the paths

Python keeps no account of contention, of garbage, or of scheduling, so the others of Go's profiles are not there.
"""

from quorate.etcdhttp.profiles.handler import Profiles

__all__ = ["Profiles"]
