"""What a run begins with."""

import pytest

from cluster.checkpoints.folder import CheckpointFolder, newest_name
from cluster.checkpoints.manifest import manifest_name
from cluster.checkpoints.opening import beginning
from sage.base.errors import CheckpointUnusable, FlowInvalid
from sage.flow.checkpoint import Resume
from sage.flow.flow import Flow
from sage.flow.graph import Graph
from sage.flow.process import KeyedProcess, ListState, ProcessContext, ValueState
from sage.flow.state_form import forms_of
from tests.unit.checkpoints.memory_disk import MemoryDisk
from tests.unit.checkpoints.written import Written, graph_of


def test_a_run_begins_at_the_newest_good_checkpoint_and_says_what_it_passed_over() -> None:
    disk = MemoryDisk()
    written = Written(disk, 3)
    disk.flip("3.part", 9)
    begins = beginning(graph_of(), written.folder, "auto", ())
    assert (begins.begins_at, begins.next_id) == (2, 4)
    assert "checkpoint 3 is passed over for 2: 3.part in the folder is not as it was written" in begins.notes[0]
    disk.files["3.part"] = b""
    assert beginning(graph_of(), written.folder, "auto", ()).begins_at == 2
    assert manifest_name(3) not in disk.files


@pytest.mark.parametrize("resume", ["auto", "must"])
def test_a_folder_of_bad_checkpoints_is_not_taken_for_an_empty_one(resume: Resume) -> None:
    disk = MemoryDisk()
    written = Written(disk, 2)
    disk.flip("1.part", 9)
    with pytest.raises(CheckpointUnusable, match="no checkpoint of flow 'words' is good"):
        beginning(graph_of(), written.folder, resume, ())


def shown(disk: MemoryDisk) -> Written:
    """Write three checkpoints; sinks of two phases have shown what the last one held."""
    written = Written(disk, 3)
    written.folder.complete(written.folder.manifest(3), 100, commits=True)
    return written


@pytest.mark.parametrize("name", ["3.part", manifest_name(3)])
def test_what_sinks_have_shown_for_good_is_not_gone_back_behind(name: str) -> None:
    disk = MemoryDisk()
    written = shown(disk)
    assert beginning(graph_of(), written.folder, "auto", ()).begins_at == 3
    disk.flip(name, 9)
    with pytest.raises(
        CheckpointUnusable, match=r"checkpoint 2 .* is the newest that is good, and sinks of two"
    ) as raised:
        beginning(graph_of(), written.folder, "auto", ())
    assert f"Or remove {manifest_name(3)}, {newest_name(3)} from the folder" in str(raised.value)
    disk.remove(manifest_name(3))
    disk.remove(newest_name(3))
    assert beginning(graph_of(), written.folder, "auto", ()).begins_at == 2


def test_a_newest_checkpoint_whose_manifest_is_gone_is_named_and_an_older_one_gone_on_from() -> None:
    disk = MemoryDisk()
    written = Written(disk, 3)
    disk.remove(manifest_name(3))
    begins = beginning(graph_of(), written.folder, "auto", ())
    why = f"checkpoint 3 is passed over for 2: its manifest, {manifest_name(3)} in the folder, is gone"
    assert (begins.begins_at, begins.next_id, begins.notes) == (2, 4, (why,))
    assert beginning(graph_of(), written.folder, "auto", ()).notes == ()


def test_what_sinks_have_shown_is_not_gone_back_behind_where_the_newest_manifest_is_gone() -> None:
    disk = MemoryDisk()
    written = shown(disk)
    disk.remove(manifest_name(3))
    for _ in range(2):
        with pytest.raises(CheckpointUnusable, match=f"shown what came after it: .*{manifest_name(3)} .* is gone"):
            beginning(graph_of(), written.folder, "auto", ())


def test_manifests_that_are_all_gone_are_no_start_from_nothing() -> None:
    disk = MemoryDisk()
    written = Written(disk, 3)
    for checkpoint_id in (1, 2, 3):
        disk.remove(manifest_name(checkpoint_id))
    with pytest.raises(
        CheckpointUnusable, match=f"no checkpoint of flow 'words' is good: .*{manifest_name(3)} .* gone"
    ):
        beginning(graph_of(), written.folder, "auto", ())
    assert beginning(graph_of(), written.folder, "never", ()).begins_at is None
    assert disk.names() == []


def test_a_flow_that_begins_anew_has_shown_nothing() -> None:
    disk = MemoryDisk()
    shown(disk).folder.clear()
    assert disk.names() == []
    written = shown(disk)
    for name in (newest_name(3), *map(manifest_name, (1, 2, 3))):
        disk.remove(name)
    assert beginning(graph_of(), written.folder, "auto", ()).begins_at is None
    assert disk.names() == []


class DyingDisk(MemoryDisk):
    """Its user is killed instead of removing one file more than `num_removed`."""

    num_removed = 0

    def remove(self, name: str) -> None:
        if not self.num_removed:
            raise KeyboardInterrupt
        self.num_removed -= 1
        super().remove(name)


