"""Join tokens: shown once, stored by half, good once."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.runtime.allow_list import AllowedKey, AllowList, Domain, Role
from cluster.runtime.join_token import LIFETIME_S, MAX_TOKENS, Joiner, JoinToken, issue_token, parse_token, redeem
from cluster.runtime.keys import new_curve_keys
from sage.base.errors import InvalidRequest, NotTrusted, TokenInvalid

NOW_S = 1_000_000.0
HEAD_KEY = new_curve_keys().public_key
ALDER = Joiner(new_curve_keys().public_key, "alder")
ADDRESS = "tcp://[fe80::1]:7077"


def issued(role: Role = Role.NODE, lifetime_s: float = 60.0) -> tuple[AllowList, JoinToken]:
    return issue_token(
        AllowList(), role=role, head_key=HEAD_KEY, address=ADDRESS, now_unix_s=NOW_S, lifetime_s=lifetime_s
    )


def test_a_token_survives_being_copied() -> None:
    _, token = issued()
    assert parse_token(token.text()) == token
    assert parse_token(f"  {token.text()[:70]}\n{token.text()[70:]}\n") == token


def test_a_token_is_one_word_that_no_shell_minds() -> None:
    _, token = issued()
    assert set(token.text()) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_nothing_that_is_kept_or_shown_leads_to_the_secret() -> None:
    allowed, token = issued()
    assert token.keys.secret_key.encode() not in msgspec.json.encode(allowed)
    assert token.keys.secret_key not in repr(token)
    assert token.text() not in repr(token)


def test_tokens_are_different_every_time() -> None:
    assert len({issued()[1].text() for _ in range(50)}) == 50


def test_a_token_lets_its_user_in_once() -> None:
    allowed, token = issued()
    after = redeem(allowed, token.keys.public_key, ALDER, NOW_S + 1)
    assert after.keys == (AllowedKey(ALDER.public_key, Role.NODE, "alder", NOW_S + 1),)
    assert after.admits(Domain.DATA, ALDER.public_key, NOW_S + 1)
    assert not after.admits(Domain.CONTROL, token.keys.public_key, NOW_S + 1)
    with pytest.raises(TokenInvalid, match="has been used"):
        redeem(after, token.keys.public_key, ALDER, NOW_S + 1)


def test_a_used_token_stays_used_after_its_user_was_revoked() -> None:
    allowed, token = issued()
    after = redeem(allowed, token.keys.public_key, ALDER, NOW_S).revoke("alder")
    with pytest.raises(TokenInvalid, match="has been used"):
        redeem(after, token.keys.public_key, ALDER, NOW_S)


def test_an_expired_token_says_so() -> None:
    allowed, token = issued(lifetime_s=60.0)
    with pytest.raises(TokenInvalid, match="expired 40 s ago"):
        redeem(allowed, token.keys.public_key, ALDER, NOW_S + 100)


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_token_as_it_is_given_outlives_a_jump_of_the_heads_clock_by_an_hour(jump_s: float) -> None:
    allowed, token = issued(lifetime_s=LIFETIME_S)
    joined = redeem(allowed, token.keys.public_key, ALDER, NOW_S + jump_s)
    assert [key.label for key in joined.of_role(Role.NODE)] == ["alder"]


def test_an_unknown_token_says_so() -> None:
    allowed, _ = issued()
    with pytest.raises(TokenInvalid, match="unknown here"):
        redeem(allowed, new_curve_keys().public_key, ALDER, NOW_S)


def test_a_client_brings_the_key_that_signs_its_code() -> None:
    allowed, token = issued(Role.CLIENT)
    joiner = Joiner(ALDER.public_key, "birch", signing_key="ab" * 32)
    after = redeem(allowed, token.keys.public_key, joiner, NOW_S)
    assert {key.role for key in after.keys} == {Role.CLIENT, Role.SUBMITTER}


def test_a_node_brings_no_signing_key_and_its_token_is_not_spent_by_trying() -> None:
    allowed, token = issued()
    with pytest.raises(InvalidRequest, match="Only a client"):
        redeem(allowed, token.keys.public_key, Joiner(ALDER.public_key, "alder", "ab" * 32), NOW_S)
    assert redeem(allowed, token.keys.public_key, ALDER, NOW_S).keys


@pytest.mark.parametrize(
    ("key", "label"),
    [("no key", "a"), ("", "a"), (ALDER.public_key, ""), (HEAD_KEY, "a" * 101)],
    ids=["no key", "empty key", "empty label", "long label"],
)
def test_who_joins_has_a_key_and_a_label(key: str, label: str) -> None:
    allowed, token = issued()
    with pytest.raises(InvalidRequest):
        redeem(allowed, token.keys.public_key, Joiner(key, label), NOW_S)


def test_a_token_does_not_give_a_known_key_another_role() -> None:
    allowed, token = issued()
    allowed = allowed.add(AllowedKey(ALDER.public_key, Role.CLIENT, "birch", NOW_S))
    with pytest.raises(NotTrusted, match="client birch"):
        redeem(allowed, token.keys.public_key, ALDER, NOW_S)


@pytest.mark.parametrize("role", [Role.HEAD, Role.SUBMITTER])
def test_only_nodes_and_clients_join(role: Role) -> None:
    with pytest.raises(InvalidRequest, match="nobody joins"):
        issued(role)


@pytest.mark.parametrize("lifetime_s", [0.0, -1.0, float("nan")])
def test_a_token_without_a_lifetime_is_refused(lifetime_s: float) -> None:
    with pytest.raises(InvalidRequest, match="never good"):
        issued(lifetime_s=lifetime_s)


def test_tokens_are_bounded_and_the_long_dead_make_room() -> None:
    (record,) = issued()[0].tokens
    many = [msgspec.structs.replace(record, public_key=new_curve_keys().public_key) for _ in range(MAX_TOKENS)]
    full = AllowList(tokens=tuple(many))
    with pytest.raises(TokenInvalid, match="1000 tokens are out"):
        issue_token(full, role=Role.NODE, head_key=HEAD_KEY, address="a", now_unix_s=NOW_S)
    later_s = NOW_S + 30 * 24 * 3600
    after, token = issue_token(full, role=Role.NODE, head_key=HEAD_KEY, address="a", now_unix_s=later_s)
    assert [record.id for record in after.tokens] == [token.id]


@given(where=st.floats(0, 1), character=st.characters(max_codepoint=0x2FF), cut=st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_token_copied_wrongly_is_refused(where: float, character: str, cut: bool) -> None:
    _, token = issued()
    text = token.text()
    at = min(int(where * len(text)), len(text) - 1)
    wrong = text[:at] if cut else text[:at] + character + text[at + 1 :]
    if "".join(wrong.split()) == text:
        return
    with pytest.raises(TokenInvalid):
        parse_token(wrong)


@given(st.text(max_size=2000))
def test_what_is_no_token_is_refused(text: str) -> None:
    for attempt in (text, f"sage-join-1.{text}"):
        with pytest.raises(TokenInvalid):
            parse_token(attempt)
