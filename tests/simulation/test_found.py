"""What the simulation found, each as the shortest story that shows it."""

from random import Random

from cluster.runtime.actor import tell
from cluster.runtime.task import Task
from tests.simulation.flows import RandomFlow
from tests.simulation.house import House, HouseSettings
from tests.simulation.world import World

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