def test_who_is_killed_while_all_is_forgotten_leaves_the_newest_whole_or_nothing() -> None:
    num_left = []
    for num_removed in range(8):
        disk = DyingDisk()
        written = shown(disk)
        disk.num_removed = num_removed
        with pytest.raises(KeyboardInterrupt):
            written.folder.clear()
        found = CheckpointFolder(disk, "the folder").find()
        assert not found.bad
        assert found.newest is None or (found.newest.checkpoint_id == 3 and found.is_committed)
        num_left.append(found.newest is not None)
    assert num_left == [True, True, True, True, False, False, False, False]


def test_a_corrupt_checkpoint_is_forgotten_in_its_turn_and_keeps_nothing_else_alive() -> None:
    disk = MemoryDisk()
    written = Written(disk, 3)
    disk.flip(manifest_name(2), 9)
    for checkpoint_id in range(4, 80):
        written.add(checkpoint_id, 3)
    assert [name for name in disk.names() if name.endswith(".manifest")] == [manifest_name(n) for n in (77, 78, 79)]
    assert len([name for name in disk.names() if name.endswith(".part")]) < 20


def test_nothing_to_resume_is_an_error_only_where_it_must_be() -> None:
    folder = CheckpointFolder(MemoryDisk(), "the folder")
    assert beginning(graph_of(), folder, "auto", ()).begins_at is None
    with pytest.raises(CheckpointUnusable, match="no checkpoint of flow 'words' to resume from"):
        beginning(graph_of(), folder, "must", ())


def test_a_run_that_never_resumes_forgets_what_was_there() -> None:
    disk = MemoryDisk()
    written = Written(disk, 2)
    begins = beginning(graph_of(), written.folder, "never", ())
    assert (begins.begins_at, begins.next_id, disk.names()) == (None, 3, [])


def test_state_whose_step_is_gone_is_kept_or_let_go_by_name() -> None:
    written = Written(MemoryDisk(), 2)
    renamed = graph_of("tally")
    with pytest.raises(CheckpointUnusable, match="step 'count' held, and the flow has no such step"):
        beginning(renamed, written.folder, "auto", ())
    assert beginning(renamed, written.folder, "auto", ("count",)).begins_at == 2
    with pytest.raises(FlowInvalid, match="step 'count' is in the flow"):
        beginning(graph_of(), written.folder, "auto", ("count",))


class Counting(KeyedProcess[int, str, str]):
    num = ValueState(0)

    def on_record(self, record: str, context: ProcessContext[int]) -> None:
        """Nothing is counted here."""


class Renamed(Counting):
    num = None  # type: ignore[assignment]  # it hides the state
    total = ValueState(0)


class Listing(Counting):
    num = ListState[str]()  # type: ignore[assignment]  # on purpose


def processing(process: type[Counting]) -> Graph:
    flow = Flow("words")
    flow.from_collection(["a"]).key_by(len).process(process).named("count").for_each(print)
    return flow.graph()


def summing() -> Graph:
    flow = Flow("words")
    flow.from_collection([1]).key_by(abs).sum().named("count").for_each(print)
    return flow.graph()


def test_a_step_that_keeps_something_else_now_is_refused_or_begins_anew() -> None:
    written = Written(MemoryDisk(), 2, forms=forms_of(graph_of().steps))
    with pytest.raises(
        CheckpointUnusable, match="step 'count' held the state of a running count, and is now a running"
    ):
        beginning(summing(), written.folder, "auto", ())
    begins = beginning(summing(), written.folder, "auto", ("count",))
    assert (begins.begins_at, begins.lost) == (2, ("count",))
    assert beginning(graph_of(), written.folder, "auto", ()).lost == ()


def test_a_step_that_was_dropped_goes_on_with_what_it_has_held_since() -> None:
    written = Written(MemoryDisk(), 2, forms=forms_of(summing().steps), dropped=("count",))
    begins = beginning(summing(), written.folder, "auto", ("count",))
    assert (begins.begins_at, begins.lost) == (2, ())


def test_a_state_of_a_process_is_not_forgotten_nor_misread() -> None:
    written = Written(MemoryDisk(), 2, forms=forms_of(processing(Counting).steps))
    with pytest.raises(CheckpointUnusable, match="holds the state 'num' of step 'count', and its process declares no"):
        beginning(processing(Renamed), written.folder, "auto", ())
    assert beginning(processing(Renamed), written.folder, "auto", ("count.num",)).lost == ()
    with pytest.raises(CheckpointUnusable, match="held 'num' as a ValueState, and it is now a ListState"):
        beginning(processing(Listing), written.folder, "auto", ("count.num",))
    assert beginning(processing(Listing), written.folder, "auto", ("count",)).lost == ("count",)


def test_a_checkpoint_that_does_not_say_what_steps_kept_is_taken_as_it_is() -> None:
    written = Written(MemoryDisk(), 2)
    assert beginning(summing(), written.folder, "auto", ()).lost == ()
