"""One committed entry in, one result out: the same on every member.

    entry ──► InternalRaftRequest ──► alarms · quota · guard ──► txn · lease · auth · membership ──► Applied | EtcdError

Knows which request does what to which state. Refuses to know who waits for the result, and how the entry got here.
The rule of this room: an error that follows from the entry and the state alone is the result on every member; anything
else is let through and stops the member, before it diverges from the others (`server`).
"""

from quorate.apply.alarms import Alarms, alarm_name
from quorate.apply.applier import Applied, Applier
from quorate.apply.guard import Guard
from quorate.apply.quota import Costly, Quota, cost_of

__all__ = ["Alarms", "Applied", "Applier", "Costly", "Guard", "Quota", "alarm_name", "cost_of"]
