"""Policies and tenants of a running cluster: changed while flows and calls go on; quotas of a tenant's flows."""

from collections.abc import Iterator

import pytest

import sage
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from sage.base.errors import QuotaExceeded, UnknownPolicy
from sage.base.settings import EngineSettings, Settings, TenantSettings
from tests.cluster.cluster_command import user_at_home

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

DEADLINE_S = 60.0
NUM_RECORDS = 200
SETTINGS = Settings(
    engines=(EngineSettings(name="sim", kind="simulated", model="sim", target="h100"),),
    tenants=(TenantSettings(name="noisy", requests_per_minute=5),),
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RemoteCluster]:
    with nodes_here(1, settings=SETTINGS) as cluster:
        cluster.chat("Are you there?", model="sim", max_tokens=1)
        yield cluster


def test_a_change_of_policy_and_route_loses_no_record_of_a_flow(cluster: RemoteCluster) -> None:
    flow = sage.Flow("changed")
    texts = flow.from_collection([f"text {number}" for number in range(NUM_RECORDS)])
    answers = texts.generate(model="sim", prompt="{}", max_tokens=4).collect()
    job = cluster.submit(flow)
    for policy, route in (("fifo", "round_robin"), ("edf", "prefix"), ("hybrid", "auto")):
        state = cluster.set_policy(policy, route=route)
        assert (state.policy, state.route) == (policy, route)
    job.wait(DEADLINE_S)
    assert len(answers.items) == NUM_RECORDS
    served = cluster.chat("Hello", model="sim", max_tokens=1).served
    assert served is not None
    assert (served.policy, served.route) == ("hybrid", "auto")
    with pytest.raises(UnknownPolicy):
        cluster.set_policy("hybrid", route="nearest")


def test_flows_of_a_noisy_tenant_wait_for_its_quota_while_a_quiet_one_is_served(cluster: RemoteCluster) -> None:
    jobs = []
    for tenant in ("noisy", "quiet"):
        flow = sage.Flow(tenant)
        texts = flow.from_collection([f"text {number}" for number in range(20)])
        texts.generate(model="sim", prompt="{}", max_tokens=1, tenant=tenant).collect()
        jobs.append(cluster.submit(flow))
    assert jobs[1].wait(DEADLINE_S).records_out == 20
    [tenant_state] = [tenant for tenant in cluster.plane_state().tenants if tenant.name == "noisy"]
    assert tenant_state.requests_left is not None
    assert tenant_state.requests_left < 5.0
    assert jobs[0].metrics().records_out < 20, "its quota is 5 at once, then one every 12 s"
    with pytest.raises(QuotaExceeded, match="noisy"):
        cluster.chat("Hello", model="sim", max_tokens=1, tenant="noisy", retries=0)
    jobs[0].cancel()


def test_the_command_shows_and_changes_them() -> None:
    with user_at_home() as user:
        user("start", "--nodes", "1", "--engine", "simulated:h100,model=sim")
        try:
            assert user("policy") == "policy hybrid, route auto\n"
            changed = user.json("policy", "edf", "--route", "prefix")
            assert (changed["policy"], changed["route"]) == ("edf", "prefix")
            assert user.json("policy") == changed
            assert "SAGE-1202" in user("policy", "edff", status=1)
        finally:
            user("stop")
            user.wait_gone()
