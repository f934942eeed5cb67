"""Logs of engines: which node is asked from where on, and who gets its answer."""

import pytest

from cluster.head.engine_desk import EngineDesk
from cluster.head.engine_host import NodeHost, StartHostOn
from cluster.head.log_desk import LogDesk
from cluster.head.open_questions import MAX_ASKED, WAITS_S
from cluster.runtime.channel import PeerId
from cluster.runtime.control import ControlMessage, EngineHostEnded, StartEngineHost
from cluster.runtime.control_clients import Declined
from cluster.runtime.control_engine_log import EngineLog, GetEngineLog, HostLogRead, LogMark, ReadHostLog
from cluster.runtime.control_message import RemoteFailure
from sage.base.clock import ManualClock
from sage.base.errors import InvalidRequest, Overloaded
from sage.base.ids import EngineId, NodeId

NODE, OTHER, CLIENT, ENGINE = NodeId("n"), NodeId("m"), PeerId(0, b"client"), EngineId("e")


class Desk:
    """A log desk over one engine, `e`, whose first start is on node `n`."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.told: list[ReadHostLog] = []
        self.sent: list[tuple[PeerId, ControlMessage]] = []
        self.is_member = True
        self.engines = EngineDesk(lambda node_id, message, epoch: True, lambda: None)
        self.desk = LogDesk(
            self.engines, self._tell, lambda peer, said: self.sent.append((peer, said)), self.clock.monotonic_s
        )
        self.start(1)

    def start(self, start: int) -> None:
        host = NodeHost(start, NODE, lambda message: None)
        self.engines.order(StartHostOn(host, 1, StartEngineHost(start, ENGINE, "", "")))

    def _tell(self, node_id: NodeId, message: ControlMessage) -> bool:
        assert isinstance(message, ReadHostLog)
        assert node_id == NODE
        if self.is_member:
            self.told.append(message)
        return self.is_member

    def ask(self, question: int = 1, mark: LogMark | None = None, engine: EngineId = ENGINE) -> None:
        self.desk.ask(CLIENT, GetEngineLog(question, engine, mark))


def test_each_answer_goes_to_its_question_with_the_mark_to_go_on_from() -> None:
    desk = Desk()
    desk.ask(7)
    desk.ask(8, LogMark(1, 30))
    assert [(order.start, order.at_byte) for order in desk.told] == [(1, None), (1, 30)]
    failure = RemoteFailure.of(InvalidRequest("no"))
    desk.desk.read(NODE, HostLogRead(desk.told[1].number, 1, b"", 0, failure))
    for _ in range(2):  # what comes twice is passed over
        desk.desk.read(NODE, HostLogRead(desk.told[0].number, 1, b"words", 30))
    assert desk.sent == [(CLIENT, Declined(8, failure.failure)), (CLIENT, EngineLog(7, b"words", LogMark(1, 30)))]


def test_the_log_of_another_start_is_read_from_its_beginning() -> None:
    desk = Desk()
    desk.start(2)
    desk.engines.ended(NODE, EngineHostEnded(1, "was killed", ""))
    desk.ask(mark=LogMark(1, 30))
    assert [(order.start, order.at_byte) for order in desk.told] == [(2, 0)]


def test_another_node_cannot_answer_for_the_one_that_was_asked() -> None:
    desk = Desk()
    desk.ask()
    desk.desk.read(OTHER, HostLogRead(desk.told[0].number, 1, b"forged", 6))
    assert desk.sent == []


def test_what_runs_nowhere_is_refused() -> None:
    desk = Desk()
    with pytest.raises(InvalidRequest, match="no process of an engine 'other'"):
        desk.ask(engine=EngineId("other"))
    desk.is_member = False
    with pytest.raises(InvalidRequest, match="is lost"):
        desk.ask()
    desk.engines.ended(NODE, EngineHostEnded(1, "was killed", ""))
    with pytest.raises(InvalidRequest, match="no process of an engine 'e'"):
        desk.ask()


def test_questions_that_no_node_answers_are_bounded_and_forgotten() -> None:
    desk = Desk()
    for question in range(MAX_ASKED):
        desk.ask(question)
    with pytest.raises(Overloaded):
        desk.ask()
    desk.clock.advance(WAITS_S)
    desk.ask(5_000)
    desk.desk.read(NODE, HostLogRead(desk.told[0].number, 1, b"late", 4))
    assert desk.sent == []
