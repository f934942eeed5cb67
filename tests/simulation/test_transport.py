"""The network between simulated nodes: order on each link, delays, cuts, and nodes that are gone."""

from cluster.runtime.links import Delivery, End, Grant, Link, TaskMessage
from sage.base.batch import Batch
from sage.base.ids import NodeId, TaskId
from tests.simulation.transport import FaultyTransport, SimulatedNetwork
from tests.simulation.world import World

HERE, THERE = NodeId("here"), NodeId("there")
LINK = Link(0, TaskId("job/source/0"), TaskId("job/sink/0"))


class TwoNodes:
    """A source here and a sink there; `came` is what reached either."""

    def __init__(self, *, latency_s: float = 0.1) -> None:
        self.world = World(3)
        self.network = SimulatedNetwork(self.world, latency_s=latency_s)
        self.came: list[TaskMessage] = []
        self.here: FaultyTransport = self.network.transport(HERE)
        self.there: FaultyTransport = self.network.transport(THERE)
        self.here.connect(LINK.source, self._take)
        self.there.connect(LINK.target, self._take)

    def _take(self, message: TaskMessage) -> bool:
        self.came.append(message)
        return True


def test_messages_of_a_link_keep_their_order_whatever_time_each_takes() -> None:
    nodes = TwoNodes()
    sent: list[TaskMessage] = [*(Delivery(LINK, Batch([number])) for number in range(50)), End(LINK)]
    for message in sent:
        assert nodes.here.send(message)
    assert nodes.came == []
    nodes.world.run_out()
    assert nodes.came == sent
    assert 0.0 < nodes.world.clock.monotonic_s() <= 0.2


def test_within_a_node_a_message_is_there_at_once() -> None:
    nodes = TwoNodes()
    assert nodes.here.send(Grant(LINK, 1))
    assert nodes.came == [Grant(LINK, 1)]


def test_a_delay_holds_back_both_directions() -> None:
    nodes = TwoNodes(latency_s=0.0)
    nodes.network.delay(HERE, THERE, 5.0)
    nodes.here.send(End(LINK))
    nodes.there.send(Grant(LINK, 1))
    nodes.world.run_out()
    assert len(nodes.came) == 2
    assert nodes.world.clock.monotonic_s() >= 5.0


def test_a_cut_loses_what_is_on_its_way_until_it_is_mended() -> None:
    nodes = TwoNodes()
    nodes.here.send(Delivery(LINK, Batch([1])))
    nodes.network.cut(HERE, THERE)
    nodes.there.send(Grant(LINK, 1))
    nodes.world.run_out()
    assert (nodes.came, nodes.network.num_lost) == ([], 2)
    nodes.network.mend(HERE, THERE)
    nodes.here.send(End(LINK))
    nodes.world.run_out()
    assert nodes.came == [End(LINK)]


def test_for_a_task_that_is_gone_a_message_is_refused_or_lost_on_its_way() -> None:
    nodes = TwoNodes()
    assert nodes.here.send(End(LINK))
    nodes.network.lose(THERE)
    assert not nodes.here.send(End(LINK))
    nodes.world.run_out()
    assert (nodes.came, nodes.network.num_lost) == ([], 1)
    assert nodes.network.connected() == (LINK.source,)
