"""What simulated clusters found, each as the shortest story that shows it."""

from dataclasses import replace

import pytest

from cluster.runtime.task import Task
from tests.simulation.client import WantedJob
from tests.simulation.cluster import ClusterSettings
from tests.simulation.cluster_story import ClusterStory
from tests.simulation.head import HEAD
from tests.simulation.promises import WatchedCluster
from tests.simulation.world import World

SPREAD = 5  # seed of a flow whose tasks are on both nodes
SETTINGS = ClusterSettings(batch_records=1, longest_s=0.5)


class Small:
    """Two nodes and a client with one job, whose flow has neither models nor steps that fail."""

    def __init__(self, flow_seed: int, *, seed: int = 1, settings: ClusterSettings = SETTINGS) -> None:
        self.world = World(seed)
        self.watched = WatchedCluster(self.world, settings)
        self.cluster = self.watched.cluster
        for name in ("node-0", "node-1"):
            self.cluster.start_node(name)
        self.wanted = WantedJob("flow", self.cluster.flow("flow", flow_seed), 0.5, None)
        self.client = self.cluster.start_client("client", [self.wanted])

    def run_until_tasks(self) -> None:
        """Go on until each node has tasks of the job."""
        self.world.run_until(lambda: all(self.num_tasks(name) for name in self.cluster.nodes), "tasks", within_s=30.0)

    def num_tasks(self, name: str) -> int:
        return sum(isinstance(actor, Task) for actor in self.cluster.nodes[name].process.actors())

    def run_to_the_end(self) -> list[str]:
        self.world.run_until(lambda: self.client.has_ended, "the end of the job", within_s=60.0)
        self.world.run_for(15.0)
        wrong = self.watched.broken([self.wanted])
        self.client.let_go()
        self.world.close()
        return wrong


def test_a_node_that_leaves_says_so_though_something_runs_there() -> None:
    small = Small(SPREAD)
    small.run_until_tasks()
    began_s = small.world.clock.monotonic_s()
    small.cluster.nodes["node-1"].end()
    small.world.run_until(lambda: small.watched.num_given_up == 1, "the end of a membership", within_s=30.0)
    assert small.world.clock.monotonic_s() - began_s < 1.0
    assert small.num_tasks("node-1") == 0
    small.cluster.start_node("node-1")
    assert small.run_to_the_end() == []


def test_a_node_hears_at_once_that_it_was_admitted() -> None:
    small = Small(SPREAD)
    small.world.run_for(0.2)
    assert sorted(small.cluster.members()) == ["node-0", "node-1"]
    assert all(node.actor is not None and node.actor._lease.left_s() > 0 for node in small.cluster.nodes.values())
    small.world.close()


def test_a_wish_to_join_that_was_long_on_its_way_ends_no_membership() -> None:
    small = Small(SPREAD, seed=4, settings=replace(SETTINGS, latency_s=0.02))
    small.world.run_for(0.03)  # the wish is on its way by then
    small.cluster.machines.cut(HEAD, "node-1")
    small.world.run_for(2.9)  # and the node about to begin another connection
    small.cluster.machines.mend(HEAD, "node-1")
    assert small.run_to_the_end() == []
    assert small.watched.num_given_up == 0


def test_a_node_that_leaves_takes_nothing_more_though_the_head_does_not_know_yet() -> None:
    small = Small(SPREAD)
    small.run_until_tasks()
    busy = next(actor for actor in small.cluster.nodes["node-1"].process.actors() if isinstance(actor, Task))
    small.world.hold(busy.actor_ref, 1.5)  # so that leaving takes a while
    small.cluster.nodes["node-1"].end()
    other = WantedJob("other", small.cluster.flow("other", SPREAD), 0.0, None)
    client = small.cluster.start_client("client-2", [other])
    small.world.run_until(lambda: client.has_ended, "the end of the other job", within_s=60.0)
    assert other.error is None
    client.let_go()
    small.cluster.start_node("node-1")
    assert small.run_to_the_end() == []


@pytest.mark.parametrize("silently", [False, True], ids=["killed", "loses power"])
def test_a_node_that_returns_before_its_earlier_life_was_given_up_is_let_in_by_itself(silently: bool) -> None:
    small = Small(SPREAD)
    small.run_until_tasks()
    small.cluster.nodes["node-1"].die(silently=silently)
    small.cluster.start_node("node-1")
    began_s, epoch = small.world.clock.monotonic_s(), small.cluster.members()["node-1"].epoch
    small.world.run_until(lambda: small.watched.num_given_up == 1, "the end of the earlier life", within_s=5.0)
    assert small.world.clock.monotonic_s() - began_s >= 1.0
    small.world.run_until(lambda: "node-1" in small.cluster.members(), "the node", within_s=1.0)
    assert small.cluster.members()["node-1"].epoch > epoch
    assert small.run_to_the_end() == []


def test_nodes_that_are_killed_and_return_at_once_leave_no_job_without_room() -> None:
    ClusterStory(10, fault="kill_node", is_kept=True).run()
