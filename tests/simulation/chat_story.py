"""A flow that is asked as a model while a simulated cluster breaks: every turn is answered once, or told why not.

Whatever was asked ends in one reply, and what was heard of it until then is the beginning of its answer.
"""

from dataclasses import replace

from cluster.head.book import JobEntry
from cluster.head.client_desk import LEASE_S
from cluster.jobs.orders import CancelJob
from cluster.runtime.actor import tell
from cluster.serving.manager import GetView
from sage.base.errors import (
    ClusterUnreachable,
    DeadlineExceeded,
    EngineLost,
    JobCancelled,
    NoEngine,
    NotAnswered,
    Overloaded,
    RecordFailed,
    RequestCancelled,
    SageError,
    UnknownModel,
)
from sage.base.inference import Failed, Finished
from sage.base.settings import ChatSettings
from tests.simulation.chat_flows import Answer, ChatFlow
from tests.simulation.client import WantedJob
from tests.simulation.cluster import ClusterSettings
from tests.simulation.cluster_story import ClusterStory
from tests.simulation.gateway import NOT_YET, AskedTurn, SimulatedGateway, turns_of

_FLOW = "flow"
_WITHIN_S = 300.0  # sooner than a flow is told that it has taken too long: nothing may wait for that
_AGAIN_S = 1.0
_LATE_S = 3.0  # a message that a cut has held up comes when the kernel tries again
_FORGOTTEN_S = (3.0, 16.0)  # by then nobody works on a turn that is over; a gateway that was killed is forgotten later


