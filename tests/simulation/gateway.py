"""A gateway's process in a simulated world: it asks flows as models, and takes down every reply. Decides no fault.

As a real one it connects anew as soon as its cluster is lost, and asks nothing twice: that is the caller's to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from cluster.client.cluster import RemoteCluster
from sage.base.errors import ClusterUnreachable, NoEngine, UnknownModel
from sage.base.ids import RequestId
from sage.base.inference import ChatMessage, ChatRequest, Failed, Last, Reply, Sampling, Token
from tests.simulation.chat_flows import Chat
from tests.simulation.machines import Machines
from tests.simulation.sockets import Fabric
from tests.simulation.user import SimulatedUser

_LAST_TRIES = 60
_FLOW_BEGINS_S = 0.7  # about: what is asked sooner is told that there is no such model
NOT_YET = (ClusterUnreachable.code, NoEngine.code, UnknownModel.code)
"""What a flow that is coming, or coming back, may be told by."""


@dataclass(slots=True, eq=False)
class AskedTurn:
    """A request and all that came of it. `after_s`: how long after the one before it is asked.

    `is_last`: asked once everything else is over, again until it is answered.
    """

    chat: Chat
    question: str
    after_s: float
    max_tokens: int | None = None
    timeout_s: float | None = None
    cancels_s: float | None = None
    is_last: bool = False
    id: RequestId | None = None
    asked_s: float | None = None
    cancelled_s: float | None = None
    ended_s: float | None = None
    last: Last | None = None
    texts: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def heard(self) -> str:
        return "".join(self.texts)

    def take(self, replies: Sequence[Reply], now_s: float) -> None:
        for reply in replies:
            if reply.request_id != self.id:
                self.wrong.append(f"{reply} came, which is of another")
            elif self.last is not None:
                self.wrong.append(f"{reply} came after {self.last}")
            elif isinstance(reply, Token):
                self.texts.append(reply.text)
            else:
                self.last, self.ended_s = reply, now_s

    def code(self) -> str:
        """Return by what error it ended; empty where it did not end, or well."""
        return self.last.failure.code if isinstance(self.last, Failed) else ""


class SimulatedGateway(SimulatedUser):
    """One life of a gateway. `turns`: all that it was asked, those included that it asks in the end."""

    def __init__(
        self, machines: Machines, fabric: Fabric, name: str, chats: Sequence[Chat], turns: Sequence[AskedTurn]
    ) -> None:
        self.turns = list(turns)
        self._chats = chats
        self._num_asked = 0
        self._of_line: list[AskedTurn] = []  # asked by the present connection
        super().__init__(machines, fabric, name)

    def run(self) -> None:
        cluster = self._connected()
        self._rest(_FLOW_BEGINS_S)
        for turn in tuple(self.turns):
            self._rest(turn.after_s)
            cluster = self._anew(cluster)
            self._ask(cluster, turn)
        self._wait_for(self.turns)
        for chat in self._chats:
            for number in range(_LAST_TRIES):
                turn = AskedTurn(chat, f"last-{number % 3}", 0.0, is_last=True)
                self.turns.append(turn)
                cluster = self._anew(cluster)
                self._ask(cluster, turn)
                self._wait_for([turn])
                if turn.code() not in NOT_YET:
                    break
                self._rest(1.0)
        cluster.close()

    def _anew(self, cluster: RemoteCluster) -> RemoteCluster:
        """Return a connection that holds, as far as was heard."""
        if all(turn.code() != ClusterUnreachable.code for turn in self._of_line):
            return cluster
        cluster.close()
        self._of_line.clear()
        return self._connected()

    def _ask(self, cluster: RemoteCluster, turn: AskedTurn) -> None:
        self._num_asked += 1
        turn.id = request_id = RequestId(f"{self.name}-{self._num_asked}")
        turn.asked_s = self.world.clock.monotonic_s()
        request = ChatRequest(
            request_id,
            turn.chat.name,
            (ChatMessage("user", turn.question),),
            Sampling(max_tokens=turn.max_tokens),
            timeout_s=turn.timeout_s,
        )
        self._of_line.append(turn)
        cluster.inference.submit([request], lambda replies: self._heard(turn, replies))
        if turn.cancels_s is not None:
            self.process.later(turn.cancels_s, lambda: self._cancel(cluster, turn, request_id))

    def _heard(self, turn: AskedTurn, replies: Sequence[Reply]) -> None:
        turn.take(replies, self.world.clock.monotonic_s())
        self.world.came(self)

    def _cancel(self, cluster: RemoteCluster, turn: AskedTurn, request_id: RequestId) -> None:
        if turn.last is None:
            turn.cancelled_s = self.world.clock.monotonic_s()
            cluster.inference.cancel([request_id])

    def _wait_for(self, turns: Sequence[AskedTurn]) -> None:
        self.world.wait(lambda: all(turn.last is not None for turn in turns), by=self)


def turns_of(rng: Random, chats: Sequence[Chat], num: int, longest_rest_s: float) -> list[AskedTurn]:
    """Draw what a gateway is asked."""
    return [
        AskedTurn(
            rng.choice(chats),
            f"{number}{rng.choice('abcd')}",
            rng.random() * longest_rest_s,
            max_tokens=rng.choice((None, None, None, 1, 2)),
            timeout_s=rng.choice((0.05, 0.5, 3.0)) if rng.random() < 0.2 else None,
            cancels_s=rng.random() * 2.0 if rng.random() < 0.15 else None,
        )
        for number in range(num)
    ]
