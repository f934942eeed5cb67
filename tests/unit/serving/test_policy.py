"""Policies and their names."""

import pytest

from cluster.serving.policy import POLICY_NAMES, policy_named
from cluster.serving.ticket import lane_of, ticket_for
from sage.base.errors import UnknownPolicy
from sage.base.inference import ServiceClass
from tests.unit.serving.arrange import chat


def rank(policy: str, service_class: ServiceClass) -> float:
    request = chat("a", service_class)
    return policy_named(policy).rank(ticket_for(request, lane_of(request), 1, 0.0))


def test_priority_ranks_interactive_before_standard_before_batch() -> None:
    ranks = [rank("priority", c) for c in (ServiceClass.INTERACTIVE, ServiceClass.STANDARD, ServiceClass.BATCH)]
    assert ranks == sorted(set(ranks))


def test_fifo_ranks_all_classes_alike() -> None:
    assert len({rank("fifo", service_class) for service_class in ServiceClass}) == 1


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_each_known_name_gives_the_policy_of_that_name(name: str) -> None:
    assert policy_named(name).name == name


@pytest.mark.parametrize(("name", "nearest"), [("fiffo", "fifo"), ("Priority", "priority"), ("lifo", "fifo")])
def test_an_unknown_name_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UnknownPolicy, match=f"Did you mean '{nearest}'") as caught:
        policy_named(name)
    assert caught.value.param == "policy"
