"""Whatever a disk does to checkpoints, what is served is what was written, or is refused by name."""

from pathlib import Path
from random import Random

import pytest

from cluster.checkpoints.disk import RealDisk
from cluster.checkpoints.folder import CheckpointFolder, newest_name
from cluster.checkpoints.joining import state_from_pieces
from cluster.checkpoints.lock import FolderLock
from cluster.checkpoints.manifest import Manifest, SavedTask, manifest_name
from cluster.checkpoints.opening import folder_name
from cluster.checkpoints.savepoint import write_savepoint
from sage.base.errors import CheckpointUnusable, DiskFull, NameTaken
from sage.base.ids import JobId
from tests.unit.checkpoints.memory_disk import MemoryDisk
from tests.unit.checkpoints.written import TYPES, Written


def test_the_newest_checkpoint_is_found_as_it_was_written(tmp_path: Path) -> None:
    for disk in (MemoryDisk(), RealDisk(str(tmp_path))):
        written = Written(disk, 5)
        assert written.served() == (5, written.states[5])
        assert written.folder.find().next_id == 6


def test_a_process_that_dies_anywhere_while_it_writes_leaves_the_checkpoint_before() -> None:
    whole = MemoryDisk()
    written = Written(whole, 8, num_keys=40_000, num_changed=40_000)
    num_bytes = sum(len(content) for _, content, _ in whole.log)
    assert num_bytes > 1 << 20
    cuts = {*Random(1).sample(range(num_bytes), 300)}
    start = 0
    for _, content, _ in whole.log:
        cuts |= {start, start + 1, start + len(content) - 1}
        start += len(content)
    for cut in cuts:
        disk, num_complete = MemoryDisk(), 0
        for name, content, is_renamed in whole.log:
            left, cut = content[:cut], max(0, cut - len(content))
            if len(left) == len(content):
                disk.files[name] = content
                num_complete += is_renamed
            elif left:
                disk.files[f"{name}.new" if is_renamed else name] = left
        found = CheckpointFolder(disk, "the folder").find()
        assert (found.newest.checkpoint_id if found.newest is not None else 0) == num_complete
        assert found.bad == {}
    assert written.served() == (8, written.states[8])


def test_every_file_cut_anywhere_leaves_the_one_before_and_says_so() -> None:
    disk = MemoryDisk()
    written = Written(disk, 3, num_keys=300)
    for name in (manifest_name(3), "3.part"):
        whole = disk.files[name]
        for cut in range(len(whole)):
            disk.files[name] = whole[:cut]
            found = written.folder.find()
            assert found.newest is not None
            assert (found.newest.checkpoint_id, list(found.bad)) == (2, [3])
        disk.files[name] = whole
    base = disk.files["1.part"]
    for cut in range(0, len(base), 5):
        disk.files["1.part"] = base[:cut]
        found = written.folder.find()
        assert (found.newest, sorted(found.bad)) == (None, [1, 2, 3])
    disk.files["1.part"] = base
    assert written.served() == (3, written.states[3])


def test_ten_thousand_flipped_bits_are_all_found() -> None:
    disk, rng = MemoryDisk(), Random(2)
    written = Written(disk, 4, num_keys=300)
    for _ in range(10_000):
        name = rng.choice([name for name, content in disk.files.items() if content])
        bit = rng.randrange(8 * len(disk.files[name]))
        disk.flip(name, bit)
        served, state = written.served()
        assert served is None or state == written.states[served]
        assert written.folder.find().bad or served != 4 or name not in _needed_by(written, 4), (name, bit)
        disk.flip(name, bit)


def _needed_by(written: Written, checkpoint_id: int) -> set[str]:
    return {manifest_name(checkpoint_id), *written.folder.manifest(checkpoint_id).files()}


def test_a_full_disk_fails_the_checkpoint_by_name_and_the_last_one_stays() -> None:
    disk = MemoryDisk()
    written = Written(disk, 2)
    for room_bytes in range(0, 400, 20):
        disk.room_bytes = room_bytes
        with pytest.raises(DiskFull, match="disk full at the folder: No space left"):
            written.add(3)
        disk.files.pop("3.part", None)
        assert written.served() == (2, written.states[2])


def test_a_disk_that_cannot_be_read_is_named_and_nothing_is_swept_away() -> None:
    disk = MemoryDisk()
    written = Written(disk, 3)
    disk.unreadable = {"3.part"}
    assert written.served() == (2, written.states[2])
    assert "3.part in the folder cannot be read: Input/output error" in written.folder.find().bad[3]
    disk.unreadable = {manifest_name(2)}
    names = disk.names()
    written.folder.sweep()
    assert disk.names() == names


