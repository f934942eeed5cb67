"""The ledger notices: a house with one fault that nobody may miss, and what is said of it."""

from collections.abc import Callable, Sequence
from random import Random

import pytest

from cluster.runtime.links import Delivery, TaskMessage
from sage.base.clock import ManualClock
from sage.base.ids import NodeId, RequestId
from sage.base.inference import ModelCard, Reply, ReplyTo, Request, Token
from tests.simulation.flows import RandomFlow
from tests.simulation.house import House, HouseSettings
from tests.simulation.ledger import RequestLedger
from tests.simulation.world import StandsStill, World
from tests.unit.serving.arrange import chat, finished

SETTINGS = HouseSettings(num_nodes=2, batch_records=3, inbox_batches=2, max_waiting=100, latency_s=0.001)
FLOW = 5  # seed of a flow with three sources, five channels and no step that fails or asks

Send = Callable[[NodeId, TaskMessage], bool]


def a_house() -> House:
    house = House(World(1), SETTINGS)
    house.submit(RandomFlow("flow", Random(FLOW)))
    return house


def test_a_house_without_faults_is_in_order() -> None:
    house = a_house()
    house.run()
    assert house.wrong() == []
    assert house.end() == []
    assert house.jobs[0].flow.num_results() > 10


@pytest.mark.parametrize("num_times", [0, 2])
def test_a_batch_that_comes_never_or_twice_is_noticed(num_times: int) -> None:
    house = a_house()
    house.network.send = tampered(house.network.send, num_times)  # type: ignore[method-assign, assignment] # the fault
    house.run()
    words = ("instead of", "InternalError")  # the credit of its link may come to more than there is before
    assert any(word in wrong for wrong in house.wrong() for word in words)


def tampered(send: Send, num_times: int) -> Send:
    """Return `send` as it is but for the third batch, which is sent so many times."""
    num_batches = 0

    def send_tampered(sender: NodeId, message: TaskMessage) -> bool:
        nonlocal num_batches
        num_batches += isinstance(message, Delivery)
        is_third = isinstance(message, Delivery) and num_batches == 3
        return all(send(sender, message) for _ in range(num_times if is_third else 1))

    return send_tampered


def test_an_end_that_never_comes_stands_still() -> None:
    house = a_house()
    house.network.cut(NodeId("node-0"), NodeId("node-1"))
    with pytest.raises(StandsStill, match="the end of every job"):
        house.run()


class Answering:
    """An Inference that gives each request the replies it is told to give."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = replies

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        reply_to(self.replies)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        """Nothing runs."""

    def models(self) -> tuple[ModelCard, ...]:
        return ()


TOKEN = Token(RequestId("a"), "text")


@pytest.mark.parametrize(
    ("replies", "what"),
    [
        ([], "without an end"),
        ([TOKEN], "without an end"),
        ([finished("a"), finished("a")], "ended before"),
        ([finished("a"), TOKEN], "ended before"),
        ([finished("a"), finished("b")], "nobody made"),
    ],
)
def test_a_request_ends_once_and_then_nothing_comes(replies: list[Reply], what: str) -> None:
    ledger = RequestLedger(Answering(*replies), ManualClock(), lambda: "task")
    ledger.submit([chat("a")], lambda replies: None)
    assert any(what in wrong for wrong in ledger.wrong())


def test_a_request_that_is_answered_once_is_in_order() -> None:
    ledger, came = RequestLedger(Answering(TOKEN, finished("a")), ManualClock(), lambda: "task"), []  # type: RequestLedger, list[Reply]
    ledger.submit([chat("a")], came.extend)
    assert ledger.wrong() == []
    assert came == [TOKEN, finished("a")]
