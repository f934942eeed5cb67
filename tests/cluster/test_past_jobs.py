"""What a cluster keeps of jobs that are over."""

import gc
import weakref

import sage
from cluster.local.cluster import MAX_PAST_JOBS, LocalCluster


class Held:
    """Something of the user's that a flow holds."""


def test_a_cluster_lets_go_of_the_data_of_jobs_that_are_over() -> None:
    held = Held()
    alive = weakref.ref(held)
    with LocalCluster() as cluster:
        first = sage.Flow("first")
        first.from_collection([held]).map(lambda thing: 1).collect()
        first_id = cluster.submit(first).wait(10.0).job_id
        del first, held
        for number in range(MAX_PAST_JOBS + 2):
            flow = sage.Flow(f"later-{number}")
            flow.from_collection([number]).collect()
            cluster.submit(flow).wait(10.0)
        assert first_id not in [job.id for job in cluster.jobs()]
        assert len(cluster.jobs()) <= MAX_PAST_JOBS + 1
        gc.collect()
        assert alive() is None
