"""The folder of a cluster: private, found again, known to be alive or abandoned."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from cluster.runtime.place import (
    Beacon,
    ClusterPlace,
    clear_abandoned,
    place_of_cluster,
    places_here,
    state_of_cluster,
)
from sage.base.errors import ConfigInvalid, InternalError
from sage.base.settings import ClusterSettings

BEACON = Beacon("default", 1, "ipc:///run/x", None, 0.0)


@pytest.fixture
def place(tmp_path: Path) -> ClusterPlace:
    found = place_of_cluster("c", {"XDG_RUNTIME_DIR": str(tmp_path)})
    found.make()
    return found


def test_the_runtime_folder_of_the_user_is_taken_where_there_is_one(tmp_path: Path) -> None:
    there = place_of_cluster("a", {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": "/home/x"})
    assert there.folder == tmp_path / "sage" / "clusters" / "a"
    elsewhere = place_of_cluster("a", {"XDG_RUNTIME_DIR": "/not/there", "HOME": "/home/x"})
    assert elsewhere.folder == Path("/home/x/.local/state/sage/clusters/a")


@pytest.mark.parametrize("name", ["", "..", "a/b", "-a", "a b", "x" * 33])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="named"):
        place_of_cluster(name)


def test_the_folder_is_for_this_user_alone(place: ClusterPlace) -> None:
    assert place.folder.stat().st_mode & 0o777 == 0o700
    place.folder.chmod(0o755)
    with pytest.raises(InternalError, match="mode 755"):
        place.make()


def test_a_socket_of_too_long_a_name_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    place = ClusterPlace("c", tmp_path / ("x" * 100))
    with pytest.raises(ConfigInvalid, match="longer than"):
        place.make()
    assert not place.folder.exists()


def test_one_head_at_a_time_holds_the_lock_and_the_beacon_counts_only_while_it_does(place: ClusterPlace) -> None:
    place.say(BEACON)
    assert place.beacon() is None
    held = place.take()
    assert held is not None
    assert place.take() is None
    assert place.beacon() == BEACON
    os.close(held)
    assert not place.lives()
    assert place.beacon() is None


def test_what_is_above_a_place_of_no_name_stays(tmp_path: Path) -> None:
    folder = tmp_path / "temporary" / "sage-1"
    folder.mkdir(parents=True, mode=0o700)
    ClusterPlace("local", folder).remove()
    assert list(tmp_path.rglob("*")) == [folder.parent]


def test_a_removed_place_leaves_no_folder(place: ClusterPlace, tmp_path: Path) -> None:
    place.say(BEACON)
    place.remove()
    assert not list(tmp_path.iterdir())
    place.remove()


def test_all_clusters_of_the_user_are_found(short_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(short_path)}
    assert list(places_here(environ)) == []
    for name in ("b", "a"):
        place_of_cluster(name, environ).make()
    assert [place.name for place in places_here(environ)] == ["a", "b"]


def test_what_a_killed_process_left_is_removed_and_what_another_has_taken_is_not(short_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(short_path)}
    for name in ("killed", "alive", "young"):
        place_of_cluster(name, environ).make()
    was_held(place_of_cluster("killed", environ)).say(BEACON)
    place_of_cluster("alive", environ).say(BEACON)
    held = place_of_cluster("alive", environ).take()
    assert held is not None
    clear_abandoned(environ)
    assert [place.name for place in places_here(environ)] == ["alive", "young"]
    os.close(held)


def was_held(place: ClusterPlace) -> ClusterPlace:
    """Return `place` with the lock of a process that is gone."""
    held = place.take()
    assert held is not None
    os.close(held)
    return place


def test_a_node_clears_up_after_its_own_head_alone(place: ClusterPlace) -> None:
    was_held(place).say(BEACON)
    place.clear_after(BEACON.pid + 1)
    assert place.folder.exists()
    place.clear_after(BEACON.pid)
    assert not place.folder.exists()
    place.clear_after(BEACON.pid)


def test_the_state_of_a_cluster_is_where_the_settings_say_else_with_the_users(tmp_path: Path) -> None:
    named = ClusterSettings(state_dir=str(tmp_path))
    assert state_of_cluster("c", named) == tmp_path / "c"
    environ = {"HOME": "/home/u"}
    assert state_of_cluster("c", ClusterSettings(), environ) == Path("/home/u/.local/state/sage/journals/c")
    environ["XDG_STATE_HOME"] = "/state"
    assert state_of_cluster("c", ClusterSettings(), environ) == Path("/state/sage/journals/c")


def test_a_head_that_is_about_to_be_gone_is_waited_for(place: ClusterPlace) -> None:
    """The kernel closes what a killed process held one by one: its pipe may end before its lock is free."""
    place.say(BEACON)
    held = place.take()
    assert held is not None
    clearing = threading.Thread(target=place.clear_after, args=(BEACON.pid,))
    clearing.start()
    os.close(held)
    clearing.join(10.0)
    assert not place.folder.exists()


def test_who_clears_up_waits_for_whoever_looks_at_the_lock_at_that_moment(place: ClusterPlace) -> None:
    """A client that looked for the head which had just been killed once kept its nodes from clearing up."""
    was_held(place).say(BEACON)
    looking = os.open(place.folder / "lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    clearing = threading.Thread(target=place.clear_after, args=(BEACON.pid,))
    clearing.start()
    clearing.join(0.1)
    assert place.folder.exists()
    os.close(looking)
    clearing.join(10.0)
    assert not place.folder.exists()
