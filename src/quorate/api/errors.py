"""Every error of etcd that a client can see: gRPC code and exact text, one class each.

Server and client share this one table. A class is raised where the fact is found, `code` and `text` go to the wire,
and `from_status` gives a client the same class back. Texts are those that running servers send.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """gRPC status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class EtcdError(Exception):
    """Root of all errors with a gRPC status. `code` and `text` are what the wire carries."""

    code: ClassVar[Code] = Code.UNKNOWN
    text: ClassVar[str] = ""
    revision: int = 0
    """Of the store, where the error names one: the first that is left, for what is compacted."""

    def __init__(self) -> None:
        super().__init__(self.text)


_BY_STATUS: dict[tuple[int, str], type[EtcdError]] = {}


def _error(name: str, code: Code, text: str, prefix: str = "etcdserver: ") -> type[EtcdError]:
    """Make one class of the table and file it under its status."""
    full = prefix + text
    made = type(name, (EtcdError,), {"code": code, "text": full, "__doc__": full, "__module__": __name__})
    _BY_STATUS[(code, full)] = made
    return made


def from_status(code: int, text: str) -> EtcdError | None:
    """The error a status stands for, or None when the table has no such line."""
    found = _BY_STATUS.get((code, text))
    return found() if found else None


_C = Code

EmptyKey = _error("EmptyKey", _C.INVALID_ARGUMENT, "key is not provided")
KeyNotFound = _error("KeyNotFound", _C.INVALID_ARGUMENT, "key not found")
ValueProvided = _error("ValueProvided", _C.INVALID_ARGUMENT, "value is provided")
LeaseProvided = _error("LeaseProvided", _C.INVALID_ARGUMENT, "lease is provided")
TooManyOps = _error("TooManyOps", _C.INVALID_ARGUMENT, "too many operations in txn request")
DuplicateKey = _error("DuplicateKey", _C.INVALID_ARGUMENT, "duplicate key given in txn request")
InvalidClientApiVersion = _error("InvalidClientApiVersion", _C.INVALID_ARGUMENT, "invalid client api version")
InvalidSortOption = _error("InvalidSortOption", _C.INVALID_ARGUMENT, "invalid sort option")
Compacted = _error("Compacted", _C.OUT_OF_RANGE, "mvcc: required revision has been compacted")
FutureRevision = _error("FutureRevision", _C.OUT_OF_RANGE, "mvcc: required revision is a future revision")
NoSpace = _error("NoSpace", _C.RESOURCE_EXHAUSTED, "mvcc: database space exceeded")

LeaseNotFound = _error("LeaseNotFound", _C.NOT_FOUND, "requested lease not found")
LeaseExists = _error("LeaseExists", _C.FAILED_PRECONDITION, "lease already exists")
LeaseTtlTooLarge = _error("LeaseTtlTooLarge", _C.OUT_OF_RANGE, "too large lease TTL")
NotPrimaryLessor = _error("NotPrimaryLessor", _C.UNKNOWN, "not a primary lessor", prefix="")

MemberExists = _error("MemberExists", _C.FAILED_PRECONDITION, "member ID already exist")
PeerUrlExists = _error("PeerUrlExists", _C.FAILED_PRECONDITION, "Peer URLs already exists")
NotEnoughStarted = _error("NotEnoughStarted", _C.UNKNOWN, "re-configuration failed due to not enough started members")
BadMemberUrls = _error("BadMemberUrls", _C.INVALID_ARGUMENT, "given member URLs are invalid")
MemberNotFound = _error("MemberNotFound", _C.NOT_FOUND, "member not found")
MemberNotLearner = _error("MemberNotLearner", _C.FAILED_PRECONDITION, "can only promote a learner member")
LearnerNotReady = _error(
    "LearnerNotReady",
    _C.FAILED_PRECONDITION,
    "can only promote a learner member which is in sync with leader",
)
TooManyLearners = _error("TooManyLearners", _C.FAILED_PRECONDITION, "too many learner members in cluster")
ClusterIdMismatch = _error("ClusterIdMismatch", _C.FAILED_PRECONDITION, "cluster ID mismatch")

RequestTooLarge = _error("RequestTooLarge", _C.INVALID_ARGUMENT, "request is too large")
TooManyRequests = _error("TooManyRequests", _C.UNKNOWN, "too many requests")
DeadlineExceeded = _error("DeadlineExceeded", _C.DEADLINE_EXCEEDED, "context deadline exceeded", prefix="")
ProposalDropped = _error("ProposalDropped", _C.UNKNOWN, "raft proposal dropped", prefix="")

