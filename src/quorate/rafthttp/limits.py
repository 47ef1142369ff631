"""Every limit and every clock of the wires between members."""

from __future__ import annotations

MESSAGE_LIMIT = 512 * 1_048_576
"""Bytes of one message on a stream."""

ENTRIES_LIMIT = 1 << 20
"""Entries of one message on a msgapp stream."""

SNAPSHOT_MESSAGE_LIMIT = 64 * 1_048_576
"""Bytes of the message in front of a database; the database itself has no limit."""

HELD_BYTES = 4 * 1_048_576
"""Bytes a stream's socket may have waiting; then messages wait as values, which share their entries with the log."""

HELD_MESSAGES = 4096
"""Messages that wait for a stream's socket; more are dropped."""

HELD_POLL = 0.005
"""Seconds between two looks at a socket that had too much waiting."""

PIPELINE_WORKERS = 4
"""Requests on their way to one member at once."""

PIPELINE_QUEUE = 64
"""Messages that wait for one of them; more are dropped."""

FULL_REPORT = 1.0
"""Seconds between two warnings that messages to one member found no place."""

REMOTES_LIMIT = 64
"""Members known only by the requests they sent; more are not answered."""

HEARTBEAT = 5 / 3
"""Seconds between two signs of life on a stream."""

SILENCE = 5.0
"""Seconds a stream may say nothing, or take nothing, before it is dropped."""

DIAL_TIMEOUT = 1.0
"""Seconds, beside an election timeout, until a member must have answered a request for a stream."""

REDIAL = 0.1
"""Seconds from one request for a stream to the next."""

ANSWER_TIMEOUT = 5.0
"""Seconds until a member must have taken a message that was sent as a request of its own."""

SNAPSHOT_ANSWER_TIMEOUT = 600.0
"""Seconds a member may take to store a database after its last byte."""

REFUSAL_LIMIT = 65_536
"""Bytes of an answer to a request; there is no reason for more than a line."""

PROBE_INTERVAL = 4.0
"""Seconds between two probes of a member."""

PROBE_TIMEOUT = 5.0
"""Seconds until a probe must be answered."""

PROBE_REPORT = 30.0
PROBE_REPORT_ILL = 5.0
"""Seconds between two warnings about what the probes found, and while they fail."""

CLOCK_DIFFERENCE = 1.0
"""Seconds by which the clocks of two members may differ before there is a warning."""
