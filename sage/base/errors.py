"""Every error raised on purpose. Knows nothing of who raises or shows it.

SageError                      code       whose fault
├── CallerError                           the caller's: change the call
│   ├── FlowInvalid            SAGE-1101
│   ├── UnknownAddress         SAGE-1102
│   ├── ConfigInvalid          SAGE-1103
│   ├── UnknownModel           SAGE-1201
│   ├── UnknownPolicy          SAGE-1202
│   ├── InvalidRequest         SAGE-1203
│   ├── ContextOverflow        SAGE-1204
│   ├── RecordFailed           SAGE-1301
│   ├── SourceUnreadable       SAGE-1302
│   ├── SinkUnwritable         SAGE-1303
│   ├── JobCancelled           SAGE-1304
│   ├── UnknownJob             SAGE-1305
│   ├── UnknownNode            SAGE-1306
│   ├── NameTaken              SAGE-1307
│   ├── RecordUnsendable       SAGE-1308
│   ├── NotAnswered            SAGE-1309
│   ├── UnknownLetter          SAGE-1310
│   ├── UnknownState           SAGE-1311
│   ├── NotTrusted             SAGE-1401
│   ├── TokenInvalid           SAGE-1402
│   ├── CodeMismatch           SAGE-1403
│   └── CodeRefused            SAGE-1404
├── WorldError                            the machine's or the moment's: mend it or try later
│   ├── NoRoom                 SAGE-2101
│   ├── TaskStuck              SAGE-2102
│   ├── JobTimeout             SAGE-2103
│   ├── NodeLost               SAGE-2104
│   ├── DeviceLost             SAGE-2109
│   ├── JobInterrupted         SAGE-2105
│   ├── JournalUnusable        SAGE-2106
│   │   └── JournalDamaged     SAGE-2112
│   ├── CheckpointUnusable     SAGE-2107
│   ├── StateUnreachable       SAGE-2110
│   ├── CacheUnusable          SAGE-2111
│   ├── DiskFull               SAGE-2113
│   ├── Overloaded             SAGE-2201
│   ├── NoEngine               SAGE-2202
│   ├── EngineLost             SAGE-2203
│   ├── EngineStartFailed      SAGE-2204
│   ├── DeadlineExceeded       SAGE-2205
│   ├── RequestCancelled       SAGE-2206
│   ├── RequestFailed          SAGE-2207
│   ├── QuotaExceeded          SAGE-2208
│   ├── BudgetSpent            SAGE-2209
│   ├── ModelMissing           SAGE-2301
│   ├── ModelCorrupt           SAGE-2302
│   ├── ExtraMissing           SAGE-2303
│   ├── PackageShadowed        SAGE-2304
│   ├── KeysUnsafe             SAGE-2401
│   ├── WireMismatch           SAGE-2501
│   ├── ClusterUnreachable     SAGE-2502
│   ├── ClusterRunning         SAGE-2503
│   ├── ClusterStartFailed     SAGE-2504
│   └── MembershipOver         SAGE-2505
└── InternalError              SAGE-9001  ours: please report it
"""

from sage.base.cluster_errors import ClusterRunning as ClusterRunning
from sage.base.cluster_errors import ClusterStartFailed as ClusterStartFailed
from sage.base.cluster_errors import ClusterUnreachable as ClusterUnreachable
from sage.base.cluster_errors import MembershipOver as MembershipOver
from sage.base.cluster_errors import WireMismatch as WireMismatch
from sage.base.lookup_errors import CacheUnusable as CacheUnusable
from sage.base.lookup_errors import StateUnreachable as StateUnreachable
from sage.base.lookup_errors import UnknownState as UnknownState
from sage.base.quota_errors import BudgetSpent as BudgetSpent
from sage.base.quota_errors import QuotaExceeded as QuotaExceeded
from sage.base.sage_error import CallerError as CallerError
from sage.base.sage_error import SageError as SageError
from sage.base.sage_error import WorldError as WorldError


class FlowInvalid(CallerError):
    """A flow that cannot run: no sink, a cycle, two steps of one name; names the user's line."""

    code = "SAGE-1101"


class UnknownAddress(CallerError):
    """No runner serves this address."""

    code = "SAGE-1102"


class ConfigInvalid(CallerError):
    """A setting that is unknown or of the wrong type; says where it was read."""

    code = "SAGE-1103"


class UnknownModel(CallerError):
    """No engine serves, and the catalogue does not know, a model of this name."""

    code = "SAGE-1201"


class UnknownPolicy(CallerError):
    """No scheduling policy, and no route, has this name."""

    code = "SAGE-1202"


class InvalidRequest(CallerError):
    """A request field that is unknown, of the wrong type or out of range; `param` names it."""

    code = "SAGE-1203"


class ContextOverflow(CallerError):
    """Prompt and answer do not fit the model's context."""

    code = "SAGE-1204"


class RecordFailed(CallerError):
    """A user function raised on a record; `user_traceback` starts at the user's own frame."""

    code = "SAGE-1301"
    user_traceback: str = ""


