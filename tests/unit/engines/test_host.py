"""The loop of an engine host, with a parent made for it."""

from collections.abc import Sequence

from cluster.serving.engines.cost import CPU2
from cluster.serving.engines.host import Turns, serve
from cluster.serving.engines.port import Abort, FromHost, Replies, Run, Shutdown, ToHost
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.engines.tokenizer_port import AskTokenizer, Told
from sage.base.clock import ManualClock
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Finished, GenerateRequest, Reply, Sampling, Token
from sage.base.tokenizing import TokenizeText


class ScriptedParent:
    """Gives `script` one order a turn, then Shutdown once all asked has ended; refuses `num_refused` offers first."""

    def __init__(self, clock: ManualClock, script: Sequence[ToHost | None], *, num_refused: int = 0) -> None:
        self._clock = clock
        self._script = list(script)
        self._num_refused = num_refused
        self._num_asked = sum(len(order.requests) for order in script if isinstance(order, Run))
        self.offers: list[Replies] = []
        self.replies: list[Reply] = []

    def orders(self, wait_s: float | None, *, or_room: bool = False) -> list[ToHost]:
        if sum(not isinstance(reply, Token) for reply in self.replies) == self._num_asked:
            return [Shutdown()]
        order = self._script.pop(0) if self._script else None
        assert order is not None or wait_s is not None or or_room, "the host would wait for ever"
        if order is None and wait_s is not None:
            self._clock.advance(wait_s)
        return [] if order is None else [order]

    def offer(self, message: FromHost) -> bool:
        assert isinstance(message, Replies)
        self.offers.append(message)
        if self._num_refused:
            self._num_refused -= 1
            return False
        self.replies += message.replies
        return True


def _ask(name: str, max_tokens: int) -> GenerateRequest:
    return GenerateRequest(RequestId(name), "sim", "Once", Sampling(max_tokens=max_tokens))


def _served(script: Sequence[ToHost | None], *, num_refused: int = 0) -> ScriptedParent:
    clock = ManualClock()
    parent = ScriptedParent(clock, script, num_refused=num_refused)
    serve(SimulatedEngine(EngineId("e"), "sim", CPU2, clock), parent, Turns(clock))
    return parent


def test_every_request_is_served_until_shutdown() -> None:
    parent = _served([Run((_ask("a", 3), _ask("b", 2)))])
    assert [reply.request_id for reply in parent.replies if isinstance(reply, Finished)] == ["b", "a"]


def test_orders_are_heard_between_two_steps() -> None:
    parent = _served([Run((_ask("a", 1000),)), None, None, Abort((RequestId("a"),))])
    assert isinstance(parent.replies[-1], Failed)
    assert len(parent.replies) < 5


def test_each_question_is_answered_once_though_the_parent_does_not_read_at_first() -> None:
    told: list[Told] = []

    class Asking(ScriptedParent):
        def offer(self, message: FromHost) -> bool:
            if isinstance(message, Told):
                told.append(message)
                return len(told) > 1
            return super().offer(message)

    clock = ManualClock()
    questions = [AskTokenizer(TokenizeText(RequestId(name), "sim", "Once")) for name in ("q", "p")]
    parent = Asking(clock, [Run((_ask("a", 1),)), *questions])
    serve(SimulatedEngine(EngineId("e"), "sim", CPU2, clock), parent, Turns(clock))
    assert [one.answer.request_id for one in told] == ["q", "q", "p"]
    assert any(isinstance(reply, Finished) for reply in parent.replies)


def test_while_the_parent_does_not_read_the_engine_rests_and_nothing_is_lost() -> None:
    parent = _served([Run((_ask("a", 4),))], num_refused=50)
    assert parent.offers[:51] == [parent.offers[0]] * 51
    tokens = [reply.text for reply in parent.replies if isinstance(reply, Token)]
    assert "".join(tokens) == "simulated-1 simulated-2 simulated-3 simulated-4"