def test_old_checkpoints_go_with_what_only_they_needed() -> None:
    disk = MemoryDisk()
    written = Written(disk, 200, num_kept=3)
    assert [name for name in disk.names() if name.endswith(".manifest")] == [manifest_name(n) for n in (198, 199, 200)]
    needed = {name for number in (198, 199, 200) for name in written.folder.manifest(number).files()}
    assert {name for name in disk.names() if name.endswith(".part")} == needed
    assert written.served() == (200, written.states[200])


def test_what_no_checkpoint_needs_is_swept_away() -> None:
    disk = MemoryDisk()
    written = Written(disk, 2)
    disk.files |= {"left.part": b"x", "0000000009.manifest.new": b"y", "notes.txt": b"z"}
    written.folder.sweep()
    assert disk.names() == [
        "0000000001.manifest",
        "0000000002.manifest",
        newest_name(2),
        "1.part",
        "2.part",
        "notes.txt",
    ]


@pytest.mark.parametrize("ends", ["swept", "cleared"])
def test_a_table_whose_laying_down_was_cut_off_goes(ends: str, tmp_path: Path) -> None:
    staged = tmp_path / "node-x-1-1.store.tmp"  # as the library calls it
    staged.mkdir()
    (staged / "000008.sst").write_bytes(b"x")
    written = Written(RealDisk(str(tmp_path)), 1)
    written.folder.sweep() if ends == "swept" else written.folder.clear()
    assert not staged.exists()
    assert written.disk.names() == (["0000000001.manifest", newest_name(1), "1.part"] if ends == "swept" else [])


def test_tables_of_a_checkpoint_that_was_given_up_go_with_the_next_that_is_complete(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path))
    folder = CheckpointFolder(disk, "the folder")
    for name in ("x-1-8", "x-1-9", "x-1-10", "x-1-11", "x-11-1"):  # 9 was given up; 11 is for the next
        (tmp_path / f"{name}.store").mkdir()
    for checkpoint_id, name in enumerate(("x-1-8", "x-1-10"), 1):
        task = SavedTask(("count",), 0, 1, (folder.store(f"{name}.store"),))
        folder.complete(Manifest(checkpoint_id, "words", JobId("job-1"), 1.0, (task,)), 2)
    left = [name for name in disk.names() if name.endswith(".store")]
    assert left == ["x-1-10.store", "x-1-11.store", "x-1-8.store", "x-11-1.store"]


class OthersClearToo(RealDisk):
    """A folder whose tables another removes once their names were read."""

    def names(self) -> list[str]:
        names = super().names()
        for name in names:
            if name.endswith(".store"):
                super().remove(name)
        return names


def test_a_folder_is_cleared_though_another_removes_its_tables(tmp_path: Path) -> None:
    written = Written(OthersClearToo(str(tmp_path)), 1)
    (tmp_path / "node-x-1-1.store").mkdir()
    written.folder.clear()
    assert written.disk.names() == []


@pytest.mark.parametrize("name", ["1.part", "node-x-1-1.store", "node-x-1-1.store.tmp", "node-x-1.live"])
def test_what_is_not_there_is_removed_without_an_error(name: str, tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path))
    disk.remove(name)
    assert disk.names() == []


def test_a_savepoint_is_whole_and_refuses_a_folder_that_has_one() -> None:
    written, target = Written(MemoryDisk(), 3), MemoryDisk()
    manifest = written.folder.manifest(3)
    folder = CheckpointFolder(target, "the savepoint")
    write_savepoint(manifest, written.folder, folder)
    assert target.names() == [manifest_name(3), newest_name(3), "savepoint.part"]
    found = folder.find().newest
    assert found is not None
    state = state_from_pieces([folder.piece(piece) for piece in found.tasks[0].pieces], TYPES)
    assert state.steps["count"].keyed == written.states[3]
    with pytest.raises(NameTaken):
        write_savepoint(manifest, written.folder, folder)


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    lock = FolderLock(str(tmp_path / "flow"))
    with pytest.raises(CheckpointUnusable, match="in use by another run"):
        FolderLock(str(tmp_path / "flow"))
    lock.release()
    FolderLock(str(tmp_path / "flow")).release()


def test_names_of_flows_become_names_of_folders_one_each() -> None:
    names = ["words", "my flow", "my/flow", "..", "", "a" * 100, "a" * 101, "Ünïcode"]
    folders = [folder_name(name) for name in names]
    assert folders[0] == "words"
    assert len(set(folders)) == len(names)
    assert all("/" not in folder and folder not in ("", ".", "..") for folder in folders)
