"""How a node stands with its head: what it does when it joins, is silent, is refused or told to end. Pure.

OUT --joined--> JOINING --admitted--> MEMBER --lost or lease over--> FENCING --nothing runs--> OUT
                                         `--told to end--> LEAVING --nothing runs--> ENDED
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from sage.base.errors import NameTaken, SageError
from sage.base.ids import JobId

FIRST_RETRY_S = 0.2
LAST_RETRY_S = 5.0
JOIN_TIMEOUT_S = 3.0
NAME_TAKEN_S = 4.0
"""How long a name may be taken by who has ended: longer than the head counts on any member that it does not hear."""

NAME_RETRY_S = 0.5
NUM_SENT = 64


class Stand(Enum):
    OUT = auto()  # no connection; a time to try again is set
    JOINING = auto()
    MEMBER = auto()
    FENCING = auto()  # what runs is being stopped, with nobody to report to
    LEAVING = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Connect anew and send a Join."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection; nothing is sent any more."""


@dataclass(frozen=True, slots=True)
class StopRuns:
    """Stop everything that runs."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    after_s: float


@dataclass(frozen=True, slots=True)
class EndNodeNow:
    """End the process; `error` None: as it was told to."""

    error: SageError | None


StandOrder = Reconnect | Disconnect | StopRuns | RetryIn | EndNodeNow


class Standing:
    """Decides; whoever holds it obeys, in order. It tries to join for ever, unless the head refuses it."""

    def __init__(self) -> None:
        self._runs: dict[JobId, None] = {}
        self._stopping: set[JobId] = set()
        self._retry_s = FIRST_RETRY_S
        self._ends = False
        self._error: SageError | None = None
        self._sent_s: dict[int, float] = {}
        self._num_sent = 0
        self._joined_s = 0.0
        self._was_member = False
        self._taken_since_s: float | None = None  # when the first wish of those was sent that found the name taken
        self.stand = Stand.OUT

    # Runs.

    def began(self, run_id: JobId) -> None:
        """Count a run that this node was given."""
        self._runs[run_id] = None

    def stopped(self, run_id: JobId) -> list[StandOrder]:
        """Nothing of a run is left here."""
        self._runs.pop(run_id, None)
        self._stopping.discard(run_id)
        return self._settle()

    def stops(self, run_id: JobId) -> None:
        """A run is being stopped: nothing of it may begin here any more, though `stopped` is still to come."""
        if run_id in self._runs:
            self._stopping.add(run_id)

    def goes_on(self, run_id: JobId) -> bool:
        """Say whether this node has a run that is not being stopped."""
        return run_id in self._runs and run_id not in self._stopping

    def takes_runs(self) -> bool:
        """Say whether more may begin here; a node that leaves is given some by a head that does not know it yet."""
        return self.stand is Stand.MEMBER

    @property
    def runs(self) -> Iterable[JobId]:
        return tuple(self._runs)

    # The head.

    def connect(self, now_s: float) -> list[StandOrder]:
        """Try to join, now."""
        if self.stand is not Stand.OUT:
            return []
        self.stand, self._joined_s = Stand.JOINING, now_s
        return [Reconnect()]

    def admitted(self, lease_s: float) -> float:
        """Be a member; return until when the lease holds."""
        self.stand, self._retry_s, self._error = Stand.MEMBER, FIRST_RETRY_S, None
        self._was_member = True
        return self._joined_s + lease_s

    def beat(self, now_s: float) -> int:
        """Return the number of a heartbeat that is sent now."""
        self._num_sent += 1
        self._sent_s[self._num_sent] = now_s
        if len(self._sent_s) > NUM_SENT:
            del self._sent_s[next(iter(self._sent_s))]
        return self._num_sent

    def beat_taken(self, number: int, lease_s: float) -> float | None:
        """Return until when the lease holds now: it counts from when the heartbeat was sent. None: an unknown one."""
        sent_s = self._sent_s.pop(number, None)
        return None if sent_s is None else sent_s + lease_s

    def refused(self, error: SageError, *, may_rejoin: bool) -> list[StandOrder]:
        """The head does not count this node as a member. One that never was may be told something that will not pass,
        such as that its key is not trusted; so it ends. That its name is taken passes if the other has ended, say an
        earlier process of this node: it asks again until the head must have noticed."""
        is_waiting = isinstance(error, NameTaken) and not self._was_member and self._waits_for_name()
        return self._lose(error, may_rejoin=may_rejoin and (self._was_member or is_waiting))

    def lost(self, error: SageError, *, may_rejoin: bool = True) -> list[StandOrder]:
        """The connection is gone, or the lease is over: stop everything, then try again or end."""
        self._taken_since_s = None
        return self._lose(error, may_rejoin=may_rejoin)

    def _waits_for_name(self) -> bool:
        if self._taken_since_s is None:
            self._taken_since_s = self._joined_s
        self._retry_s = min(self._retry_s, NAME_RETRY_S)
        return self._joined_s < self._taken_since_s + NAME_TAKEN_S

    def _lose(self, error: SageError, *, may_rejoin: bool) -> list[StandOrder]:
        if self.stand in (Stand.OUT, Stand.FENCING, Stand.ENDED):
            return []
        self._error = error
        self._ends = self._ends or self.stand is Stand.LEAVING or not may_rejoin
        self.stand = Stand.FENCING
        return [Disconnect(), StopRuns(), *self._settle()]

    def told_to_end(self) -> list[StandOrder]:
        """Stop everything, tell the head, and end."""
        if self.stand in (Stand.LEAVING, Stand.ENDED):
            return []
        self._ends, self._error = True, None
        if self.stand is Stand.MEMBER:
            self.stand = Stand.LEAVING
        else:
            self.stand = Stand.FENCING
        return [StopRuns(), *self._settle()]

    def _settle(self) -> list[StandOrder]:
        if self._runs or self.stand not in (Stand.FENCING, Stand.LEAVING):
            return []
        if self._ends:
            self.stand = Stand.ENDED
            return [EndNodeNow(self._error)]
        self.stand = Stand.OUT
        after_s, self._retry_s = self._retry_s, min(2 * self._retry_s, LAST_RETRY_S)
        return [RetryIn(after_s)]
