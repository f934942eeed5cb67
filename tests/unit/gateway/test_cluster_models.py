"""A gateway before a cluster that does not answer: whoever administers it is told so, and not that nothing runs."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster.client.cluster import RemoteCluster, Shipping
from cluster.runtime.control_clients import Greeting
from cluster.runtime.travelling_code import FileCode
from gateway.admin import PlaneOfCluster
from gateway.cluster_models import ClusterModels
from sage.base.errors import ClusterUnreachable
from tests.unit.client.scripted_head import line_to

GREETING = Greeting(1, "scripted", 7, 60.0, 180.0)
SHORT_S = 0.05


def no_records(_data: bytes) -> Sequence[Any]:
    return ()


@pytest.mark.parametrize(
    "ask",
    [PlaneOfCluster.state, PlaneOfCluster.engines, lambda plane: plane.set_policy("fifo", None)],
    ids=["state", "engines", "set_policy"],
)
async def test_a_cluster_that_is_silent_is_told_as_out_of_reach(
    tmp_path: Path, ask: Callable[[PlaneOfCluster], Awaitable[object]]
) -> None:
    shipping = Shipping(lambda graph, job_id: FileCode("m:flow", "0"), None, lambda graph: no_records)
    with line_to(tmp_path, lambda message: ()) as (_, line):
        cluster = RemoteCluster(line, GREETING, shipping, where="scripted")
        models = ClusterModels(cluster, lambda: cluster, answer_s=SHORT_S)
        with pytest.raises(ClusterUnreachable, match="scripted"):
            await ask(PlaneOfCluster(models))
        await models.close()
