"""Every shape of flow comes to its end with every record once, and leaves nothing behind."""

import pytest

import sage
from cluster.local import LocalCluster
from sage.flow.runner import JobStatus
from tests.cluster.topologies import SHAPES, Shape

DEADLINE_S = 30.0


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_record_reaches_its_end_once(local_cluster: LocalCluster, shape: Shape) -> None:
    flow = sage.Flow(shape.__name__)
    results, wanted = shape(flow)
    result = local_cluster.submit(flow).wait(DEADLINE_S)
    assert results() == wanted
    assert result.status is JobStatus.FINISHED
