"""Posts in files beside checkpoints: what was acknowledged comes again, in order, and is forgotten with them."""

import itertools
import os
from pathlib import Path

import pytest

from cluster.checkpoints.disk import RealDisk
from cluster.checkpoints.folder import CheckpointFolder
from cluster.checkpoints.manifest import Manifest
from cluster.checkpoints.post_entries import LEN_MARK_BYTES, bytes_of_mark, bytes_of_post, posts_in
from cluster.checkpoints.post_log import FolderPosts
from cluster.runtime.posts import KeptPost
from sage.base.errors import CheckpointUnusable
from sage.base.ids import JobId
from tests.unit.full_disk import files_of_at_most

POSTS = [KeptPost(number, 0.5, False, b"%d" % number) for number in range(6)]


def log(folder: Path, begins_at: int = 0, name: str = "orders") -> FolderPosts:
    return FolderPosts(str(folder), begins_at, name)


@pytest.mark.parametrize("num_torn", range(1, 20))
def test_posts_are_read_up_to_what_a_kill_has_torn(num_torn: int) -> None:
    posts = [KeptPost(1, 0.5, True, b"a"), KeptPost(2, 1.5, False, b"b", {"x": "y"}, "q=1", b"key")]
    content = b"".join(map(bytes_of_post, posts))
    len_first = len(bytes_of_post(posts[0]))
    assert posts_in(content) == (posts, 0)
    assert posts_in(content[:-num_torn]) == (posts[:1], len(content) - num_torn - len_first)
    flipped = bytearray(content)
    flipped[-num_torn] ^= 1
    assert posts_in(bytes(flipped)) == (posts[:1], len(content) - len_first)


def test_what_was_kept_comes_again_in_order_and_only_to_the_source_of_its_name(tmp_path: Path) -> None:
    first = log(tmp_path)
    first.append(POSTS[:2])
    first.cut(7)
    first.append(POSTS[2:3])
    first.close()
    log(tmp_path, 7, "clicks").append([KeptPost(9, 0.0, False, b"click")])
    assert log(tmp_path, 7).load() == POSTS[:3]
    assert sorted(name[:10] for name in os.listdir(tmp_path)) == ["0000000000", "0000000007", "0000000007"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_folder_that_is_not_there_yet_holds_nothing_and_is_made(tmp_path: Path) -> None:
    made = log(tmp_path / "kept" / "flow")
    assert made.load() == []
    made.append(POSTS[:1])
    made.close()
    assert log(tmp_path / "kept" / "flow").load() == POSTS[:1]


def test_after_a_write_that_failed_the_next_goes_to_a_file_of_its_own(tmp_path: Path) -> None:
    made = log(tmp_path)
    made.append(POSTS[:1])
    with (
        files_of_at_most(len(bytes_of_post(POSTS[0])) + LEN_MARK_BYTES + 3),
        pytest.raises(OSError, match="File too large"),
    ):
        made.append(POSTS[1:2])
    made.append(POSTS[2:3])
    made.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert log(tmp_path).load() == [POSTS[0], POSTS[2]]


def test_files_go_with_the_checkpoints_that_need_them(tmp_path: Path) -> None:
    made, folder = log(tmp_path), CheckpointFolder(RealDisk(str(tmp_path)), "kept")
    for number in range(1, 5):
        made.append(POSTS[number : number + 1])
        made.cut(number)
        folder.complete(Manifest(number, "flow", JobId("job"), 0.0, ()), num_kept=2)
    made.append(POSTS[5:])
    made.close()
    assert [post.number for post in log(tmp_path).load()] == [4, 5]  # since 3, and since 4
    folder.clear()
    assert list(tmp_path.iterdir()) == []


def kept_in(folder: Path) -> Path:
    """Keep three posts, in two writes; return their file."""
    made = log(folder)
    made.append(POSTS[:2])
    made.append(POSTS[2:3])
    made.close()
    [file] = folder.iterdir()
    return file


def test_every_byte_of_what_was_acknowledged_that_changes_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    file = kept_in(tmp_path)
    whole = file.read_bytes()
    for at in range(len(whole) - LEN_MARK_BYTES):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        file.write_bytes(flipped)
        with pytest.raises(CheckpointUnusable, match=f"of {file.name} in .* acknowledged, are damaged") as raised:
            log(tmp_path).load()
        assert f"rename it to {file.name}.bad" in raised.value.do
    file.rename(f"{file}.bad")
    assert log(tmp_path).load() == []


def test_a_file_without_its_end_gives_what_is_whole_and_says_that_it_was_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = kept_in(tmp_path)
    whole = file.read_bytes()
    ends = {0, *itertools.accumulate([*(len(bytes_of_post(post)) for post in POSTS[:2]), LEN_MARK_BYTES])}
    for len_left in range(len(whole) - LEN_MARK_BYTES - len(bytes_of_post(POSTS[2]))):
        file.write_bytes(whole[:len_left])
        found = log(tmp_path).load()
        assert found == POSTS[: len(found)]
        assert (file.name in capsys.readouterr().err) == (len_left not in ends), len_left


def test_damage_to_posts_that_a_checkpoint_holds_is_said_and_refuses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = kept_in(tmp_path)
    file.write_bytes(b"x" + file.read_bytes()[1:])
    assert log(tmp_path, 7).load() == []
    assert f"{file.name} in" in capsys.readouterr().err


def test_where_there_is_no_room_for_a_mark_the_next_posts_go_to_a_file_of_their_own(tmp_path: Path) -> None:
    made = log(tmp_path)
    with files_of_at_most(len(bytes_of_post(POSTS[0])) + 3):
        made.append(POSTS[:1])
    made.append(POSTS[1:2])
    made.close()
    assert log(tmp_path).load() == POSTS[:2]


def test_a_body_that_looks_like_a_mark_is_none(tmp_path: Path) -> None:
    posts = [KeptPost(0, 0.5, False, b"".join(map(bytes_of_mark, range(3)))), POSTS[1]]
    made = log(tmp_path)
    made.append(posts)
    made.close()
    assert log(tmp_path).load() == posts
    [file] = tmp_path.iterdir()
    torn = b"".join(map(bytes_of_post, posts))[:-1]
    file.write_bytes(b"x" + torn[1:])
    assert log(tmp_path).load() == []