RootUserMissing = _error("RootUserMissing", _C.FAILED_PRECONDITION, "root user does not exist")
RootRoleMissing = _error("RootRoleMissing", _C.FAILED_PRECONDITION, "root user does not have root role")
UserExists = _error("UserExists", _C.FAILED_PRECONDITION, "user name already exists")
UserEmpty = _error("UserEmpty", _C.INVALID_ARGUMENT, "user name is empty")
UserNotFound = _error("UserNotFound", _C.FAILED_PRECONDITION, "user name not found")
RoleExists = _error("RoleExists", _C.FAILED_PRECONDITION, "role name already exists")
RoleNotFound = _error("RoleNotFound", _C.FAILED_PRECONDITION, "role name not found")
RoleEmpty = _error("RoleEmpty", _C.INVALID_ARGUMENT, "role name is empty")
AuthFailed = _error("AuthFailed", _C.INVALID_ARGUMENT, "authentication failed, invalid user ID or password")
PermissionNotGiven = _error("PermissionNotGiven", _C.INVALID_ARGUMENT, "permission not given")
PermissionDenied = _error("PermissionDenied", _C.PERMISSION_DENIED, "permission denied")
RoleNotGranted = _error("RoleNotGranted", _C.FAILED_PRECONDITION, "role is not granted to the user")
PermissionNotGranted = _error("PermissionNotGranted", _C.FAILED_PRECONDITION, "permission is not granted to the role")
AuthNotEnabled = _error("AuthNotEnabled", _C.FAILED_PRECONDITION, "authentication is not enabled")
InvalidAuthToken = _error("InvalidAuthToken", _C.UNAUTHENTICATED, "invalid auth token")
InvalidAuthManagement = _error("InvalidAuthManagement", _C.INVALID_ARGUMENT, "invalid auth management")
AuthOldRevision = _error("AuthOldRevision", _C.INVALID_ARGUMENT, "revision of auth store is old")
PasswordForNone = _error(
    "PasswordForNone", _C.UNKNOWN, "auth: authentication failed, password was given for no password user", prefix=""
)
PasswordTooLong = _error("PasswordTooLong", _C.UNKNOWN, "bcrypt: password length exceeds 72 bytes", prefix="")
TokenVerifyOnly = _error("TokenVerifyOnly", _C.UNKNOWN, "auth: token signing attempted with verify-only key", prefix="")

NoLeader = _error("NoLeader", _C.UNAVAILABLE, "no leader")
NotLeader = _error("NotLeader", _C.FAILED_PRECONDITION, "not leader")
LeaderChanged = _error("LeaderChanged", _C.UNAVAILABLE, "leader changed")
NotCapable = _error("NotCapable", _C.FAILED_PRECONDITION, "not capable")
Stopped = _error("Stopped", _C.UNAVAILABLE, "server stopped")
Timeout = _error("Timeout", _C.UNAVAILABLE, "request timed out")
TimeoutLeaderFail = _error(
    "TimeoutLeaderFail", _C.UNAVAILABLE, "request timed out, possibly due to previous leader failure"
)
TimeoutConnectionLost = _error(
    "TimeoutConnectionLost", _C.UNAVAILABLE, "request timed out, possibly due to connection lost"
)
TimeoutWaitApplied = _error(
    "TimeoutWaitApplied",
    _C.UNAVAILABLE,
    "request timed out, waiting for the applied index took too long",
)
TimeoutLeaderTransfer = _error("TimeoutLeaderTransfer", _C.UNKNOWN, "request timed out, leader transfer took too long")
Unhealthy = _error("Unhealthy", _C.UNAVAILABLE, "unhealthy cluster")
Corrupt = _error("Corrupt", _C.DATA_LOSS, "corrupt cluster")
NotSupportedForLearner = _error("NotSupportedForLearner", _C.FAILED_PRECONDITION, "rpc not supported for learner")
BadLeaderTransferee = _error("BadLeaderTransferee", _C.FAILED_PRECONDITION, "bad leader transferee")

ClusterVersionUnavailable = _error(
    "ClusterVersionUnavailable",
    _C.FAILED_PRECONDITION,
    "cluster version not found during downgrade",
)
WrongDowngradeVersionFormat = _error(
    "WrongDowngradeVersionFormat",
    _C.INVALID_ARGUMENT,
    "wrong downgrade target version format",
)
InvalidDowngradeTarget = _error("InvalidDowngradeTarget", _C.INVALID_ARGUMENT, "invalid downgrade target version")
DowngradeInProcess = _error("DowngradeInProcess", _C.FAILED_PRECONDITION, "cluster has a downgrade job in progress")
UnknownMethod = _error("UnknownMethod", _C.UNKNOWN, "unknown method")

MutexSessionExpired = _error("MutexSessionExpired", _C.UNKNOWN, "mutex: session is expired", prefix="")
ElectionNotLeader = _error("ElectionNotLeader", _C.UNKNOWN, "election: not leader", prefix="")
ElectionNoLeader = _error("ElectionNoLeader", _C.UNKNOWN, "election: no leader", prefix="")
ElectionObserveClosed = _error("ElectionObserveClosed", _C.UNKNOWN, "election: observe closed early", prefix="")
ElectionLeaderMissing = _error("ElectionLeaderMissing", _C.UNKNOWN, '"leader" field must be provided', prefix="")

WATCHER_RANGE_EMPTY = "mvcc: watcher range is empty"
WATCHER_DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
"""Reasons that refuse a watcher; they travel inside a WatchResponse, not as a status."""
