"""Finding a cluster: by name on this machine, by address; where there is none, what to do is said at once."""

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from cluster.client.dial import check_dial
from cluster.client.reach import reach_address, reach_name
from cluster.client.tokens import issue
from cluster.runtime.addresses import TcpAddress
from cluster.runtime.allow_list import Role
from cluster.runtime.control_clients import ClientToHead, HeadToClient, ListNodes, NodeList
from cluster.runtime.curve import ClientTrust
from cluster.runtime.join_token import parse_token
from cluster.runtime.keys import new_curve_keys, open_keys
from cluster.runtime.place import Beacon, ClusterPlace, place_of_cluster
from sage.base.config import load_settings
from sage.base.errors import ClusterRunning, ClusterUnreachable, ConfigInvalid, KeysUnsafe, NotTrusted
from tests.unit.client.scripted_head import ScriptedHead


@pytest.fixture(autouse=True)
def home(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any cluster."""
    monkeypatch.chdir(short_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_path / "config"))
    return short_path


@pytest.fixture
def place() -> Iterator[ClusterPlace]:
    """A place whose head lives, as far as its lock says."""
    found = place_of_cluster("default")
    found.make()
    held = found.take()
    assert held is not None
    yield found
    os.close(held)


def answer(message: ClientToHead) -> Iterable[HeadToClient]:
    return [NodeList(message.question, ())] if isinstance(message, ListNodes) else []


def test_where_no_cluster_runs_it_is_said_how_to_start_one() -> None:
    with pytest.raises(ClusterUnreachable, match="no cluster 'default' runs") as caught:
        reach_name()
    assert "sage-cluster start" in caught.value.do
    with pytest.raises(ClusterUnreachable, match="no cluster 'mine' runs") as caught:
        reach_name("mine")
    assert "sage-cluster start --name mine." in caught.value.do


def test_the_cluster_of_a_name_is_reached_by_its_socket(place: ClusterPlace) -> None:
    head = ScriptedHead(place.folder, answer)
    place.say(Beacon("default", os.getpid(), f"ipc://{head.path}", None, 0.0))
    try:
        with reach_name() as cluster:
            assert cluster.name == "scripted"
            assert cluster.nodes() == []
        with reach_address(f"ipc://{head.path}") as cluster:
            assert cluster.nodes() == []
    finally:
        head.end()


def test_a_socket_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnreachable, match="no cluster listens"):
        reach_address(f"ipc://{tmp_path}/none")


def test_a_port_where_nobody_listens_is_said_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ClusterUnreachable, match="no cluster answers") as caught:
            reach_address(f"tcp://127.0.0.1:{taken.getsockname()[1]}")
    assert "--address" in caught.value.do


def test_a_port_where_nobody_listens_is_said_at_once_to_who_has_a_key_too() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        trust = ClientTrust(new_curve_keys(), new_curve_keys().public_key)
        with pytest.raises(ClusterUnreachable, match="no cluster answers"):
            check_dial(TcpAddress("127.0.0.1", port), f"tcp://127.0.0.1:{port}", trust)


def test_a_cluster_that_this_user_has_no_key_for_is_named_with_the_way_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NotTrusted, match="no key") as caught:
            reach_address(address)
    assert f"sage-cluster join {address}" in caught.value.do


@pytest.mark.parametrize("address", ["tcp://:1", "tcp://a", "http://a:1", "tcp://a:*"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigInvalid):
        reach_address(address)


def test_a_token_is_made_where_the_head_runs_and_others_can_reach_it(place: ClusterPlace) -> None:
    place.say(Beacon("default", 1, "ipc:///x", "tcp://10.0.0.1:7077", 0.0))
    token = issue("default", Role.CLIENT, 60.0)
    keys = open_keys("default", load_settings().cluster)
    assert parse_token(token.text()).address == "tcp://10.0.0.1:7077"
    assert token.head_key == keys.curve("head").public_key
    assert [record.id for record in keys.allow_list.current().tokens] == [token.id]


def test_no_token_is_made_for_a_cluster_that_nobody_else_reaches(place: ClusterPlace) -> None:
    place.say(Beacon("default", 1, "ipc:///x", None, 0.0))
    with pytest.raises(KeysUnsafe, match="this machine alone"):
        issue("default", Role.NODE, 60.0)


def test_no_token_is_made_where_no_head_runs() -> None:
    with pytest.raises(ClusterUnreachable):
        issue("default", Role.NODE, 60.0)


def test_a_second_start_is_told_how_to_look_at_the_first_by_its_name() -> None:
    place = place_of_cluster("mine")
    place.make()
    held = place.take()
    assert held is not None
    with pytest.raises(ClusterRunning, match="cluster mine runs already") as caught:
        place_of_cluster("mine").check_free()
    os.close(held)
    assert "sage-cluster status --name mine. End it: sage-cluster stop --name mine." in caught.value.do
