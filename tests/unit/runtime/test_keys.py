"""A cluster's keys on disk: made once, refused where open, the list seen by every process."""

import os
import stat
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.runtime.allow_list import AllowedKey, AllowList, Domain, Role
from cluster.runtime.join_token import issue_token
from cluster.runtime.keys import (
    AllowListFile,
    ClusterKeys,
    KnownHead,
    default_clusters_directory,
    known_heads,
    new_curve_keys,
    open_keys,
)
from sage.base.errors import ConfigInvalid, KeysUnsafe, NotTrusted
from sage.base.settings import ClusterSettings

NODE = AllowedKey(new_curve_keys().public_key, Role.NODE, "alder", 1.0)


@pytest.fixture
def keys(tmp_path: Path) -> ClusterKeys:
    return ClusterKeys(tmp_path / "lab")


def test_a_key_pair_is_made_once_and_found_again(keys: ClusterKeys) -> None:
    again = ClusterKeys(keys.directory)
    assert again.curve("head") == keys.curve("head")
    assert again.signing() == keys.signing()
    assert keys.curve("node-2") != keys.curve("node-1")


def test_everything_is_for_its_owner_alone(keys: ClusterKeys) -> None:
    keys.curve("head")
    keys.signing()
    keys.admit_self("birch", 1.0)
    keys.remember_head(KnownHead("tcp://10.0.0.1:7077", NODE.public_key))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in keys.directory.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"head.curve", "client.curve", "submitter.sign", "allow_list.json", "head.json"} <= set(modes)
    assert stat.S_IMODE(keys.directory.stat().st_mode) == 0o700


def test_threads_that_make_one_key_at_once_agree_on_it(keys: ClusterKeys) -> None:
    found: list[str] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait(10)
        found.append(ClusterKeys(keys.directory).curve("node").public_key)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_secrets_are_not_shown(keys: ClusterKeys) -> None:
    assert keys.curve("head").secret_key not in repr(keys.curve("head"))
    assert repr(keys.signing().secret) not in repr(keys.signing())


@pytest.mark.parametrize("file", ["head.curve", "submitter.sign", "allow_list.json", "head.json"])
def test_a_file_open_to_others_is_refused(keys: ClusterKeys, file: str) -> None:
    keys.curve("head")
    keys.admit_self("birch", 1.0)
    keys.remember_head(KnownHead("tcp://10.0.0.1:7077", NODE.public_key))
    (keys.directory / file).chmod(0o644)
    with pytest.raises(KeysUnsafe, match="chmod 600"):
        use_everything(keys.directory)


def use_everything(directory: Path) -> AllowList:
    keys = ClusterKeys(directory)
    keys.head()
    keys.curve("head")
    keys.signing()
    return keys.allow_list.current()


@pytest.mark.parametrize("file", ["head.curve", "submitter.sign", "allow_list.json", "head.json"])
@given(data=st.one_of(st.binary(max_size=200), st.sampled_from([b"{}", b"[" * 5000, b'{"secret_key":""}'])))
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_named(tmp_path_factory: pytest.TempPathFactory, file: str, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("keys") / "lab"
    ClusterKeys(directory)
    descriptor = os.open(directory / file, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
    if file == "allow_list.json" and data == b"{}":
        assert use_everything(directory) == AllowList()
        return
    with pytest.raises(KeysUnsafe, match=rf"{file} is damaged"):
        use_everything(directory)


@given(where=st.floats(0, 1), bit=st.integers(0, 7), cut=st.booleans())
@settings(max_examples=300, deadline=None)
def test_an_allow_list_with_a_flipped_bit_or_cut_short_never_lets_in_more(where: float, bit: int, cut: bool) -> None:
    """What still reads as a list names the same keys or fewer: none moves to another role or comes alive again."""
    whole, _ = issue_token(AllowList().add(NODE), role=Role.NODE, head_key=NODE.public_key, address="a", now_unix_s=1.0)
    data = bytearray(msgspec.json.encode(whole))
    at = min(int(where * len(data)), len(data) - 1)
    data = data[:at] if cut else data
    if not cut:
        data[at] ^= 1 << bit
    try:
        read = msgspec.json.decode(bytes(data), type=AllowList)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    assert not cut
    before = {key.public_key: key.role for key in whole.keys}
    for key in read.keys:
        assert before.get(key.public_key, key.role) is key.role


def test_a_change_is_seen_by_other_processes_files(keys: ClusterKeys) -> None:
    other = AllowListFile(keys.directory / "allow_list.json")
    assert other.current() == AllowList()
    keys.allow_list.change(lambda allowed: allowed.add(NODE))
    assert other.current().admits(Domain.DATA, NODE.public_key, 1.0)
    assert other.current() is other.current()
    keys.allow_list.change(lambda allowed: allowed.revoke("alder"))
    assert not other.current().admits(Domain.DATA, NODE.public_key, 1.0)


def test_a_change_that_is_refused_changes_nothing(keys: ClusterKeys) -> None:
    keys.allow_list.change(lambda allowed: allowed.add(NODE))
    before = (keys.directory / "allow_list.json").read_bytes()
    with pytest.raises(NotTrusted):
        keys.allow_list.change(lambda allowed: allowed.revoke("nobody"))
    assert (keys.directory / "allow_list.json").read_bytes() == before


def test_changes_from_many_threads_are_all_kept(keys: ClusterKeys) -> None:
    entries = [AllowedKey(new_curve_keys().public_key, Role.NODE, f"n{i}", 1.0) for i in range(8)]

    def add(entry: AllowedKey) -> None:
        ClusterKeys(keys.directory).allow_list.change(lambda allowed: allowed.add(entry))

    threads = [threading.Thread(target=add, args=(entry,)) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {key.label for key in keys.allow_list.current().keys} == {f"n{i}" for i in range(8)}


def test_who_starts_a_cluster_may_use_it_and_submit_code(keys: ClusterKeys) -> None:
    keys.admit_self("birch", 1.0)
    allowed = keys.allow_list.current()
    assert allowed.admits(Domain.CONTROL, keys.curve("client").public_key, 1.0)
    assert [key.public_key for key in allowed.of_role(Role.SUBMITTER)] == [keys.signing().public_key]
    keys.admit_self("birch", 2.0)
    assert len(keys.allow_list.current().keys) == 2


def test_heads_are_remembered_by_the_name_of_their_cluster(tmp_path: Path) -> None:
    where = ClusterSettings(keys_dir=str(tmp_path / "clusters"))
    assert known_heads(where) == {}
    head = KnownHead("tcp://10.0.0.1:7077", NODE.public_key)
    open_keys("lab", where).remember_head(head)
    open_keys("other", where).curve("node")
    assert known_heads(where) == {"lab": head}
    assert open_keys("other", where).head() is None


@pytest.mark.parametrize("name", ["", "..", "../lab", "a/b", ".hidden", "a" * 65, "a\n", "a\0b"])
def test_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigInvalid, match="no name"):
        open_keys(name, ClusterSettings(keys_dir=str(tmp_path)))
    with pytest.raises(ConfigInvalid, match="no name"):
        ClusterKeys(tmp_path / "lab").curve(name)


def test_keys_stand_where_the_platform_keeps_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/birch")
    assert default_clusters_directory({"XDG_CONFIG_HOME": "/cfg"}, "linux") == Path("/cfg/sage/clusters")
    assert default_clusters_directory({}, "linux") == Path("/home/birch/.config/sage/clusters")
    mac = Path("/home/birch/Library/Application Support/sage/clusters")
    assert default_clusters_directory({}, "darwin") == mac
