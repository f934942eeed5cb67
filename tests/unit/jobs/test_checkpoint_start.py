"""From which folder a job goes on."""

from pathlib import Path
from typing import Any, cast

import pytest

from cluster.checkpoints.disk import RealDisk
from cluster.checkpoints.manifest import manifest_name
from cluster.jobs.checkpoint_start import flow_folder, open_checkpoints
from cluster.jobs.job_checkpoints import CheckpointPlan
from sage.base.errors import CheckpointUnusable
from sage.flow.checkpoint import Checkpoint
from tests.unit.checkpoints.written import Written, graph_of


def opened(tmp_path: Path) -> CheckpointPlan:
    wanted = Checkpoint(tmp_path / "own", savepoint=tmp_path / "savepoint")
    plan = open_checkpoints(graph_of(), wanted, "auto", cast(Any, None))
    plan.on_over()
    return plan


def test_a_savepoint_is_begun_from_only_where_the_folder_itself_has_nothing_not_where_that_is_corrupt(
    tmp_path: Path,
) -> None:
    own, savepoint = (flow_folder(tmp_path / name, "words") for name in ("own", "savepoint"))
    Path(savepoint).parent.mkdir()
    Written(RealDisk(savepoint), 1)
    assert opened(tmp_path).begins_in == savepoint
    Written(RealDisk(own), 2)
    plan = opened(tmp_path)
    assert (plan.begins_in, plan.begins_at) == (own, 2)
    for checkpoint_id in (1, 2):
        (Path(own) / manifest_name(checkpoint_id)).write_bytes(b"rotten")
    with pytest.raises(CheckpointUnusable, match="no checkpoint of flow 'words' is good"):
        opened(tmp_path)
