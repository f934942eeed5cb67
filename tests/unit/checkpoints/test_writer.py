"""Whoever waits for the writer is told, also where it breaks; what goes on after that says all anew."""

from collections.abc import Callable
from queue import SimpleQueue
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from cluster.checkpoints.pieces import PieceEncoder, frozen
from cluster.checkpoints.writer import PartWriter, SavedChain, SaveState
from cluster.runtime.actor import tell
from cluster.runtime.messages import TaskSaved
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import TaskState
from operators.state import StepState
from sage.base.clock import SystemClock
from sage.base.errors import InternalError
from sage.base.ids import TaskId
from sage.base.log import get_log
from tests.unit.checkpoints.memory_disk import MemoryDisk

DEADLINE_S = 10.0


def breaks() -> None:
    raise ValueError("the sink is broken")


def wanted(chain: SavedChain, told: "SimpleQueue[TaskSaved]", *settle: Callable[[], None]) -> SaveState:
    state = TaskState({"step": StepState(keyed={"a": 1})})
    kept = frozen(state, RecordTypes(), is_whole=chain.encoder.is_due(), plain=chain.encoder.plain())
    return SaveState("folder", chain, 7, kept, settle, False, told.put)


@pytest.fixture
def writer() -> Any:
    get_log()  # sets logging up, if nobody has
    with capture_logs():
        started = PartWriter.start(lambda folder: MemoryDisk(), clock=SystemClock(), rng=Random(1))
        yield started
        started.stop(timeout=DEADLINE_S)


def test_what_breaks_the_writer_fails_the_checkpoint_at_once(writer: Any) -> None:
    told: SimpleQueue[TaskSaved] = SimpleQueue()
    chain = SavedChain(TaskId("task"), PieceEncoder())
    tell(writer, wanted(chain, told))
    assert told.get(timeout=DEADLINE_S).pieces is not None
    assert not chain.encoder.is_due()
    tell(writer, wanted(chain, told, breaks))
    saved = told.get(timeout=DEADLINE_S)
    assert (saved.checkpoint_id, saved.pieces) == (7, None)
    assert isinstance(saved.error, InternalError)
    assert "ValueError: the sink is broken" in str(saved.error)
    assert chain.encoder.is_due(), "nobody knows how far it came"
    tell(writer, wanted(chain, told))
    assert told.get(timeout=DEADLINE_S).error is None
