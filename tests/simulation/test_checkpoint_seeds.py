"""Whole clusters with faults whose jobs take checkpoints: nothing is lost or doubled in state, sinks and dead letters.

seeds.py says how to run one alone.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from cluster.checkpoints.keepers import FolderKeeper
from cluster.runtime.commits import Commit, Commits
from cluster.runtime.saving import ReadAfter, ReadFrom, TaskState
from operators.state import StepState
from sage.base.errors import CheckpointUnusable
from tests.simulation.cluster_story import ClusterStory
from tests.simulation.expected import Compute
from tests.simulation.files import SharedFiles
from tests.simulation.kept_flows import KeptFlow, marked, running, sessions, windows
from tests.simulation.seeds import for_all_seeds, run_each
from tests.simulation.world import World

NUM_TAKEN_UP = 6
"""Of so many jobs in 30 stories the head dies after a checkpoint, and another goes on from that."""


@for_all_seeds
def test_a_job_goes_on_from_its_checkpoints_whatever_breaks_and_returns(seeds: range) -> None:
    run_each(seeds, lambda seed: ClusterStory(seed, is_kept=True).run())


def test_many_tasks_and_heads_go_on_from_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[TaskState] = []
    saved = FolderKeeper.saved

    def watched(keeper: FolderKeeper) -> TaskState | None:
        found = saved(keeper)
        states.extend(() if found is None else (found,))
        return found

    monkeypatch.setattr(FolderKeeper, "saved", watched)
    begun_at: list[int] = []
    for seed in range(30):
        story = ClusterStory(seed, is_kept=True)
        story.run()
        plans = [job.checkpoints for job in story.cluster.taken_up()]
        begun_at += [plan.begins_at for plan in plans if plan is not None and plan.begins_at is not None]
    assert len(begun_at) >= NUM_TAKEN_UP
    assert min(begun_at) > 0
    assert {type(state.reading) for state in states} >= {ReadFrom, ReadAfter}
    assert any(step.keyed for state in states for step in state.steps.values())
    assert any(step.grown for state in states for step in state.steps.values())


# The ledger notices: one promise broken on purpose at a time.


def wrongs(num_seeds: int = 300) -> str:
    """Return what the first story complains of that complains."""
    for seed in range(num_seeds):
        try:
            ClusterStory(seed, is_kept=True).run()
        except AssertionError as error:
            return str(error)
    return ""


def restored_as(change: Callable[[TaskState], TaskState], monkeypatch: pytest.MonkeyPatch) -> None:
    saved = FolderKeeper.saved

    def changed(keeper: FolderKeeper) -> TaskState | None:
        found = saved(keeper)
        return None if found is None else change(found)

    monkeypatch.setattr(FolderKeeper, "saved", changed)


def without_a_key(state: TaskState) -> TaskState:
    def less(step: StepState) -> StepState:
        return replace(step, keyed=dict([*step.keyed.items()][1:])) if step.keyed else step

    return replace(state, steps={name: less(step) for name, step in state.steps.items()})


def one_back(state: TaskState) -> TaskState:
    match state.reading:
        case ReadFrom(position) if position:
            return replace(state, reading=ReadFrom(position - 1))
        case ReadAfter(num_records) if num_records:
            return replace(state, reading=ReadAfter(num_records - 1))
        case _:
            return state


@pytest.mark.parametrize("change", [without_a_key, one_back])
def test_a_state_that_is_not_as_it_was_is_noticed(
    change: Callable[[TaskState], TaskState], monkeypatch: pytest.MonkeyPatch
) -> None:
    restored_as(change, monkeypatch)
    said = wrongs()
    assert "instead of" in said or "it counts" in said or "anew" in said or "nowhere" in said


def test_what_is_committed_before_its_checkpoint_is_complete_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = Commits.prepared

    def at_once(commits: Commits, *arguments: object) -> bool:
        awaits = prepared(commits, *arguments)  # type: ignore[arg-type] # as it was called
        for commit in commits._of[max(commits._of)]:
            commit()
        return awaits

    monkeypatch.setattr(Commits, "prepared", at_once)
    said = wrongs()
    assert "anew" in said or "nowhere" in said or "instead of" in said


def test_a_commit_that_is_forgotten_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(commits: Commits, checkpoint_id: int) -> list[Commit]:
        complete(commits, checkpoint_id)
        return []

    complete = Commits.complete
    monkeypatch.setattr(Commits, "complete", none)
    assert "instead of" in wrongs()


# What it is made of.


@pytest.mark.parametrize(
    ("compute", "numbers", "expected"),
    [
        (running, [1, 4, 2], [marked(1, 0, 1), marked(1, 0, 2), marked(2, 0, 1)]),
        (windows(60), [0, 3, 60, 59], [marked(0, 0, 2), marked(0, 60, 1), marked(2, 0, 1)]),
        (windows(20), [30], [marked(0, start, 1) for start in (20, 0, -20)]),
        (sessions, [30, 0, 15, 31], [marked(0, 0, 3), marked(1, 31, 1)]),
        (sessions, [0, 18], [marked(0, 0, 1), marked(0, 18, 1)]),
    ],
)
def test_lists_make_of_keys_and_times_what_flows_are_to_make(
    compute: Compute, numbers: list[int], expected: list[int]
) -> None:
    assert sorted(compute([numbers], {}).numbers) == sorted(expected)


def test_a_folder_is_held_by_one_process_until_it_dies() -> None:
    world = World(1)
    files, one, other = SharedFiles(world), world.process("one"), world.process("other")
    held = files.lock("folder", one)
    with pytest.raises(CheckpointUnusable, match="in use by one"):
        files.lock("folder", other)
    held.release()
    files.lock("folder", one)
    one.die()
    files.lock("folder", other)
    world.close()


def test_who_dies_while_writing_leaves_a_file_without_its_end() -> None:
    world = World(1)
    world.yielding_share = 1.0
    files, writer = SharedFiles(world), world.process("writer")
    disk = files.disk("folder")
    writer.begin("write", lambda: disk.write("one.part", [b"x" * 1000]))
    world.step()
    assert files.num_lost == 1
    writer.die()
    world.run_out()
    assert disk.names() == ["one.part"]
    assert len(disk.read("one.part")) < 1000
    world.close()


def test_a_flow_for_checkpoints_is_the_same_for_whoever_draws_it() -> None:
    names = [[step.name for step in KeptFlow("flow", Random(7)).flow.graph().steps] for _ in range(2)]
    assert names[0] == names[1]