class SourceUnreadable(CallerError):
    """A source that cannot be opened or read: missing file, wrong encoding, broken line."""

    code = "SAGE-1302"


class SinkUnwritable(CallerError):
    """A sink that cannot be opened or written. `at`: which of the records given is why; the others can be written.

    `raised`: what a function of the user's raised on that record. `others`: errors of more records of the batch that
    are refused, each with its `at`; what is in neither can be written.
    """

    code = "SAGE-1303"
    at: int | None = None
    raised: Exception | None = None
    others: "tuple[SinkUnwritable, ...]" = ()


class JobCancelled(CallerError):
    """The job was cancelled before it ended."""

    code = "SAGE-1304"


class UnknownJob(CallerError):
    """The cluster knows no job of this id, or knows it no more."""

    code = "SAGE-1305"


class UnknownNode(CallerError):
    """No node of this name is a member of the cluster."""

    code = "SAGE-1306"


class NameTaken(CallerError):
    """Another node of the cluster, or another job, has this name."""

    code = "SAGE-1307"


class RecordUnsendable(CallerError):
    """A record that holds what cannot travel to another process; names the type and the step that sends it."""

    code = "SAGE-1308"


class NotAnswered(CallerError):
    """A flow that is asked as a model took the request, and no step of it gave a reply."""

    code = "SAGE-1309"


class UnknownLetter(CallerError):
    """A dead letter that is not on this machine, or whose record or step is there no more."""

    code = "SAGE-1310"


class NotTrusted(CallerError):
    """A key that is not on the cluster's allow-list, or is there in another role."""

    code = "SAGE-1401"


class TokenInvalid(CallerError):
    """A join token that is unknown, used, expired or damaged."""

    code = "SAGE-1402"


class CodeMismatch(CallerError):
    """A node's copy of a flow is not the one submitted; names both hashes and the node."""

    code = "SAGE-1403"


class CodeRefused(CallerError):
    """Shipped code that a node does not run: forged, expired, of another job, or shipping is off."""

    code = "SAGE-1404"


class NoRoom(WorldError):
    """No node has the resources that a step asks for; says what is missing where."""

    code = "SAGE-2101"


class TaskStuck(WorldError):
    """A user function kept running after its job was stopped; names the function."""

    code = "SAGE-2102"


class JobTimeout(WorldError):
    """The job did not end in the time given to `run` or `wait`."""

    code = "SAGE-2103"


class NodeLost(WorldError):
    """A node of the cluster ended, or was not heard from for too long, and took with it what ran there."""

    code = "SAGE-2104"


class DeviceLost(WorldError):
    """A GPU that a task or an engine was given broke, or is gone; its node works on."""

    code = "SAGE-2109"


class JobInterrupted(WorldError):
    """The job manager ended while the job ran, and the job cannot begin again by itself."""

    code = "SAGE-2105"


class JournalUnusable(WorldError):
    """The file in which a job manager keeps its jobs is corrupt, of another program or version, in use, or full."""

    code = "SAGE-2106"


class JournalDamaged(JournalUnusable):
    """Not all is in a job manager's file as it was written: its disk lost or changed some of it."""

    code = "SAGE-2112"


class CheckpointUnusable(WorldError):
    """What a job is to go on from is corrupt, missing, in use or of another flow, or cannot be written."""

    code = "SAGE-2107"


class DiskFull(WorldError):
    """There is no room where a job writes: it waits, and reads nothing meanwhile; it fails once that took too long."""

    code = "SAGE-2113"


class Overloaded(WorldError):
    """A bounded queue is full; try again after `retry_after_s`."""

    code = "SAGE-2201"


class NoEngine(WorldError):
    """The model is known, but no engine that serves it is up."""

    code = "SAGE-2202"


class EngineLost(WorldError):
    """The engine's process ended while it worked on the request."""

    code = "SAGE-2203"


class EngineStartFailed(WorldError):
    """An engine's process did not become ready."""

    code = "SAGE-2204"


class DeadlineExceeded(WorldError):
    """The request's deadline passed before its answer was complete, or no answer could be complete by it."""

    code = "SAGE-2205"


class RequestCancelled(WorldError):
    """The request was cancelled by whoever asked."""

    code = "SAGE-2206"


class RequestFailed(WorldError):
    """The engine failed on this one request; others go on."""

    code = "SAGE-2207"


class ModelMissing(WorldError):
    """The model's files are not on this machine; `sage models pull` brings them."""

    code = "SAGE-2301"


class ModelCorrupt(WorldError):
    """A model file does not have its pinned SHA-256."""

    code = "SAGE-2302"


class ExtraMissing(WorldError):
    """What an optional part needs is not installed, or could not be; names the way to it."""

    code = "SAGE-2303"


class PackageShadowed(WorldError):
    """Another distribution's package hides one of ours; names both places."""

    code = "SAGE-2304"


class KeysUnsafe(WorldError):
    """Keys that are missing, damaged or open to other users, where an open address needs them."""

    code = "SAGE-2401"


class InternalError(SageError):
    """Our fault."""

    code = "SAGE-9001"
