"""Keys of a gateway: kept as hashes, found by what is written, good until they are revoked; and who a call is from."""

import os
from pathlib import Path

import pytest

from gateway.errors import RequestRefused
from gateway.guard import Guard, tenant_named
from gateway.key_file import KeyFile
from gateway.keys import KeyBook, Scope, new_key, written_key
from sage.base.errors import KeysUnsafe, NotTrusted

WRITTEN = written_key("abc", "s3-cr_et")
MODELS = (Scope.MODELS,)
HERE = [(b"host", b"localhost:8000")]
BOOK = KeyBook((new_key(WRITTEN, "acme", MODELS, 1.0),))


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode())]


def test_a_key_is_found_by_all_of_it_and_nothing_less() -> None:
    found = BOOK.find(WRITTEN)
    assert found is not None
    assert found.tenant == "acme"
    for wrong in ("", "sage", "sage-abc", "sage-abc-", WRITTEN[:-1], WRITTEN + "x", "sage-xyz-s3-cr_et", "\ud800"):
        assert BOOK.find(wrong) is None, wrong


def test_what_is_kept_does_not_hold_the_secret() -> None:
    assert "s3-cr_et" not in repr(BOOK)


def test_a_revoked_key_is_good_no_more_and_stays_in_the_book() -> None:
    book = BOOK.revoke("abc", 2.0)
    assert book.find(WRITTEN) is None
    assert not book.has_live()
    assert [key.revoked_unix_s for key in book.revoke("abc", 3.0).keys] == [2.0]
    with pytest.raises(NotTrusted, match="abd"):
        BOOK.revoke("abd", 2.0)


@pytest.mark.parametrize("tenant", ["", "a b", "a\n", "x" * 129])
def test_a_name_that_could_break_others_is_refused(tenant: str) -> None:
    with pytest.raises(NotTrusted):
        new_key(WRITTEN, tenant, MODELS, 1.0)


def test_a_change_of_the_file_is_seen_by_whoever_has_it_open(tmp_path: Path) -> None:
    running, other = KeyFile(tmp_path / "keys" / "keys.json"), KeyFile(tmp_path / "keys" / "keys.json")
    assert running.current() == KeyBook()
    key, written = other.add("acme", MODELS, 1.0)
    assert running.current().find(written) == key
    other.revoke(key.id, 2.0)
    assert running.current().find(written) is None
    assert written.encode() not in running.path.read_bytes()
    assert running.path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_others_may_read_or_that_is_damaged_lets_nobody_in(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys" / "keys.json")
    file.add("acme", MODELS, 1.0)
    os.chmod(file.path, 0o644)
    with pytest.raises(KeysUnsafe, match="open to other users"):
        KeyFile(file.path).current()
    os.chmod(file.path, 0o600)
    file.path.write_text("{}}")
    with pytest.raises(KeysUnsafe, match="damaged"):
        file.current()


def test_without_keys_everybody_on_this_machine_is_the_default_tenant() -> None:
    assert Guard().caller("/v1/models", bearer("anything")).tenant == "default"


def test_with_keys_a_call_is_of_the_tenant_of_its_key() -> None:
    guard = Guard(lambda: BOOK)
    assert guard.caller("/v1/chat/completions", bearer(WRITTEN)).tenant == "acme"
    for headers in ([], bearer("sage-abc-wrong"), [(b"authorization", b"Basic " + WRITTEN.encode())], bearer("")):
        with pytest.raises(RequestRefused) as refused:
            guard.caller("/v1/chat/completions", headers)
        assert refused.value.status == 401


def test_what_is_open_is_open_without_a_key() -> None:
    here, beyond = Guard(lambda: BOOK), Guard(lambda: BOOK, is_loopback=False)
    for path in ("/livez", "/readyz", "/health"):
        beyond.caller(path, [])
    here.caller("/metrics", HERE)
    for path in ("/metrics", "/", "/v1/models"):
        with pytest.raises(RequestRefused):
            beyond.caller(path, HERE)
    assert beyond.caller("/metrics", bearer(WRITTEN)).tenant == "acme"


@pytest.mark.parametrize("headers", [[], [(b"host", b"evil.example")]], ids=["none", "foreign"])
def test_a_page_on_a_foreign_name_is_shown_no_metrics(headers: list[tuple[bytes, bytes]]) -> None:
    guard = Guard(lambda: BOOK)
    for path in ("/metrics", "/"):
        with pytest.raises(RequestRefused):
            guard.caller(path, headers)
        assert guard.caller(path, [*headers, *bearer(WRITTEN)[1:]]).tenant == "acme"


def test_a_gateway_that_had_keys_does_not_open_itself_when_they_are_gone() -> None:
    books = [BOOK, BOOK.revoke("abc", 2.0), KeyBook()]
    guard = Guard(lambda: books[0])
    guard.caller("/v1/models", bearer(WRITTEN))
    while len(books) > 1:
        del books[0]
        with pytest.raises(RequestRefused):
            guard.caller("/v1/models", bearer(WRITTEN))
    with pytest.raises(RequestRefused):
        Guard(is_loopback=False).caller("/v1/models", [])


def test_a_key_that_is_not_for_models_asks_none() -> None:
    guard = Guard(lambda: KeyBook((new_key(WRITTEN, "ops", (Scope.ADMIN,), 1.0),)))
    with pytest.raises(RequestRefused) as refused:
        guard.caller("/v1/chat/completions", bearer(WRITTEN))
    assert refused.value.status == 403


def test_a_tenant_is_named_by_an_admin_alone() -> None:
    guard = Guard(lambda: KeyBook((new_key(WRITTEN, "ops", (Scope.MODELS, Scope.ADMIN), 1.0),)))
    admin = guard.caller("/v1/models", bearer(WRITTEN))
    assert tenant_named(b"acme", admin) == "acme"
    for caller, name, status in ((Guard().caller("/v1/models", []), b"acme", 403), (admin, b"a b", 400)):
        with pytest.raises(RequestRefused) as refused:
            tenant_named(name, caller)
        assert refused.value.status == status
