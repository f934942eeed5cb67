"""What the simulation found, each as the shortest story that shows it."""

from random import Random

from cluster.runtime.actor import tell
from cluster.runtime.task import Task
from sage.base.errors import NodeLost
from sage.base.ids import NodeId
from tests.simulation.flows import RandomFlow
from tests.simulation.house import House, HouseSettings
from tests.simulation.world import World

TWO_NODES = HouseSettings(num_nodes=2, batch_records=3, inbox_batches=2, max_waiting=100, latency_s=0.0)
ONE_NODE = HouseSettings(num_nodes=1, batch_records=3, inbox_batches=2, max_waiting=100, latency_s=0.0)


def test_a_node_that_breaks_takes_its_tasks_along() -> None:
    world = World(1)
    house = House(world, ONE_NODE)
    house.submit(RandomFlow("flow", Random(1)))
    world.run_until(lambda: len(world.refs(Task)) > 1, "tasks")
    (node,) = house.nodes.values()
    tell(node, "no message of the protocol")
    house.run()
    world.run_out()
    assert not world.refs(Task)
    assert house.end() == []


def test_a_job_that_loses_a_node_does_not_begin_anew_beside_a_task_that_would_not_stop() -> None:
    world = World(1)
    house = House(world, TWO_NODES)
    job = house.submit(RandomFlow("flow", Random(5)), num_restarts=1)
    job.causes.add(NodeLost)
    world.run_until(lambda: len(world.refs(Task)) > 4, "tasks on both nodes")
    stuck = house.tasks_on(NodeId("node-1"))[0]
    world.hold(stuck, 60.0)
    house.lose(NodeId("node-0"), noticed_after_s=0.0)
    house.run()
    assert [view.num_restarts for view in job.views if view.num_restarts] == []
    assert house.wrong() == []
