"""The allow-list as a value: who is let in where, added, rotated, revoked."""

import msgspec
import pytest

from cluster.runtime.allow_list import AllowedKey, AllowList, Domain, Role, only_for
from cluster.runtime.join_token import issue_token
from cluster.runtime.keys import new_curve_keys
from sage.base.errors import NotTrusted

NOW_S = 1000.0
NODE = AllowedKey(new_curve_keys().public_key, Role.NODE, "alder", NOW_S)
CLIENT = AllowedKey(new_curve_keys().public_key, Role.CLIENT, "birch", NOW_S)
HEAD = AllowedKey(new_curve_keys().public_key, Role.HEAD, "head", NOW_S)
SUBMITTER = AllowedKey("ab" * 32, Role.SUBMITTER, "birch", NOW_S)
EVERYBODY = AllowList().add(NODE).add(CLIENT).add(HEAD).add(SUBMITTER)


@pytest.mark.parametrize(
    ("key", "domains"),
    [
        (NODE, {Domain.CONTROL, Domain.DATA}),
        (CLIENT, {Domain.CONTROL}),
        (HEAD, {Domain.DATA}),
        (SUBMITTER, set()),
    ],
)
def test_a_role_opens_its_sockets_and_no_other(key: AllowedKey, domains: set[Domain]) -> None:
    assert {domain for domain in Domain if EVERYBODY.admits(domain, key.public_key, NOW_S)} == domains


def test_the_socket_for_an_engine_takes_the_node_that_it_names_and_nobody_else() -> None:
    other = AllowedKey(new_curve_keys().public_key, Role.NODE, "cedar", NOW_S)
    listed = EVERYBODY.add(other)
    domain = only_for(Domain.ENGINE, NODE.public_key)
    admitted = [key for key in (NODE, CLIENT, HEAD, other) if listed.admits(domain, key.public_key, NOW_S)]
    assert admitted == [NODE]
    assert not listed.admits(only_for(Domain.ENGINE, CLIENT.public_key), CLIENT.public_key, NOW_S)


@pytest.mark.parametrize("domain", ["", "*", "CONTROL", "admin"])
def test_a_domain_that_is_none_lets_nobody_in(domain: str) -> None:
    assert not EVERYBODY.admits(domain, NODE.public_key, NOW_S)


def test_an_empty_list_lets_nobody_in() -> None:
    assert not AllowList().admits(Domain.CONTROL, NODE.public_key, NOW_S)
    assert AllowList().standing(NODE.public_key, NOW_S) is None


def test_a_token_opens_the_control_socket_until_it_expires() -> None:
    allowed, token = issue_token(
        AllowList(), role=Role.NODE, head_key=HEAD.public_key, address="a", now_unix_s=NOW_S, lifetime_s=10.0
    )
    key = token.keys.public_key
    assert allowed.admits(Domain.CONTROL, key, NOW_S + 9.9)
    assert not allowed.admits(Domain.DATA, key, NOW_S)
    assert not allowed.admits(Domain.CONTROL, key, NOW_S + 10.0)


def test_a_key_is_rotated_by_overlap() -> None:
    new = AllowedKey(new_curve_keys().public_key, Role.NODE, "alder", NOW_S + 1)
    both = EVERYBODY.add(new)
    assert all(both.admits(Domain.DATA, key.public_key, NOW_S) for key in (NODE, new))
    after = both.revoke(NODE.public_key)
    assert [key for key in (NODE, new) if after.admits(Domain.DATA, key.public_key, NOW_S)] == [new]


def test_revoking_a_label_revokes_every_key_of_its_owner() -> None:
    after = EVERYBODY.revoke("birch")
    assert {key.label for key in after.keys} == {"alder", "head"}
    assert len(EVERYBODY.keys) == 4


def test_revoking_a_token_by_its_id_lets_nobody_join_by_it() -> None:
    allowed, token = issue_token(EVERYBODY, role=Role.NODE, head_key=HEAD.public_key, address="a", now_unix_s=NOW_S)
    assert not allowed.revoke(token.id).admits(Domain.CONTROL, token.keys.public_key, NOW_S)


def test_revoking_somebody_unknown_names_who_is_known() -> None:
    with pytest.raises(NotTrusted, match="'cedar'") as raised:
        EVERYBODY.revoke("cedar")
    assert "alder, birch, head" in raised.value.do


def test_a_key_added_once_more_is_renamed_and_stands_once() -> None:
    again = EVERYBODY.add(msgspec.structs.replace(NODE, label="ash"))
    assert [key.label for key in again.of_role(Role.NODE)] == ["ash"]


def test_a_key_has_one_role() -> None:
    with pytest.raises(NotTrusted, match="already that of the client birch"):
        EVERYBODY.add(msgspec.structs.replace(CLIENT, role=Role.NODE))


def test_the_key_of_a_token_never_becomes_a_lasting_one() -> None:
    allowed, token = issue_token(EVERYBODY, role=Role.NODE, head_key=HEAD.public_key, address="a", now_unix_s=NOW_S)
    with pytest.raises(NotTrusted, match="join token"):
        allowed.add(AllowedKey(token.keys.public_key, Role.NODE, "cedar", NOW_S))


@pytest.mark.parametrize(
    ("key", "role"),
    [("", Role.NODE), ("ab" * 32, Role.NODE), (NODE.public_key, Role.SUBMITTER), ("~" * 40, Role.HEAD)],
    ids=["empty", "hexadecimal", "a CURVE key of a submitter", "another length"],
)
def test_what_is_no_key_of_its_role_cannot_be_written_down(key: str, role: Role) -> None:
    with pytest.raises(ValueError, match="no public key"):
        AllowedKey(key, role, "x", NOW_S)
