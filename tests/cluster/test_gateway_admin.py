"""The administration of a gateway before a cluster: it shows the cluster's jobs and nodes."""

import httpx
import pytest

from cluster.client.nodes_here import nodes_here
from gateway.admin import PlaneOfCluster, administration
from gateway.cluster_models import ClusterModels
from gateway.keys import KeyBook, Scope, new_key, written_key
from sage.base.settings import Settings
from tests.cluster.numbers_flow import flow

pytestmark = pytest.mark.cluster

ADMIN_KEY = written_key("ops", "s" * 43)
BOOK = KeyBook().add(new_key(ADMIN_KEY, "ops", (Scope.ADMIN,), 1.0))


async def test_jobs_and_nodes_of_the_cluster_are_shown() -> None:
    cluster = nodes_here(1, settings=Settings())
    models = ClusterModels(cluster, lambda: cluster)
    try:
        job = cluster.submit(flow)
        job.wait(60.0)
        app = httpx.ASGITransport(administration(PlaneOfCluster(models), lambda: BOOK))
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(transport=app, base_url="http://admin", headers=headers) as client:
            jobs = (await client.get("/admin/v1/jobs")).json()["jobs"]
            nodes = (await client.get("/admin/v1/nodes")).json()["nodes"]
        assert [(each["job_id"], each["name"], each["metrics"]["status"]) for each in jobs] == [
            (job.id, "numbers", "finished")
        ]
        assert [(each["state"], each["view"]["node_id"]) for each in nodes] == [("alive", cluster.nodes()[0].node_id)]
    finally:
        await models.close()
