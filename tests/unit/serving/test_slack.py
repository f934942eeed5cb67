"""Calls about records that are due: in which order they are served."""

import msgspec

from cluster.serving.events import EngineEnded, EngineUp, Submitted
from cluster.serving.patience import USUAL
from cluster.serving.plane import Plane
from cluster.serving.slack import Slack
from sage.base.ids import EngineId
from sage.base.inference import ChatRequest, Origin
from tests.unit.serving.arrange import CheckedPlane, chat, chat_engine, finished, waiting


def asked(id: str, step: str, *, due_in_s: float | None, record: str = "r") -> ChatRequest:
    return msgspec.structs.replace(chat(id), origin=Origin("flow", step, record, due_in_s))


def taught() -> Slack:
    """Return what has seen twenty records: 2 s of planning, then 3 s of writing."""
    slack = Slack()
    for number in range(60):
        for step, took_s in (("plan", 2.0), ("write", 3.0)):
            ticket = waiting(asked("x", step, due_in_s=None, record=str(number)))
            slack.arrived(ticket, 0.0)
            ticket.sent_s = 1.0
            slack.ended(ticket, 1.0 + took_s)
    return slack


def test_a_call_is_due_so_much_earlier_as_it_and_what_comes_after_it_will_take() -> None:
    slack = taught()
    plan, write = (waiting(asked(step, step, due_in_s=20.0, record="new")) for step in ("plan", "write"))
    slack.arrived(plan, 100.0)
    slack.arrived(write, 100.0)
    assert abs(plan.order_s - 115.0) < 0.3
    assert abs(write.order_s - 117.0) < 0.3
    assert plan.due_s == plan.order_s


def test_a_record_that_cannot_be_in_time_waits_behind_those_that_can() -> None:
    slack = taught()
    late, timely = (waiting(asked(id, "plan", due_in_s=due_s, record=id)) for id, due_s in (("a", 1.0), ("b", 6.0)))
    slack.arrived(late, 100.0)
    slack.arrived(timely, 100.0)
    assert timely.order_s < late.order_s == 100.0 + USUAL.standard_s


def test_without_a_due_time_a_call_is_as_patient_as_its_class() -> None:
    before, ticket = waiting(chat("a")), waiting(asked("a", "plan", due_in_s=None))
    taught().arrived(ticket, 0.0)
    assert (ticket.order_s, ticket.due_s) == (before.order_s, before.due_s)


def test_a_request_s_own_deadline_counts_where_it_is_sooner() -> None:
    ticket = waiting(msgspec.structs.replace(asked("a", "plan", due_in_s=500.0), timeout_s=3.0))
    Slack().arrived(ticket, 0.0)
    assert ticket.order_s == 3.0


def test_the_plane_serves_the_record_with_the_least_slack_first() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="edf"))
    plane.handle(EngineUp(chat_engine(max_running=1)))
    plane.handle(Submitted((chat("runs"),)))
    plane.handle(Submitted((asked("roomy", "plan", due_in_s=25.0, record="1"),)))
    plane.handle(Submitted((asked("tight", "plan", due_in_s=10.0, record="2"),)))
    order = []
    for running in ("runs", "tight", "roomy"):
        plane.handle(EngineEnded(EngineId("c1"), (finished(running, "c1"),)))
        order.append(plane.plane.view().num_waiting)
    assert order == [1, 0, 0]
    assert list(plane.answers) == ["runs", "tight", "roomy"]