class ChatStory(ClusterStory):
    """One client that submits a flow, and gateways that ask it."""

    def __init__(self, seed: int, *, fault: str | None = None, is_kept: bool = False) -> None:
        self._cancelled_s = self._mended_s = 0.0
        self._left: list[str] = []
        super().__init__(seed, fault=fault, is_kept=is_kept)

    def _settings(self) -> ClusterSettings:
        settings = super()._settings()
        chat = ChatSettings(max_open=self._rng.choice((2, 256, 256)))
        return replace(settings, chat=chat)

    def _wanted(self) -> list[WantedJob]:
        rng = self._rng
        flow = self.cluster.flow(_FLOW, rng.getrandbits(32), ChatFlow)
        assert isinstance(flow, ChatFlow)
        wanted = WantedJob(_FLOW, flow, 0.0, None, causes={JobCancelled})
        self.cluster.start_client("client", [wanted])
        for number in range(rng.choice((1, 1, 2))):
            num, rest_s = rng.choice((5, 15)), rng.choice((0.01, 0.3, 1.0))
            turns = turns_of(rng, flow.chats, num, rest_s)
            self.cluster.start_gateway(f"gateway-{number}", flow.chats, turns)
        return [wanted]

    @property
    def turns(self) -> list[AskedTurn]:
        return [turn for gateway in self.cluster.gateways for turn in gateway.turns]

    def _run_to_the_end(self) -> None:
        """Let all turns end, see that nobody works on any, and end the flow."""
        if not self._mended_s:
            self._mended_s = self.world.clock.monotonic_s()
            self._let_others_end()
            gateways = self.cluster.gateways
            self.world.run_until(lambda: all(one.has_ended for one in gateways), "every turn's end", within_s=_WITHIN_S)
            self.world.run_for(_FORGOTTEN_S[self.troubles.are_users_dead])
            self._left = self._worked_on()
        super()._run_to_the_end()

    def _let_others_end(self) -> None:
        """Wait for what else asks models."""

    def _is_over(self) -> bool:
        """Say whether all is over; what is not is cancelled, and again where that may have come too early."""
        door, now_s = self.cluster.door, self.world.clock.monotonic_s()
        if door is not None and now_s >= self._cancelled_s + _AGAIN_S:
            self._cancelled_s = now_s
            for entry in filter(is_asked, door._book.live()):
                tell(self.cluster.head.manager, CancelJob(entry.job_id))
        return super()._is_over()

    # What is wrong.

    def _worked_on(self) -> list[str]:
        """Say who still works on a turn, now that all are over."""
        door, head = self.cluster.door, self.cluster.head
        assert door is not None
        wrong = [f"turn {turn_id} is still open at the head" for turn_id in door._chats._open]
        for node in self.cluster.nodes.values():
            runs = {} if node.actor is None else node.actor._turns._runs
            for run_id, turns in runs.items():
                waiting = [request.id for queue in turns._queues.values() for request in queue.waiting]
                if waiting or turns._asked:
                    wrong.append(f"{node.node_id} has {waiting} and {dict(turns._asked)} of {run_id}")
        view = self.world.ask(head.plane_ref, GetView())
        held = sum(engine.num_running for engine in view.engines)
        if view.num_waiting or view.num_running or held:
            wrong.append(f"{view.num_waiting} requests wait, {view.num_running} run, engines hold {held}, for no turn")
        return wrong

    def _wrong(self) -> list[str]:
        wrong = [*super()._wrong(), *self._left]
        for gateway in self.cluster.gateways:
            for turn in gateway.turns:
                wrong += [f"turn {turn.id} {turn.question!r}: {what}" for what in self._of_turn(turn)]
            if not (gateway.is_dead or self._is_flow_gone()):
                wrong += [f"{gateway.name}: {what}" for what in _of_last(gateway)]
        return wrong

    def _of_turn(self, turn: AskedTurn) -> list[str]:
        answer = turn.chat.answer(turn.question, turn.max_tokens)
        wrong = list(turn.wrong)
        if not answer.begins_with(turn.heard):
            wrong.append(f"{turn.heard!r} is no beginning of {answer}")
        wrong += self._of_end(turn, answer)
        if turn.timeout_s is not None and turn.ended_s is not None and (turn.asked_s or 0.0) >= self._mended_s:
            slack_s = _LATE_S + LEASE_S * self.troubles.is_line_dead
            late_s = turn.ended_s - (turn.asked_s or 0.0) - turn.timeout_s
            wrong += [f"it ended {late_s:.3f} s after its time"] if late_s > slack_s else []
        return wrong

    def _of_end(self, turn: AskedTurn, answer: Answer) -> list[str]:
        if isinstance(turn.last, Failed):
            may = self._may_fail_by(turn, answer)
            is_known = turn.code() in {cause.code for cause in may}
            return [] if is_known else [f"failed by {turn.last.failure}, for which there is no cause but {may}"]
        if turn.last is None:  # its gateway is no more
            return []
        is_well = isinstance(turn.last, Finished) and answer.has_reply and not answer.fails
        return [] if is_well and answer.is_all(turn.heard) else [f"{turn.heard!r} was all, instead of {answer}"]

    def _may_fail_by(self, turn: AskedTurn, answer: Answer) -> set[type[SageError]]:
        causes: set[type[SageError]] = set()
        if answer.fails:
            causes.add(RecordFailed)
        elif not answer.has_reply:
            causes.add(NotAnswered)
        if turn.timeout_s is not None:
            causes.add(DeadlineExceeded)
        if turn.cancelled_s is not None:
            causes.add(RequestCancelled)
        if self.cluster.settings.chat.max_open < len(self.turns):
            causes.add(Overloaded)
        if self.troubles.have_struck:
            causes |= {ClusterUnreachable, EngineLost, NoEngine, UnknownModel}
        elif (turn.asked_s or 0.0) <= self._first_answered_s():
            causes |= {NoEngine, UnknownModel}
        return causes

    def _first_answered_s(self) -> float:
        """Return since when the flow answers, where nothing breaks."""
        return min((turn.ended_s or 0.0 for turn in self.turns if isinstance(turn.last, Finished)), default=_WITHIN_S)

    def _is_flow_gone(self) -> bool:
        """Say whether the flow has ended by itself, or was never submitted."""
        door = self.cluster.door
        assert door is not None
        errors = [entry.view.error for entry in door._book if is_asked(entry)]
        return not errors or not all(isinstance(error, JobCancelled) for error in errors)


def is_asked(entry: JobEntry) -> bool:
    """Say whether a job is that of the flow that gateways ask."""
    return entry.outline.name == _FLOW


def _of_last(gateway: SimulatedGateway) -> list[str]:
    """Say which chat does not answer once all is well again."""
    lasts: dict[str, AskedTurn] = {turn.chat.name: turn for turn in gateway.turns if turn.is_last}
    return [f"{name} does not answer in the end: {turn.last}" for name, turn in lasts.items() if turn.code() in NOT_YET]
